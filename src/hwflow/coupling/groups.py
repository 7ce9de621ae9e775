"""Groups of channels: units of one kind, of which a number is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwflow.coupling.branches import Branch, residual_branches
from hwflow.coupling.units import Ids, Lane
from hwflow.errors import WorkloadError, unknown_name
from hwflow.workload import Layer, Workload

STAYS = -1
"""Stands for every channel that is never removed."""

_REMEMBERED = 4_000
"""How many choices of units a coupling remembers."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Member:
    """What a group takes of one side of one layer."""

    layer: str
    side: str
    """"out": filters (or the factors of a norm); "in": what the layer reads."""
    channels: tuple[tuple[int, ...], ...]
    """For each unit of the group, the channels of the layer that go with it."""


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are one decision: how many units to keep.

    Removing unit i removes the i-th channels of all members, and nothing else. All units are alike:
    the shapes of a pruned network depend on how many are kept, not on which.
    """

    name: str
    """The first layer that makes its channels."""
    size: int
    """How many units it has."""
    members: tuple[Member, ...]
    least: int = 1
    """How many units must be kept."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose filters it takes."""
        return tuple(member.layer for member in self.members if member.side == "out")

    @property
    def width(self) -> int:
        """How many channels of its first layer one unit is."""
        return len(self.members[0].channels[0]) if self.members else 1


@dataclass(frozen=True, eq=False)
class Coupling:
    """The channels of a workload in units and groups."""

    workload: Workload
    lanes: Mapping[str, Lane | None]
    """Tensor -> the unit of each channel (STAYS where it is never removed), None: all stay."""
    names: tuple[str, ...]
    """The names of the groups."""
    units: tuple[Ids, ...]
    """The units of each group, in the order of their first channel."""
    why: Mapping[str, str]
    """Multiplying layer -> why (some of) its output channels stay."""
    exclude: frozenset[str] = frozenset()
    """Layers whose output channels were to stay."""
    _least: tuple[int, ...] = field(repr=False, default=())
    shrunk: dict[tuple[str | bytes, ...], Layer] = field(repr=False, default_factory=dict)
    """Layers with fewer channels that :func:`hwflow.coupling.shrink` made."""
    _checked: dict[tuple[str, tuple[int, ...]], Ids] = field(repr=False, default_factory=dict)
    """Units that were to be kept, by group and number: a search asks for the same ones."""

    @cached_property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """The groups, in the order of their first layers."""
        return _described(self)

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """The residual branches that can be left out, in order."""
        return residual_branches(self.workload, _spans(self), self.exclude)

    def branches_of(self, groups: Collection[str]) -> tuple[Branch, ...]:
        """Return the branches that some of these groups live in; WorkloadError for one outside."""
        homes = {name: branch for branch in self.branches for name in branch.groups}
        for name in groups:
            if name not in homes:
                size = len(self.units[self.index(name)])
                raise WorkloadError(
                    f"Of group {name!r} at least {self.least(name)} of {size} units must be kept: "
                    "nothing need be kept only of a group inside a residual branch that can be "
                    f"left out: {', '.join(homes) or 'none here'}."
                )
        found = {homes[name].add for name in groups}
        return tuple(branch for branch in self.branches if branch.add in found)

    def group(self, name: str) -> ChannelGroup:
        """Return a group by name; raise WorkloadError when there is none."""
        return self.groups[self.index(name)]

    def index(self, name: str) -> int:
        """Return the place of a group; raise WorkloadError when there is none of that name."""
        if name not in self._places:
            why = f" {self.why[name]}." if name in self.why else ""
            raise WorkloadError(unknown_name("channel group", name, self.names, why.strip()))
        return self._places[name]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    def mask(self, kept: Mapping[str, Iterable[int]]) -> Mask:
        """Return for every unit whether it is kept; groups that are not named are kept whole.

        The last entry is for STAYS. Raises WorkloadError for unknown groups or units, and where
        fewer units are kept than must be.
        """
        mask = np.ones(sum(map(len, self.units)) + 1, bool)
        for name, chosen in kept.items():
            key = (name, tuple(chosen))
            if key not in self._checked:
                if len(self._checked) >= _REMEMBERED:
                    self._checked.clear()
                self._checked[key] = self._rows(*key)
            mask[self.units[self.index(name)]] = False
            mask[self._checked[key]] = True
        return mask

    def _rows(self, name: str, chosen: tuple[int, ...]) -> Ids:
        """Return the units that are kept of a group."""
        units, least, rows = self.units[self.index(name)], self.least(name), sorted(set(chosen))
        if len(rows) < max(least, 1) or not 0 <= rows[0] <= rows[-1] < len(units):
            raise WorkloadError(
                f"Group {name!r} has units 0 to {len(units) - 1}, of which at least {least} must "
                f"be kept; {_shown(rows)} cannot be."
            )
        kept: Ids = units[rows]
        return kept

    def least(self, name: str) -> int:
        """Return how many units of a group must be kept."""
        return self._least[self.index(name)]


def _shown(rows: list[int]) -> str:
    return f"{rows[:3]} ... {rows[-3:]}" if len(rows) > 6 else str(rows)


def _described(coupling: Coupling) -> tuple[ChannelGroup, ...]:
    size = sum(map(len, coupling.units))
    owner = np.full(size + 1, STAYS)
    place = np.zeros(size + 1, np.int64)
    for index, units in enumerate(coupling.units):
        owner[units], place[units] = index, np.arange(len(units))
    members: list[list[Member]] = [[] for _ in coupling.units]
    for layer in coupling.workload:
        for side, lane in _sides(coupling, layer):
            for index in np.unique(owner[lane.ids]).tolist():
                if index != STAYS:
                    rows: list[list[int]] = [[] for _ in coupling.units[index]]
                    for channel in np.flatnonzero(owner[lane.ids] == index).tolist():
                        rows[place[lane.ids[channel]]].append(channel)
                    channels = tuple(map(tuple, rows))
                    members[index].append(Member(layer.name, side, channels))
    return tuple(
        ChannelGroup(name, len(units), tuple(sorted(found, key=lambda m: m.side != "out")), least)
        for name, units, found, least in zip(
            coupling.names, coupling.units, members, coupling._least, strict=True
        )
    )


def _spans(coupling: Coupling) -> dict[str, set[str]]:
    """Return the tensors that each group is part of."""
    owner = np.full(sum(map(len, coupling.units)) + 1, STAYS)
    for index, units in enumerate(coupling.units):
        owner[units] = index
    spans: dict[str, set[str]] = {name: set() for name in coupling.names}
    for tensor, lane in coupling.lanes.items():
        for index in np.unique(owner[lane.ids]).tolist() if lane is not None else ():
            if index != STAYS:
                spans[coupling.names[index]].add(tensor)
    return spans


def _sides(coupling: Coupling, layer: Layer) -> Iterable[tuple[str, Lane]]:
    out = coupling.lanes[layer.name]
    if out is not None and (layer.is_mac or layer.op == "norm"):
        yield "out", out
    read = coupling.lanes[layer.inputs[0]] if layer.is_mac else None
    if read is not None:
        yield "in", read
