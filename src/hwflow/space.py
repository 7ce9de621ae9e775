"""The space of plans: choices, the edits they stand for, and plans as tuples of option indices.

A :class:`Part` is one kind of edit on one network ("quantize these layers to one of these bits"):
it has choices, and makes an :class:`Edit` from their values. A :class:`Space` is a sum of parts. A
plan is always applied to the pristine network, parts in the order of :data:`ORDER`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from math import prod
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hwflow.cost import Bits
from hwflow.design import Design
from hwflow.errors import HwflowError
from hwflow.network import Network
from hwflow.workload import Workload

ORDER = ("replace", "prune", "fuse", "quantize", "finetune", "resize")
"""In which order the kinds of edit are applied."""

Plan = tuple[int, ...]
"""One option index per choice."""

Value = int | float | str | bool

Condition = tuple[str, tuple[Value, ...]]
"""A choice by name, and some of its values."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The alternatives at one place, such as the weight bits of one layer."""

    name: str
    """Unique in its space, such as "weight_bits:layer1.0.conv1"."""
    options: tuple[Value, ...]
    default: int = 0
    """Index of the option that changes least; what an inactive choice is set to."""
    only_if: Condition | None = None
    """Active only while the named choice has one of these values."""
    ordered: bool = True
    """Whether neighbouring options are alike (a step is a small change)."""

    def __post_init__(self) -> None:
        if not self.options:
            raise HwflowError(f"Choice {self.name!r} has no options.")
        if not 0 <= self.default < len(self.options):
            raise HwflowError(f"Choice {self.name!r} has no option number {self.default}.")


@runtime_checkable
class Edit(Protocol):
    """One change with two faces that must agree (the square of the design)."""

    def on_paper(self, design: Design) -> Design:
        """Return the design after the edit. Touches no tensor."""
        ...

    def in_network(self, network: Network) -> Network:
        """Return a changed copy of the network."""
        ...


class Part(Protocol):
    """One kind of edit on one network: its choices, and the edit that their values stand for."""

    @property
    def kind(self) -> str:
        """One of ORDER."""
        ...

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices; may be empty (an edit that is always made)."""
        ...

    def edit(self, values: Mapping[str, Value]) -> Edit:
        """Return the edit for these values, keyed by choice name."""
        ...


@runtime_checkable
class BitsPart(Part, Protocol):
    """A part that changes nothing but bits, so that many plans can be costed at once."""

    def bits(self, workload: Workload, plans: Sequence[Plan]) -> Bits:
        """Return the bits of `workload` under each plan (option indices of this part only)."""
        ...


@dataclass(frozen=True)
class Apart:
    """Which layers belong to which choice, where no choice changes what belongs to another."""

    owners: Mapping[str, str]
    """A layer that some plan has -> the choice that it belongs to; others are in every plan."""
    loose: Mapping[str, tuple[int, ...]]
    """A choice -> the parameters beside layers that there are with each of its options."""


@runtime_checkable
class Local(Part, Protocol):
    """A part each of whose choices changes a place of its own, so that costs add up over them."""

    def apart(self, workload: Workload) -> Apart | None:
        """Return what belongs to each choice; None where one reaches beyond its place."""
        ...


@runtime_checkable
class Omits(Part, Protocol):
    """A part with plans that leave layers out."""

    @property
    def homes(self) -> Mapping[str, Condition]:
        """What some plans leave out -> the choice, and its values with which it is there."""
        ...

    @property
    def heirs(self) -> Mapping[str, str]:
        """What some plans leave out -> the tensor that takes its place, "" where none does."""
        ...


@runtime_checkable
class Follows(Edit, Protocol):
    """An edit of named layers that an edit before it may have left out."""

    def following(self, heirs: Mapping[str, str]) -> Edit:
        """Return the edit for what is left: of the layers, or of what takes their place."""
        ...


@dataclass(frozen=True)
class Legacy:
    """What an edit that puts other layers in hands on to the edits after it."""

    heirs: Mapping[str, str] = field(default_factory=dict)
    """A tensor that is gone -> the one that takes its place."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """A new layer -> the pristine network's layer whose weight's settings it takes."""
    tensors: Mapping[str, str] = field(default_factory=dict)
    """A new layer -> the pristine network's tensor whose settings its output takes."""
    own: frozenset[str] = frozenset()
    """Layers that keep the settings they came with."""


@runtime_checkable
class Leaves(Edit, Protocol):
    """An edit that puts other layers in the place of some."""

    def legacy(self, workload: Workload) -> Legacy:
        """Return what the layers of the pristine `workload` hand on."""
        ...


@runtime_checkable
class Inherits(Edit, Protocol):
    """An edit of named layers that gives settings to layers it was never told of."""

    def inheriting(self, legacy: Legacy) -> Edit:
        """Return the edit for a network with other layers in it."""
        ...


@dataclass(frozen=True)
class Space:
    """All places where a network may change, and how."""

    workload: Workload
    """The pristine network on paper."""
    parts: tuple[Part, ...] = ()
    network: Network | None = field(default=None, compare=False, repr=False)
    """The pristine network itself; None where only the paper is known (ONNX file, layer list)."""

    def __post_init__(self) -> None:
        for part in self.parts:
            if part.kind not in ORDER:
                raise HwflowError(f"Unknown kind of edit {part.kind!r}. Known: {', '.join(ORDER)}.")
        if {"replace", "prune"} <= {part.kind for part in self.parts}:
            raise HwflowError(
                "Replacing operations and removing channels cannot be added: which channels are "
                "coupled would hang on the operations. Take replace(...) with its family of "
                "options 'pruned'."
            )
        ordered = tuple(sorted(self.parts, key=lambda part: ORDER.index(part.kind)))
        object.__setattr__(self, "parts", ordered)
        names = [choice.name for choice in self.choices]
        twice = {name for name in names if names.count(name) > 1} if names else set()
        if twice:
            raise HwflowError(f"The space has two choices called {min(twice)!r}.")

    def __add__(self, other: Space) -> Space:
        if other.workload != self.workload:
            raise HwflowError("Spaces of two different networks cannot be added.")
        extra = [p for p in other.parts if p.choices or p not in self.parts]
        return Space(self.workload, (*self.parts, *extra), self.network or other.network)

    def __len__(self) -> int:
        return len(self.choices)

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """All choices, in the order of the plan's entries.

        Those for a layer that an earlier part may leave out are active while it is there.
        """
        homes: dict[str, Condition] = {}
        found: list[Choice] = []
        for part in self.parts:
            found += [_housed(choice, homes) for choice in part.choices]
            homes |= part.homes if isinstance(part, Omits) else {}
        return tuple(found)

    @property
    def size(self) -> int:
        """Number of plans (inactive choices counted)."""
        return prod(len(choice.options) for choice in self.choices)

    @property
    def default(self) -> Plan:
        """The plan that changes least."""
        return tuple(choice.default for choice in self.choices)

    def check(self, plan: Sequence[int]) -> Plan:
        """Return `plan` as a tuple; raise HwflowError when it does not belong to this space."""
        found = tuple(int(index) for index in plan)
        if len(found) != len(self.choices):
            raise HwflowError(
                f"A plan here has {len(self.choices)} entries, this has {len(found)}."
            )
        for index, choice in zip(found, self.choices, strict=True):
            if not 0 <= index < len(choice.options):
                raise HwflowError(
                    f"Choice {choice.name!r} has options 0 to {len(choice.options) - 1}, "
                    f"not {index}."
                )
        return found

    def canonical(self, plan: Sequence[int]) -> Plan:
        """Return the identity of a plan: inactive choices set to their default."""
        found = list(self.check(plan))
        changed = any(choice.only_if is not None for choice in self.choices)
        while changed:
            changed = False
            for place, choice in enumerate(self.choices):
                if found[place] != choice.default and not self.active(place, found):
                    found[place] = choice.default
                    changed = True
        return tuple(found)

    def active(self, place: int, plan: Sequence[int]) -> bool:
        """Tell whether the choice at an index of the plan counts there: its condition holds."""
        only_if = self.choices[place].only_if
        if only_if is None:
            return True
        name, allowed = only_if
        other = self._places[name]
        return self.choices[other].options[plan[other]] in allowed

    @cached_property
    def _places(self) -> dict[str, int]:
        return {choice.name: place for place, choice in enumerate(self.choices)}

    def values(self, plan: Sequence[int]) -> dict[str, Value]:
        """Return the chosen option of every choice, by choice name."""
        pairs = zip(self.choices, self.check(plan), strict=True)
        return {choice.name: choice.options[index] for choice, index in pairs}

    def plan(self, values: Mapping[str, Value]) -> Plan:
        """Return the plan with these values and defaults elsewhere."""
        known = {choice.name for choice in self.choices}
        for name in values:
            if name not in known:
                raise HwflowError(f"The space has no choice called {name!r}.")
        return tuple(
            _option(choice, values[choice.name]) if choice.name in values else choice.default
            for choice in self.choices
        )

    @cached_property
    def of_network(self) -> Space:
        """The choices that change the network: all but those of the machine, which come last."""
        return replace(self, parts=tuple(part for part in self.parts if part.kind != "resize"))

    @cached_property
    def of_machine(self) -> Space:
        """The choices that change the machine only."""
        return replace(self, parts=tuple(part for part in self.parts if part.kind == "resize"))

    def edits(self, plan: Sequence[int]) -> tuple[Edit, ...]:
        """Return the edits of a plan in the order they are made."""
        values = self.values(self.canonical(plan))
        heirs: dict[str, str] = {}
        found: list[Edit] = []
        leaving: Leaves | None = None
        for part in self.parts:
            edit = part.edit({choice.name: values[choice.name] for choice in part.choices})
            if leaving is not None and isinstance(edit, Inherits):
                edit = edit.inheriting(leaving.legacy(self.workload))
            leaving = edit if isinstance(edit, Leaves) else leaving
            found.append(edit.following(heirs) if heirs and isinstance(edit, Follows) else edit)
            heirs |= part.heirs if isinstance(part, Omits) else {}
        return tuple(found)

    def on_paper(self, plan: Sequence[int], design: Design) -> Design:
        """Apply a plan to a design: the paper face of :meth:`apply`."""
        return reduce(lambda done, edit: edit.on_paper(done), self.edits(plan), design)

    def apply(self, plan: Sequence[int], network: Network | None = None) -> Network:
        """Apply a plan to a network (its own by default), which is left as it was."""
        start = network or self.network
        if start is None:
            raise HwflowError(
                f"{self.workload.name} is known on paper only: an edit needs the torch network. "
                "Load it with hwflow.load(...) from a torch model."
            )
        return reduce(lambda done, edit: edit.in_network(done), self.edits(plan), start)

    def split(self, plan: Sequence[int]) -> Iterator[tuple[Part, Plan]]:
        """Yield each part with its own slice of the plan."""
        start = 0
        for part in self.parts:
            stop = start + len(part.choices)
            yield part, tuple(plan[start:stop])
            start = stop

    def sample(self, rng: random.Random) -> Plan:
        """Draw a plan, each option with equal chance."""
        return self.canonical([rng.randrange(len(choice.options)) for choice in self.choices])

    def uniform(self) -> list[Plan]:
        """Return the plans that give every choice the same value where it has that option.

        The machine stays as it is: its 4 rows are no 4 bits.
        """
        own, machine = self.of_network.choices, self.of_machine.default
        values = dict.fromkeys(value for c in own for value in c.options)
        plans = [
            self.canonical(
                [*(c.options.index(v) if v in c.options else c.default for c in own), *machine]
            )
            for v in values
        ]
        return list(dict.fromkeys(plans))

    def describe(self) -> list[dict[str, Any]]:
        """Return the choices as plain data, for the study and the report."""
        return [
            {"name": c.name, "options": list(c.options), "default": c.default} for c in self.choices
        ]


def _housed(choice: Choice, homes: Mapping[str, Condition]) -> Choice:
    home = homes.get(choice.name.partition(":")[2])
    return choice if home is None or choice.only_if else replace(choice, only_if=home)


def _option(choice: Choice, value: Value) -> int:
    if value not in choice.options:
        raise HwflowError(
            f"Choice {choice.name!r} has no option {value!r}. "
            f"Allowed: {', '.join(map(str, choice.options))}."
        )
    return choice.options.index(value)


def plan_matrix(plans: Sequence[Plan], options: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the chosen integer options of `plans` as an array of shape (plans, choices)."""
    indices = np.asarray(plans, np.int64).reshape(len(plans), len(options))
    columns = [np.asarray(column, np.int64)[indices[:, i]] for i, column in enumerate(options)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(plans), 0), np.int64)


Builder = Callable[[Sequence[int]], "Network"]
"""What a quality gets to make the edited network of a plan."""
