"""Resize: the machine itself as part of the search (HW-FlowQ's co-design, AnaCoNGA's free array).

    space = hf.quantize(net) + hf.resize(net, "eyeriss", {"array.rows": (8, 12, 16)})

On paper the design gets another machine; in the network nothing changes.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from hwflow.design import Design
from hwflow.errors import HwflowError, MachineError
from hwflow.machine import Accelerator, Device, load_machine
from hwflow.machine.varied import ENGINE, varied
from hwflow.network import Network
from hwflow.space import Choice, Space, Value
from hwflow.workload import Workload

PREFIX = "machine:"
"""Before the key path in the names of the choices."""

MOST_KNOWN = 4096
"""Machines that are kept."""

MOST_VALUES = 64
"""Of one figure, in a range."""

_QUANTITY = re.compile(r"(\d+)\s*([a-zA-Z/].*)?")
_STEP = re.compile(r"(x?)(\d+)")

Given = int | float | str


@dataclass(frozen=True)
class Resize:
    """Change figures of the machine; `values` are pairs of key path and value."""

    values: tuple[tuple[str, Given], ...]

    def on_paper(self, design: Design) -> Design:
        """Return the design on the machine with these figures."""
        return replace(design, machine=_varied(design.machine, self.values))

    def in_network(self, network: Network) -> Network:
        """Return a copy of the network: a machine changes nothing in it."""
        return network.with_module(copy.deepcopy(network.module))


_KNOWN: dict[tuple[int, tuple[tuple[str, Given], ...]], tuple[Accelerator, Accelerator]] = {}
"""By identity, as machines hold arrays and cannot be compared; the key's machine is kept alive."""


def _varied(machine: Accelerator, values: tuple[tuple[str, Given], ...]) -> Accelerator:
    known = _KNOWN.get((id(machine), values))
    if known is None:
        if len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.clear()
        known = _KNOWN[id(machine), values] = (machine, varied(machine, dict(values)))
    return known[1]


@dataclass(frozen=True)
class ResizePart:
    """Figures of a machine as choices, keyed by path; the default is the machine's own value."""

    options: tuple[tuple[str, tuple[Given, ...], int], ...]
    """Key path, values, index of the default."""

    kind = "resize"

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """A choice for each key path."""
        return tuple(
            Choice(PREFIX + path, values, default, ordered=not isinstance(values[0], str))
            for path, values, default in self.options
        )

    def edit(self, values: Mapping[str, Value]) -> Resize:
        """Return the edit; a figure at its own value is left as it is."""
        chosen = [
            (path, values[PREFIX + path])
            for path, given, default in self.options
            if values[PREFIX + path] != given[default]
        ]
        return Resize(tuple(chosen))


def resize(
    source: Network | Workload, on: Accelerator | str, vary: Mapping[str, Sequence[Given]]
) -> Space:
    """Return the space of machines: `vary` has the values of each key path, such as "array.rows".

    The machine's own value is added where it is not among them, as the default. "engine" takes
    names of machines whose engine is tried. Raises MachineError for an unknown path or a value that
    the machine cannot have, HwflowError for a path without values.
    """
    machine = load_machine(on) if isinstance(on, str) else on
    if isinstance(machine, Device):
        raise MachineError(
            f"{machine.name} is a measured device: {', '.join(vary)} cannot be varied there. Name "
            "a modelled machine instead, such as bitfusion (hwflow list machines)."
        )
    options = tuple(_options(machine, path, values) for path, values in vary.items())
    part = ResizePart(options)
    if isinstance(source, Workload):
        return Space(source, (part,))
    from hwflow.extract import extract

    return Space(extract(source), (part,), source)


def read_vary(texts: Sequence[str]) -> dict[str, tuple[Given, ...]]:
    """Read texts such as "array.rows=8,16,32", "GLB.size=32KiB:256KiB:x2" or "engine=bismo".

    A range is FIRST:LAST:STEP, both ends included, with the step x2 to double and 8 to add; its
    unit may stand at either end. Raises HwflowError for what cannot be read.
    """
    found: dict[str, tuple[Given, ...]] = {}
    for text in texts:
        path, equals, values = (part.strip() for part in text.partition("="))
        if not (path and equals and values):
            raise HwflowError(
                f"--vary {text!r} names no values. Write FIGURE=VALUES, such as "
                "array.rows=8,16,32 or GLB.size=32KiB:256KiB:x2."
            )
        if path in found:
            raise HwflowError(f"--vary {path} is given twice. Put its values in one list.")
        listed = [one for part in values.split(",") for one in _read_values(path, part.strip())]
        found[path] = tuple(dict.fromkeys(listed))
    return found


def _read_values(path: str, text: str) -> list[Given]:
    if ":" not in text or path == ENGINE:
        return [_read_value(text)] if text else []
    parts = [part.strip() for part in text.split(":")]
    ends = [_QUANTITY.fullmatch(part) for part in parts[:2]]
    step = _STEP.fullmatch(parts[2]) if len(parts) == 3 else None
    if len(ends) < 2 or not all(ends) or step is None:
        raise HwflowError(
            f"--vary {path}: {text!r} is no range. Write FIRST:LAST:STEP, such as 8:32:8 (add 8) "
            "or 64KiB:256KiB:x2 (double)."
        )
    (low, unit), (high, last_unit) = (match.groups(default="") for match in ends if match)
    if unit and last_unit and unit != last_unit:
        raise HwflowError(f"--vary {path}: {text!r} mixes {unit} and {last_unit}. Use one unit.")
    return [
        _read_value(f"{number} {unit or last_unit}".strip())
        for number in _steps(path, text, int(low), int(high), step[1] == "x", int(step[2]))
    ]


def _steps(path: str, text: str, low: int, high: int, times: bool, step: int) -> list[int]:
    stuck = step < 2 or low < 1 if times else step < 1
    if stuck or low > high:
        raise HwflowError(
            f"--vary {path}: the range {text!r} never ends, or has nothing in it. Write the "
            "smaller end first, and a step that grows: x2, or 8."
        )
    found = [low]
    while (following := found[-1] * step if times else found[-1] + step) <= high:
        found.append(following)
        if len(found) > MOST_VALUES:
            raise HwflowError(
                f"--vary {path}: the range {text!r} has more than {MOST_VALUES} values. Take a "
                "larger step."
            )
    return found


def _read_value(text: str) -> Given:
    """Return a whole number as int, anything else as text with its unit apart."""
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    match = _QUANTITY.fullmatch(text)
    return f"{match[1]} {match[2]}" if match and match[2] else text


def _options(
    machine: Accelerator, path: str, values: Sequence[Given]
) -> tuple[str, tuple[Given, ...], int]:
    if not values:
        raise HwflowError(f"No values for {path!r}. Write, for instance, array.rows=8,16,32.")
    own = [index for index, value in enumerate(values) if _same(machine, path, value)]
    if own:
        return path, tuple(values), own[0]
    return path, (_own(machine, path), *values), 0


def _same(machine: Accelerator, path: str, value: Given) -> bool:
    """Tell whether a value is the machine's own; raises MachineError for one it cannot have."""
    plain, changed = machine.model_dump(), varied(machine, {path: value}).model_dump()
    drop = {"name"}
    return _without_sources(plain, drop) == _without_sources(changed, drop)


def _without_sources(plain: object, drop: set[str]) -> object:
    if isinstance(plain, dict):
        kept = {k: v for k, v in plain.items() if k != "source" and k not in drop}
        return {key: _without_sources(value, set()) for key, value in kept.items()}
    if isinstance(plain, list | tuple):
        return [_without_sources(value, set()) for value in plain]
    return plain


def _own(machine: Accelerator, path: str) -> Given:
    if path == ENGINE:
        return machine.name.split(" ")[0]
    for name, figure in machine.figures():
        if name in (path, f"memory.{path}"):
            unit = getattr(figure, "unit", "")
            return f"{figure.value!r} {unit}" if unit else figure.value
    raise MachineError(f"{machine.name} has no figure {path!r}.")
