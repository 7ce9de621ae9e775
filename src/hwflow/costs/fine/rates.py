"""What one element costs on its way: bits, energies and port widths of a machine at given bits.

The fine level knows machines of the shape DRAM → buffer → array → PE, where the buffer may be
absent or passed by, and a PE has scratchpads (separate or shared) or nothing but operand registers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, inf
from typing import Any

from hwflow.costs.fine.shape import TENSORS, Shape
from hwflow.errors import MachineError
from hwflow.machine import Accelerator
from hwflow.machine.hardware import Level, SharedPad, Store

Floats3 = tuple[float, float, float]
Flags3 = tuple[bool, bool, bool]


@dataclass(frozen=True, slots=True)
class OperandBits:
    """Bits of one layer's operands, 32 for one that nobody quantised."""

    weights: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Rates:
    """Per element of weights, inputs and partial sums, unless said otherwise; SI, cycles, bits."""

    held: Flags3
    """Whether the buffer holds the tensor; the others go between DRAM and array."""
    padded: Flags3
    """Whether the PE keeps the tensor, in a scratchpad or, having none, in an operand register.

    The others stream past: every step takes an element anew."""
    stays: Flags3
    """Whether the tensor may be the one that stays in the PEs while the buffer's loops run."""
    in_pe: Floats3
    """Bits in the scratchpad."""
    in_buffer: Floats3
    in_dram: Floats3
    final_buffer: float
    """Bits of a finished output in the buffer; the third entries above are partial sums."""
    final_dram: float
    pad_bits: Floats3
    """Capacity of each scratchpad; of the shared one, three times."""
    shared: bool
    buffer_bits: float
    """Capacity of the buffer, halved where it is double-buffered."""
    overlapped: bool
    """Whether DRAM transfers run while the array computes."""
    read_j: tuple[float, float]
    """Joules per bit read from DRAM, buffer."""
    write_j: tuple[float, float]
    hop_j: Floats3
    """Joules to bring one element to one PE."""
    mac_j: float
    """Joules of one MAC."""
    pad_j: Floats3
    """Joules in scratchpads per MAC."""
    idle_j: float
    """Joules per cycle drawn by what does not switch."""
    lanes: int
    """Products that a PE sums at once."""
    step_cycles: float
    """Cycles of one step of all PEs, `lanes` products each."""
    dram_rate: float
    """Bits per cycle."""
    port_rate: float
    """Bits per cycle of the buffer's port, or of its read port."""
    write_rate: float
    """Bits per cycle of the buffer's write port; 0 where the port is one."""
    clock_hz: float


def rates(machine: Accelerator, shape: Shape, bits: OperandBits) -> Rates:
    """Return the rates of a machine for one layer at given bits.

    Raises MachineError for a machine of another shape than this level knows.
    """
    kept = _KEPT.get((digest_of(machine), shape.depth, bits))
    if kept is None:
        if len(_KEPT) >= _MOST:
            _KEPT.clear()
        kept = _made(machine, shape.depth, bits)
        _KEPT[digest_of(machine), shape.depth, bits] = kept
    return kept


_MOST = 65536
_KEPT: dict[tuple[str, int, OperandBits], Rates] = {}
_DIGESTS: dict[int, tuple[Accelerator, str]] = {}


def digest_of(machine: Accelerator) -> str:
    """Return a machine's digest, computed once for each machine in use."""
    known = _DIGESTS.get(id(machine))
    if known is None:
        if len(_DIGESTS) >= 256:
            _DIGESTS.clear()
        known = _DIGESTS[id(machine)] = (machine, machine.digest())
    return known[1]


def buffer_of(machine: Accelerator) -> Level | None:
    """Return the level that feeds the array, None where DRAM does."""
    outer, inner = machine.array.between
    if inner not in ("scratchpads", "PE") or len(machine.memory) > 2:
        levels = ", ".join(level.name for level in machine.memory)
        raise MachineError(
            f"{machine.name}: array.between: the array lies between {outer} and {inner} of "
            f"{levels}. The fine level knows DRAM, at most one buffer, the array, and PEs with or "
            "without scratchpads; cost this machine at the mid level."
        )
    return machine.memory[1] if len(machine.memory) == 2 else None


def _made(machine: Accelerator, depth: int, bits: OperandBits) -> Rates:
    buffer, dram = buffer_of(machine), machine.dram
    weight, read, final = (int(machine.width(b)) for b in (bits.weights, bits.inputs, bits.outputs))
    psum = max(final, int(machine.psum_bits(bits.weights, bits.inputs, depth)))
    plain = (weight, read, psum)
    pads = _pads(machine)
    bare = machine.scratchpads is None and machine.dataflow != "no-local-reuse"
    clock = machine.clock_hz
    lanes = getattr(machine.engine, "lanes", None)
    theta = float(machine.macs_per_cycle(bits.weights, bits.inputs))
    port = inf if buffer is None else buffer.bytes_per_s(clock) * 8 / clock
    inside = buffer or dram
    return Rates(
        held=_three(buffer is not None and t in buffer.holds for t in TENSORS),
        padded=_three(bare or pad is not None for pad in pads),
        stays=_stays(machine, pads),
        in_pe=_sizes(machine, plain, pads) if any(pads) else (1.0, 1.0, 1.0),
        in_buffer=_sizes(machine, plain, (inside,) * 3),
        in_dram=_sizes(machine, plain, (dram,) * 3),
        final_buffer=stored(final, inside.word.value, machine.packing),
        final_dram=stored(final, dram.word.value, machine.packing),
        pad_bits=_three(pad.bits if pad else 0.0 for pad in pads) if any(pads) else (1.0, 1.0, 1.0),
        shared=any(pads) and isinstance(machine.scratchpads, SharedPad),
        buffer_bits=inf if buffer is None else buffer.bits / (2 if buffer.double_buffered else 1),
        overlapped=buffer is None or buffer.double_buffered,
        read_j=(dram.read_j_per_bit, inside.read_j_per_bit),
        write_j=(dram.write_j_per_bit, inside.write_j_per_bit),
        hop_j=_three(machine.array.transfer_j_per_bit * b for b in plain),
        mac_j=float(machine.mac_energy_j(bits.weights, bits.inputs)),
        pad_j=_three(
            0.0 if pad is None else b * (pad.read_j_per_bit + last * pad.write_j_per_bit)
            for pad, b, last in zip(pads, plain, (0, 0, 1), strict=True)
        ),
        idle_j=machine.idle_w / clock,
        lanes=lanes.value if lanes else 1,
        step_cycles=(lanes.value if lanes else 1) / theta,
        dram_rate=machine.dram_bytes_per_s * 8 / clock,
        port_rate=port,
        write_rate=_write_rate(buffer, clock),
        clock_hz=clock,
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


def _pads(machine: Accelerator) -> tuple[Store | None, ...]:
    """Return the scratchpad of each tensor; a dataflow without local reuse has none."""
    pads = machine.scratchpads
    if pads is None or machine.dataflow == "no-local-reuse":
        return (None, None, None)
    if isinstance(pads, SharedPad):
        return tuple(pads if tensor in pads.holds else None for tensor in TENSORS)
    return tuple(pads.pads.get(tensor) for tensor in TENSORS)


_STATIONARY = {"weight-stationary": 0, "input-stationary": 1, "output-stationary": 2}


def _stays(machine: Accelerator, pads: tuple[Store | None, ...]) -> Flags3:
    """Return which tensors may stay: one with a scratchpad, or the dataflow's in its register."""
    chosen = _STATIONARY.get(machine.dataflow)
    if machine.dataflow == "no-local-reuse":
        return (False, False, False)
    bare = machine.scratchpads is None
    return _three((bare or pad is not None) and chosen in (None, t) for t, pad in enumerate(pads))


def _write_rate(buffer: Level | None, clock: float) -> float:
    port = buffer.write_bandwidth if buffer else None
    if port is None:
        return 0.0
    return port.value * 8 / (1.0 if port.unit == "B/cycle" else clock)
