"""What a given mapping costs: cycles, what binds, and energy by part. No search.

Memories are numbered from DRAM (0) inward, the buffers 1 to L. With the cycles that each memory's
port needs for all its accesses, the time from inside outward is

    t = max(compute, port L)
    for buffer l = L ... 1:
        t = max(t, port l-1)              l is double-buffered
        t = max(t + fill l, port l-1)     otherwise: nothing inside runs while it is filled

where fill l is the longest time that a memory outside l needs for what it exchanges with l and all
that lies further in. For one buffer these are max(compute, port, DRAM) and max(compute, port) +
DRAM. To it comes the way of the first array tile in and of the last one out, over every memory
whose transfers overlap.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, prod

from hwflow.costs.fine.nest import Mapping
from hwflow.costs.fine.rates import Rates
from hwflow.costs.fine.shape import DIMS, INPUTS, OUTPUTS, RELEVANT, TENSORS, C, R, S, Shape
from hwflow.costs.fine.traffic import Accesses, Traffic, traffic

PARTS = ("mac", "scratchpads", "array", "buffer", "dram", "idle")
"""Where energy goes on a machine of one buffer. A delivery's write into a scratchpad counts with
the array. Several buffers stand in the place of "buffer" under their names in lower case, innermost
first."""


@dataclass(frozen=True)
class Score:
    """What one layer costs under one mapping."""

    cycles: float
    latency_s: float
    compute_cycles: float
    port_cycles: float
    """Of the busiest buffer's port."""
    dram_cycles: float
    end_cycles: float
    """First load and last store of one array tile, where transfers otherwise overlap."""
    bound_by: str
    """compute, port or dram."""
    energy_j: float
    energy_by_part: MappingOf[str, float]
    traffic: Traffic
    memories: tuple[str, ...]
    """Names of DRAM and the buffers, from outside inward."""
    cycles_by_memory: MappingOf[str, float]
    """What each port needs for all its accesses."""
    dram_bytes: float
    utilization: float
    """Share of the array's peak MAC rate over the whole time."""
    active_pes: int

    def bytes_by_memory(self) -> dict[str, dict[str, float]]:
        """Return bytes moved at each memory, by tensor."""
        return {
            memory: {t: a.bits / 8 for t, a in zip(TENSORS, accesses, strict=True)}
            for memory, accesses in zip(self.memories, self.traffic.memories, strict=True)
        }


def score(shape: Shape, rates: Rates, mapping: Mapping, pes: int) -> Score:
    """Return what a layer costs under a mapping on a machine of so many PEs."""
    moved = traffic(shape, rates, mapping)
    compute = compute_cycles(shape, rates, mapping.spread)
    ports = [m.cycles(*_sums(a)) for m, a in zip(rates.memories, moved.memories, strict=True)]
    ends = _end_cycles(shape, rates, mapping)
    cycles = _nested(rates, moved, compute, ports) + ends
    parts = _energy(shape, rates, moved, cycles)
    transfer, port = ports[0], max(ports[1:])
    busiest = max((compute, "compute"), (port, "port"), (transfer, "dram"), key=lambda x: x[0])
    names = tuple(memory.name for memory in rates.memories)
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
        memories=names,
        cycles_by_memory=dict(zip(names, ports, strict=True)),
        dram_bytes=sum(access.bits for access in moved.dram) / 8,
        utilization=shape.macs / (cycles * pes * rates.lanes / rates.step_cycles),
        active_pes=mapping.active_pes,
    )


def _sums(accesses: Accesses) -> tuple[float, float]:
    return sum(access.read for access in accesses), sum(access.written for access in accesses)


def _nested(rates: Rates, moved: Traffic, compute: float, ports: list[float]) -> float:
    """Return the cycles of all but the first load and the last store; see the module."""
    time = max(compute, ports[-1])
    for level in range(len(rates.buffers), 0, -1):
        if not rates.memories[level].overlapped:
            time += max(_fill(rates, moved, source, level) for source in range(level))
        time = max(time, ports[level - 1])
    return time


def _fill(rates: Rates, moved: Traffic, source: int, level: int) -> float:
    access = moved.inward(source, level)
    return rates.memories[source].cycles(access.read, access.written)


def compute_cycles(shape: Shape, rates: Rates, spread: tuple[int, ...]) -> float:
    """Return cycles of the busiest PE: ⌈D / PEs⌉ steps of every loop, the depth in lanes."""
    steps = [ceil(d / s) for d, s in zip(shape.dims, spread, strict=True)]
    depth = ceil(steps[C] * steps[R] * steps[S] / rates.lanes)
    others = prod(n for d, n in zip(DIMS, steps, strict=True) if d not in "CRS")
    return others * depth * rates.step_cycles


def _end_cycles(shape: Shape, rates: Rates, mapping: Mapping) -> float:
    """Return cycles of one array tile's way in and out, at memories whose transfers overlap.

    A transfer overlaps when every buffer that it goes into or past is double-buffered, one to the
    array out of the innermost buffer when that one is.
    """
    cycles = 0.0
    for tensor in range(3):
        count = _tile(shape, rates, mapping, tensor)
        for source, target in pairwise((*rates.holders(tensor), len(rates.memories))):
            if not overlaps(rates, source, target):
                continue
            memory = rates.memories[source]
            if tensor == OUTPUTS:
                cycles += count * memory.final / (memory.write_rate or memory.rate)
            else:
                cycles += count * memory.bits[tensor] / memory.rate
    return cycles


def overlaps(rates: Rates, source: int, target: int) -> bool:
    """Tell whether what moves from a memory to a buffer or the array overlaps with all else."""
    last = len(rates.memories) - 1
    first = min(source + 1, last)
    return all(memory.overlapped for memory in rates.memories[first : min(target, last) + 1])


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
    by_memory = {
        m.name: sum(a.read * m.read_j + a.written * m.write_j for a in accesses)
        for m, accesses in zip(rates.memories, moved.memories, strict=True)
    }
    return {
        "mac": shape.macs * rates.mac_j,
        "scratchpads": shape.macs * sum(rates.pad_j),
        "array": sum(count * fan * joules for count, fan, joules in hops),
        **dict(reversed(by_memory.items())),
        "idle": rates.idle_j * cycles,
    }
