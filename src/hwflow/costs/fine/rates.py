"""What one element costs on its way: bits, energies and port widths of a machine at given bits.

The fine level knows machines of the shape DRAM → buffers → array → PE: any number of buffers, each
of which may be passed by, and PEs with scratchpads (separate or shared) or nothing but operand
registers. Where each memory lies is told in :mod:`hwflow.costs.fine.memories`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, inf
from typing import Any

from hwflow.costs.fine.memories import (
    Flags3,
    Floats3,
    Memory,
    buffers_of,
    capacity,
    memory_names,
    pad_bits,
    pads_are_shared,
    pads_of,
    port_rate,
    write_rate,
)
from hwflow.costs.fine.shape import TENSORS, Shape
from hwflow.machine import Accelerator
from hwflow.machine.hardware import Level, Store


@dataclass(frozen=True, slots=True)
class OperandBits:
    """Bits of one layer's operands, 32 for one that nobody quantised."""

    weights: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Rates:
    """Per element of weights, inputs and partial sums, unless said otherwise; SI, cycles, bits."""

    memories: tuple[Memory, ...]
    """DRAM, then every buffer; one that holds nothing where the machine has none."""
    padded: Flags3
    """Whether the PE keeps the tensor, in a scratchpad or, having none, in an operand register.

    The others stream past: every step takes an element anew."""
    stays: Flags3
    """Whether the tensor may stay in the PEs while the loops of the buffer next to them run."""
    in_pe: Floats3
    """Bits in the scratchpad."""
    pad_bits: Floats3
    """Capacity of each scratchpad; of the shared one, three times."""
    shared: bool
    hop_j: Floats3
    """Joules to bring one element to one PE."""
    mac_j: float
    """Joules of one MAC, on average over those that zero gating switches off."""
    pad_j: Floats3
    """Joules in scratchpads per MAC, likewise."""
    idle_j: float
    """Joules per cycle drawn by what does not switch."""
    lanes: int
    """Products that a PE sums at once."""
    step_cycles: float
    """Cycles of one step of all PEs, `lanes` products each."""
    clock_hz: float

    @property
    def dram(self) -> Memory:
        """The outermost memory."""
        return self.memories[0]

    @property
    def buffer(self) -> Memory:
        """The buffer that feeds the array."""
        return self.memories[-1]

    @property
    def buffers(self) -> tuple[Memory, ...]:
        """Every buffer, outermost first."""
        return self.memories[1:]

    def holders(self, tensor: int) -> tuple[int, ...]:
        """Return the memories that hold a tensor, from DRAM inward."""
        return tuple(m for m, memory in enumerate(self.memories) if memory.held[tensor])


def rates(machine: Accelerator, shape: Shape, bits: OperandBits) -> Rates:
    """Return the rates of a machine for one layer at given bits.

    Raises MachineError for a machine of another shape than this level knows.
    """
    share = shape.density if machine.zero_gating else 1.0
    key = (digest_of(machine), shape.depth, bits, share)
    kept = _KEPT.get(key)
    if kept is None:
        if len(_KEPT) >= _MOST:
            _KEPT.clear()
        kept = _KEPT[key] = _made(machine, shape.depth, bits, share)
    return kept


_MOST = 65536
_KEPT: dict[tuple[str, int, OperandBits, float], Rates] = {}
_DIGESTS: dict[int, tuple[Accelerator, str]] = {}


def digest_of(machine: Accelerator) -> str:
    """Return a machine's digest, computed once for each machine in use."""
    known = _DIGESTS.get(id(machine))
    if known is None:
        if len(_DIGESTS) >= 256:
            _DIGESTS.clear()
        known = _DIGESTS[id(machine)] = (machine, machine.digest())
    return known[1]


def _made(machine: Accelerator, depth: int, bits: OperandBits, share: float) -> Rates:
    """Return the rates; `share` of the MACs switch, the others are gated.

    A gated MAC does not read its weight nor read and write its partial sum: the PE sees the zero
    when it reads the input (Eyeriss, JSSC 2017: zeros disable the filter scratchpad's read and the
    multiplier).
    """
    weight, read, final = (int(machine.width(b)) for b in (bits.weights, bits.inputs, bits.outputs))
    psum = max(final, int(machine.psum_bits(bits.weights, bits.inputs, depth)))
    plain = (weight, read, psum)
    pads = pads_of(machine)
    bare = machine.dataflow != "no-local-reuse" and not _has_pads(machine)
    lanes = machine.engine.summed(weight, read)
    theta = float(machine.macs_per_cycle(bits.weights, bits.inputs))
    return Rates(
        memories=_memories(machine, plain, final),
        padded=_three(bare or pad is not None for pad in pads),
        stays=_stays(machine, pads),
        in_pe=_sizes(machine, plain, pads) if any(pads) else (1.0, 1.0, 1.0),
        pad_bits=_three(map(pad_bits, pads)) if any(pads) else (1.0, 1.0, 1.0),
        shared=any(pads) and pads_are_shared(machine),
        hop_j=_three(machine.array.transfer_j_per_bit * b for b in plain),
        mac_j=share * float(machine.mac_energy_j(bits.weights, bits.inputs)),
        pad_j=_three(
            0.0 if pad is None else gate * b * (pad.read_j_per_bit + last * pad.write_j_per_bit)
            for pad, b, last, gate in zip(pads, plain, (0, 0, 1), (share, 1, share), strict=True)
        ),
        idle_j=machine.idle_w / machine.clock_hz,
        lanes=lanes,
        step_cycles=lanes / theta,
        clock_hz=machine.clock_hz,
    )


def _memories(machine: Accelerator, plain: tuple[int, ...], final: int) -> tuple[Memory, ...]:
    levels = (machine.dram, *buffers_of(machine))
    found = [
        _memory(machine, level, name, plain, final)
        for level, name in zip(levels, memory_names(machine), strict=False)
    ]
    if len(found) == 1:
        nothing = (False, False, False)
        zero = (0.0, 0.0, 0.0)
        found.append(Memory("buffer", nothing, zero, 0.0, inf, True, 0.0, 0.0, inf, 0.0))
    return tuple(found)


def _memory(
    machine: Accelerator, level: Level, name: str, plain: tuple[int, ...], final: int
) -> Memory:
    clock, outermost = machine.clock_hz, level is machine.dram
    return Memory(
        name=name,
        held=_three(tensor in level.holds for tensor in TENSORS),
        bits=_sizes(machine, plain, (level,) * 3),
        final=stored(final, level.word.value, machine.packing),
        capacity=inf if outermost else capacity(level),
        overlapped=outermost or level.double_buffered,
        read_j=level.read_j_per_bit,
        write_j=level.write_j_per_bit,
        rate=port_rate(level, clock),
        write_rate=0.0 if outermost else write_rate(level, clock),
    )


def _three(values: Iterable[Any]) -> tuple[Any, Any, Any]:
    first, second, third = values
    return first, second, third


def stored(bits: int, word: int, packing: str) -> float:
    """Return the bits an operand takes: its own when dense, else with the padding of its word."""
    if packing == "dense":
        return float(bits)
    return word / (word // bits) if bits <= word else float(ceil(bits / word) * word)


def _sizes(
    machine: Accelerator, bits: tuple[int, ...], stores: tuple[Store | None, ...]
) -> Floats3:
    return _three(
        stored(b, store.word.value, machine.packing) if store else 0.0
        for b, store in zip(bits, stores, strict=True)
    )


def _has_pads(machine: Accelerator) -> bool:
    """Tell whether the PEs have memories, whether or not the dataflow uses them."""
    return machine.scratchpads is not None or pads_are_shared(machine)


_STATIONARY = {"weight-stationary": 0, "input-stationary": 1, "output-stationary": 2}


def _stays(machine: Accelerator, pads: tuple[Store | None, ...]) -> Flags3:
    """Return which tensors may stay: one with a scratchpad, or the dataflow's in its register."""
    chosen = _STATIONARY.get(machine.dataflow)
    if machine.dataflow == "no-local-reuse":
        return (False, False, False)
    bare = not _has_pads(machine)
    return _three((bare or pad is not None) and chosen in (None, t) for t, pad in enumerate(pads))
