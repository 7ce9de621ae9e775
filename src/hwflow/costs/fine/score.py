"""What a given mapping costs: cycles, what binds, and energy by part. No search."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from math import ceil, prod

from hwflow.costs.fine.nest import Mapping
from hwflow.costs.fine.rates import Rates
from hwflow.costs.fine.shape import DIMS, INPUTS, OUTPUTS, RELEVANT, TENSORS, C, R, S, Shape
from hwflow.costs.fine.traffic import Traffic, traffic

PARTS = ("mac", "scratchpads", "array", "buffer", "dram", "idle")
"""Where energy goes. A delivery's write into a scratchpad counts with the array."""


@dataclass(frozen=True)
class Score:
    """What one layer costs under one mapping."""

    cycles: float
    latency_s: float
    compute_cycles: float
    port_cycles: float
    dram_cycles: float
    end_cycles: float
    """First load and last store of one array tile, where transfers otherwise overlap."""
    bound_by: str
    """compute, port or dram."""
    energy_j: float
    energy_by_part: MappingOf[str, float]
    traffic: Traffic
    dram_bytes: float
    utilization: float
    """Share of the array's peak MAC rate over the whole time."""
    active_pes: int

    def bytes_by_memory(self) -> dict[str, dict[str, float]]:
        """Return bytes moved at each memory, by tensor."""
        return {
            memory: {t: a.bits / 8 for t, a in zip(TENSORS, accesses, strict=True)}
            for memory, accesses in (("dram", self.traffic.dram), ("buffer", self.traffic.buffer))
        }


def score(shape: Shape, rates: Rates, mapping: Mapping, pes: int) -> Score:
    """Return what a layer costs under a mapping on a machine of so many PEs."""
    moved = traffic(shape, rates, mapping)
    compute = compute_cycles(shape, rates, mapping.spread)
    port = _port_cycles(rates, moved)
    dram_bits = sum(access.bits for access in moved.dram)
    transfer = dram_bits / rates.dram_rate
    if rates.overlapped:
        ends = _end_cycles(shape, rates, mapping)
        cycles = max(compute, port, transfer) + ends
    else:
        ends = 0.0
        cycles = max(compute, port) + transfer
    parts = _energy(shape, rates, moved, cycles)
    busiest = max((compute, "compute"), (port, "port"), (transfer, "dram"), key=lambda x: x[0])
    return Score(
        cycles=cycles,
        latency_s=cycles / rates.clock_hz,
        compute_cycles=compute,
        port_cycles=port,
        dram_cycles=transfer,
        end_cycles=ends,
        bound_by=busiest[1],
        energy_j=sum(parts.values()),
        energy_by_part=parts,
        traffic=moved,
        dram_bytes=dram_bits / 8,
        utilization=shape.macs / (cycles * pes * rates.lanes / rates.step_cycles),
        active_pes=mapping.active_pes,
    )


def compute_cycles(shape: Shape, rates: Rates, spread: tuple[int, ...]) -> float:
    """Return cycles of the busiest PE: ⌈D / PEs⌉ steps of every loop, the depth in lanes."""
    steps = [ceil(d / s) for d, s in zip(shape.dims, spread, strict=True)]
    depth = ceil(steps[C] * steps[R] * steps[S] / rates.lanes)
    others = prod(n for d, n in zip(DIMS, steps, strict=True) if d not in "CRS")
    return others * depth * rates.step_cycles


def _port_cycles(rates: Rates, moved: Traffic) -> float:
    read = sum(access.read for access in moved.buffer)
    written = sum(access.written for access in moved.buffer)
    if rates.write_rate:
        return max(read / rates.port_rate, written / rates.write_rate)
    return (read + written) / rates.port_rate


def _end_cycles(shape: Shape, rates: Rates, mapping: Mapping) -> float:
    dram, reads, writes = 0.0, 0.0, 0.0
    for tensor in range(3):
        count = _tile(shape, rates, mapping, tensor)
        last = tensor == OUTPUTS
        dram += count * (rates.final_dram if last else rates.in_dram[tensor])
        if rates.held[tensor]:
            reads += 0 if last else count * rates.in_buffer[tensor]
            writes += count * rates.final_buffer if last else 0
    return (
        dram / rates.dram_rate
        + reads / rates.port_rate
        + writes / (rates.write_rate or rates.port_rate)
    )


def _tile(shape: Shape, rates: Rates, mapping: Mapping, tensor: int) -> float:
    """Return the elements of a tensor in one array tile; of one that streams, in one step."""
    sizes = {
        d: min(s * (a if rates.padded[tensor] else 1), n)
        for d, s, a, n in zip(DIMS, mapping.spread, mapping.pe, shape.dims, strict=True)
    }
    if tensor == INPUTS:
        rows, columns = shape.span(0, sizes["P"], sizes["R"]), shape.span(1, sizes["Q"], sizes["S"])
        return float(sizes["G"] * sizes["N"] * sizes["C"] * rows * columns)
    return float(prod(sizes[d] for d in RELEVANT[tensor]))


def _energy(shape: Shape, rates: Rates, moved: Traffic, cycles: float) -> dict[str, float]:
    hops = zip(moved.to_array, moved.fans, rates.hop_j, strict=True)
    memories = [
        sum(a.read * rates.read_j[place] + a.written * rates.write_j[place] for a in accesses)
        for place, accesses in enumerate((moved.dram, moved.buffer))
    ]
    return {
        "mac": shape.macs * rates.mac_j,
        "scratchpads": shape.macs * sum(rates.pad_j),
        "array": sum(count * fan * joules for count, fan, joules in hops),
        "buffer": memories[1],
        "dram": memories[0],
        "idle": rates.idle_j * cycles,
    }
