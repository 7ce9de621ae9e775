"""What might relieve a layer: one thing changed on a copy of the machine, or of the operands.

A changed machine keeps every other figure, energies included: a memory of twice the size would in
truth cost more per access. An axis over which no loop may be spread is not doubled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from hwflow.machine import Accelerator
from hwflow.machine.figures import Count, Figure
from hwflow.machine.hardware import Level, Scratchpads, SharedPad, Store

TWICE = 2

S = TypeVar("S", bound=Store)


@dataclass(frozen=True)
class Remedy:
    """One change; `machine` is the changed copy, or `operand` names what gets half its bits."""

    key: str
    """Such as "dram bandwidth", the same on every machine of these levels."""
    doing: str
    """For a sentence: "doubling DRAM bandwidth"."""
    machine: Accelerator | None = None
    operand: Literal["weights", "inputs"] | None = None


def remedies(machine: Accelerator) -> tuple[Remedy, ...]:
    """Return every change that is tried on a machine: its memories, array, then operands."""
    return (
        *_memories(machine),
        *_array(machine),
        Remedy("weight bits", "halving the bits of weights", operand="weights"),
        Remedy("activation bits", "halving the bits of activations", operand="inputs"),
    )


def _memories(machine: Accelerator) -> Iterator[Remedy]:
    for index, level in enumerate(machine.memory):
        name = level.name
        if level.bandwidth is not None:
            port = "" if index == 0 else "port "
            memory = _replaced(machine, index, _faster(level))
            doing = f"doubling {name} {port}bandwidth"
            yield from _tried(machine, f"{name} bandwidth", doing, memory=memory)
        if level.size != "unlimited":
            memory = _replaced(machine, index, _larger(level))
            doing = f"doubling the size of {name}"
            yield from _tried(machine, f"{name} size", doing, memory=memory)
        if _could_overlap(machine, index):
            ready = _larger(level).model_copy(update={"double_buffered": True})
            memory = _replaced(machine, index, ready)
            doing = f"double-buffering {name} with a second one"
            yield from _tried(machine, f"{name} double-buffered", doing, memory=memory)
    if machine.scratchpads is not None:
        pads = _larger_pads(machine.scratchpads)
        yield from _tried(machine, "scratchpad size", "doubling the scratchpads", scratchpads=pads)


def _could_overlap(machine: Accelerator, index: int) -> bool:
    """Tell whether a level lies between DRAM and the array and is not double-buffered."""
    outer = [level.name for level in machine.memory].index(machine.array.between[0])
    level = machine.memory[index]
    return 0 < index <= outer and not level.double_buffered and level.size != "unlimited"


def _array(machine: Accelerator) -> Iterator[Remedy]:
    for key, name, loops in (
        ("rows", "rows", machine.array.unroll_rows),
        ("cols", "columns", machine.array.unroll_cols),
    ):
        if loops:
            wider = machine.array.model_copy(update={key: _doubled(getattr(machine.array, key))})
            doing = f"doubling the array's {name}"
            yield from _tried(machine, f"array {name}", doing, array=wider)


def _tried(machine: Accelerator, key: str, doing: str, **changes: Any) -> Iterator[Remedy]:
    """Yield the remedy, or nothing where the change makes no sensible machine.

    The machine is built anew, so that it is checked and nothing computed before is kept.
    """
    fields = {name: getattr(machine, name) for name in type(machine).model_fields}
    try:
        yield Remedy(key, doing, Accelerator.model_validate(fields | changes))
    except ValidationError:
        return


def _replaced(machine: Accelerator, index: int, level: Level) -> tuple[Level, ...]:
    return (*machine.memory[:index], level, *machine.memory[index + 1 :])


def _faster(level: Level) -> Level:
    ports = ("bandwidth", "write_bandwidth")
    known = {name: getattr(level, name) for name in ports}
    return level.model_copy(update={n: _doubled(port) for n, port in known.items() if port})


def _larger(store: S) -> S:
    """Return a store of twice the size, or the store itself where it is unlimited."""
    if isinstance(store.size, str):
        return store
    return store.model_copy(update={"size": _doubled(store.size)})


def _larger_pads(pads: Scratchpads) -> Scratchpads:
    if isinstance(pads, SharedPad):
        return _larger(pads)
    return pads.model_copy(update={name: _larger(pad) for name, pad in pads.pads.items()})


def _doubled(figure: Figure | Count) -> Figure | Count:
    source = f"twice what {figure.source} gives"
    return figure.model_copy(update={"value": TWICE * figure.value, "source": source})
