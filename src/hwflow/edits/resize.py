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
from hwflow.machine.figures import Count, Figure
from hwflow.machine.varied import ENGINE, of_engine, varied
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
class FigureValues:
    """The values that one figure may take."""

    path: str
    values: tuple[Given, ...]
    default: int
    """Index of the machine's own value."""
    ordered: bool = True
    engines: tuple[str, ...] = ()
    """Engines that have the figure, where another one that may be chosen does not."""

    @property
    def choice(self) -> Choice:
        """The choice, active only where the engine has the figure."""
        only_if = (PREFIX + ENGINE, self.engines) if self.engines else None
        return Choice(PREFIX + self.path, self.values, self.default, only_if, self.ordered)


@dataclass(frozen=True)
class ResizePart:
    """Figures of a machine as choices, keyed by path; the default is the machine's own value."""

    figures: tuple[FigureValues, ...]

    kind = "resize"

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """A choice for each key path."""
        return tuple(figure.choice for figure in self.figures)

    def edit(self, values: Mapping[str, Value]) -> Resize:
        """Return the edit; a figure at the machine's own value is left as it is."""
        chosen = {one.path: values[PREFIX + one.path] for one in self.figures}
        own = {one.path: one.values[one.default] for one in self.figures}
        changed = {path for path, value in chosen.items() if value != own[path]}
        if ENGINE in changed:  # whose figures are not the machine's own
            changed.update(filter(of_engine, chosen))
        lacking = {
            one.path for one in self.figures if one.engines and chosen[ENGINE] not in one.engines
        }
        return Resize(tuple((p, v) for p, v in chosen.items() if p in changed - lacking))


def resize(
    source: Network | Workload, on: Accelerator | str, vary: Mapping[str, Sequence[Given]]
) -> Space:
    """Return the space of machines: `vary` has the values of each key path, such as "array.rows".

    The machine's own value is added where it is not among them, as the default; values are sorted,
    and those that mean the same are one. "engine" takes names of machines whose engine is tried;
    a figure of the engine is then that of whichever engine is chosen, and is no choice where that
    engine does not have it. Raises MachineError for an unknown path or a value that the machine
    cannot have, HwflowError for a path without values.
    """
    machine = load_machine(on) if isinstance(on, str) else on
    if isinstance(machine, Device):
        raise MachineError(
            f"{machine.name} is a measured device: {', '.join(vary)} cannot be varied there. Name "
            "a modelled machine instead, such as bitfusion (hwflow list machines)."
        )
    for path, values in vary.items():
        if not values:
            raise HwflowError(f"No values for {path!r}. Write, for instance, array.rows=8,16,32.")
    engine = _engine(machine, vary.get(ENGINE, ()))
    machines = {engine.values[engine.default]: machine}
    machines |= {e: varied(machine, {ENGINE: e}) for e in engine.values if e not in machines}
    part = ResizePart(
        tuple(
            engine if path == ENGINE else _values(machines, path, values)
            for path, values in vary.items()
        )
    )
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


def _engine(machine: Accelerator, names: Sequence[Given]) -> FigureValues:
    """Return the engines in the order they are given, the machine's own before them."""
    values = tuple(dict.fromkeys(names))
    own = [index for index, name in enumerate(values) if _is_own(machine, name)]
    if not own:
        values = (machine.name.split(" ")[0], *values)
    return FigureValues(ENGINE, values, own[0] if own else 0, ordered=False)


def _is_own(machine: Accelerator, engine: Given) -> bool:
    """Tell whether an engine is the machine's own; raises MachineError for one it cannot have."""
    plain, changed = machine.model_dump(), varied(machine, {ENGINE: engine}).model_dump()
    return _without_sources(plain, {"name"}) == _without_sources(changed, {"name"})


def _without_sources(plain: object, drop: set[str]) -> object:
    if isinstance(plain, dict):
        kept = {k: v for k, v in plain.items() if k != "source" and k not in drop}
        return {key: _without_sources(value, set()) for key, value in kept.items()}
    if isinstance(plain, list | tuple):
        return [_without_sources(value, set()) for value in plain]
    return plain


def _values(
    machines: Mapping[Given, Accelerator], path: str, values: Sequence[Given]
) -> FigureValues:
    """Return the values of a figure by size; `machines` are by engine, the machine's own first.

    The default is the value of the first that has the figure.
    """
    having = {engine: machine for engine, machine in machines.items() if _has(machine, path)}
    first, *others = (having or machines).values()  # a figure that none has is refused below
    checked = [first, *others] if of_engine(path) else [first]
    known: dict[tuple[str, float], Given] = {}
    for value in values:
        found = [_figure(varied(machine, {path: value}), path) for machine in checked]
        known.setdefault(_size(found[0]), value)
    own = _figure(first, path)
    known.setdefault(_size(own), _written(own))
    sizes = sorted(known)
    return FigureValues(
        path,
        tuple(known[size] for size in sizes),
        sizes.index(_size(own)),
        ordered=len({unit for unit, _ in sizes}) == 1,
        engines=tuple(map(str, having)) if len(having) < len(machines) else (),
    )


def _has(machine: Accelerator, path: str) -> bool:
    return any(name in (path, f"memory.{path}") for name, _ in machine.figures())


def _figure(machine: Accelerator, path: str) -> Figure | Count:
    return next(f for name, f in machine.figures() if name in (path, f"memory.{path}"))


def _size(figure: Figure | Count) -> tuple[str, float]:
    """Return what values are compared by: "32 KiB" and "32768 B" are alike."""
    return getattr(figure, "unit", ""), float(f"{figure.value:.9g}")


def _written(figure: Figure | Count) -> Given:
    unit = getattr(figure, "unit", "")
    return f"{figure.value!r} {unit}" if unit else figure.value
