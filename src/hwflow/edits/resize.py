"""Resize: the machine itself as part of the search (HW-FlowQ's co-design, AnaCoNGA's free array).

    space = hf.quantize(net) + hf.resize(net, "eyeriss", {"array.rows": (8, 12, 16)})

On paper the design gets another machine; in the network nothing changes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from hwflow.design import Design
from hwflow.errors import HwflowError, MachineError
from hwflow.machine import Accelerator, load_machine
from hwflow.machine.varied import varied
from hwflow.network import Network
from hwflow.space import Choice, Space, Value
from hwflow.workload import Workload

PREFIX = "machine:"
"""Before the key path in the names of the choices."""

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


@lru_cache(maxsize=4096)
def _varied(machine: Accelerator, values: tuple[tuple[str, Given], ...]) -> Accelerator:
    return varied(machine, dict(values))


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
    options = tuple(_options(machine, path, values) for path, values in vary.items())
    part = ResizePart(options)
    if isinstance(source, Workload):
        return Space(source, (part,))
    from hwflow.extract import extract

    return Space(extract(source), (part,), source)


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
    if path == "engine":
        return machine.name.split(" ")[0]
    for name, figure in machine.figures():
        if name in (path, f"memory.{path}"):
            unit = getattr(figure, "unit", "")
            return f"{figure.value!r} {unit}" if unit else figure.value
    raise MachineError(f"{machine.name} has no figure {path!r}.")
