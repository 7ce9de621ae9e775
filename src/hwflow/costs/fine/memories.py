"""Where a machine's memories lie: buffers between DRAM and the array, and what each PE has.

============== ===========================================================================
DRAM           the first level; it holds every tensor
buffers        the levels up to the array's outer neighbour, any number of them; a tensor that one
               does not hold passes it by, from the nearest level outside that holds it
in each PE     `scratchpads`, or else one level of `memory` behind the array, which serves as one
               scratchpad that its tensors share; or neither
============== ===========================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

from hwflow.costs.fine.shape import TENSORS
from hwflow.errors import MachineError
from hwflow.machine import Accelerator
from hwflow.machine.hardware import Level, SharedPad, Store

Floats3 = tuple[float, float, float]
Flags3 = tuple[bool, bool, bool]

DRAM = "dram"
BUFFER = "buffer"
FIXED_PARTS = ("mac", "scratchpads", "array", DRAM, "idle")
"""Names that energy's other parts have; a level of such a name is told apart by a number."""


@dataclass(frozen=True, slots=True)
class Memory:
    """DRAM or a buffer as one layer's operands at given bits see it; SI, cycles, bits."""

    name: str
    held: Flags3
    """Whether it holds weights, inputs, outputs; the others pass it by."""
    bits: Floats3
    """Bits that an element takes here: of weights, inputs, partial sums."""
    final: float
    """Bits of a finished output."""
    capacity: float
    """Halved where the level is double-buffered."""
    overlapped: bool
    """Whether it is filled while what lies inside it runs."""
    read_j: float
    """Joules per bit."""
    write_j: float
    rate: float
    """Bits per cycle of its port, or of its read port."""
    write_rate: float
    """Bits per cycle of a write port of its own; 0 where the port is one."""

    def cycles(self, read: float, written: float) -> float:
        """Return the cycles in which so many bits pass its port or ports."""
        if self.write_rate:
            return max(read / self.rate, written / self.write_rate)
        return (read + written) / self.rate


def buffers_of(machine: Accelerator) -> tuple[Level, ...]:
    """Return the levels between DRAM and the array, outermost first."""
    return machine.memory[1 : _inside(machine)]


def pe_level_of(machine: Accelerator) -> Level | None:
    """Return the memory level that lies in each PE.

    Raises MachineError where there are several, or one beside scratchpads.
    """
    levels = machine.memory[_inside(machine) :]
    if not levels:
        return None
    if len(levels) > 1 or machine.scratchpads is not None:
        names = [level.name for level in levels]
        names += ["scratchpads"] * (machine.scratchpads is not None)
        raise MachineError(
            f"{machine.name}: array.between: {' and '.join(names)} lie in each PE, one inside the "
            "other. The fine level knows one: a level of memory, or scratchpads. Describe the "
            "larger alone, or move the array inward; the mid level takes any number."
        )
    return levels[0]


def _inside(machine: Accelerator) -> int:
    """Return the index of the first level inside the array."""
    return [level.name for level in machine.memory].index(machine.array.between[0]) + 1


def pads_of(machine: Accelerator) -> tuple[Store | None, ...]:
    """Return the scratchpad of each tensor; a dataflow without local reuse has none."""
    level, pads = pe_level_of(machine), machine.scratchpads
    if machine.dataflow == "no-local-reuse" or (pads is None and level is None):
        return (None, None, None)
    if level is not None:
        return tuple(level if tensor in level.holds else None for tensor in TENSORS)
    if isinstance(pads, SharedPad):
        return tuple(pads if tensor in pads.holds else None for tensor in TENSORS)
    return tuple(pads.pads.get(tensor) if pads else None for tensor in TENSORS)


def pads_are_shared(machine: Accelerator) -> bool:
    """Tell whether the tensors in a PE share one scratchpad."""
    return isinstance(machine.scratchpads, SharedPad) or pe_level_of(machine) is not None


def pad_bits(pad: Store | None) -> float:
    """Return the room in a scratchpad, half of a double-buffered one."""
    if pad is None:
        return 0.0
    return pad.bits / (2 if isinstance(pad, Level) and pad.double_buffered else 1)


def memory_names(machine: Accelerator) -> tuple[str, ...]:
    """Return the keys of DRAM and the buffers in scores: "dram", and "buffer" if it is alone.

    Several buffers go by their names in lower case.
    """
    levels = buffers_of(machine)
    if len(levels) < 2:
        return (DRAM, BUFFER)
    names = [DRAM]
    for index, level in enumerate(levels, 1):
        name = level.name.lower()
        taken = name in names or name in FIXED_PARTS
        names.append(f"{name} {index}" if taken else name)
    return tuple(names)


def level_names(machine: Accelerator) -> tuple[str, ...]:
    """Return the machine's own names of DRAM and the buffers, of DRAM twice without a buffer."""
    names = [level.name for level in (machine.dram, *buffers_of(machine))]
    return tuple(names if len(names) > 1 else names * 2)


def port_rate(level: Level, clock: float) -> float:
    """Return bits per cycle of a level's (read) port."""
    return level.bytes_per_s(clock) * 8 / clock


def write_rate(level: Level, clock: float) -> float:
    """Return bits per cycle of a level's own write port, 0 where it has none."""
    port = level.write_bandwidth
    if port is None:
        return 0.0
    return port.value * 8 / (1.0 if port.unit == "B/cycle" else clock)


def capacity(level: Level) -> float:
    """Return the bits of a level that one tile may fill."""
    return level.bits / (2 if level.double_buffered else 1)
