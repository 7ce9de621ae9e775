"""From followed channels to groups: units of one kind, of which a number is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from hwflow.coupling.track import Tracker
from hwflow.coupling.units import Ids, Lane
from hwflow.errors import WorkloadError, unknown_name
from hwflow.workload import Layer, Workload

STAYS = -1
"""Stands for every channel that is never removed."""

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

    @cached_property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """The groups, in the order of their first layers."""
        return _described(self)

    def group(self, name: str) -> ChannelGroup:
        """Return a group by name; raise WorkloadError when there is none."""
        return self.groups[self.index(name)]

    def index(self, name: str) -> int:
        """Return the place of a group; raise WorkloadError when there is none of that name."""
        if name not in self.names:
            why = f" {self.why[name]}." if name in self.why else ""
            raise WorkloadError(unknown_name("channel group", name, self.names, why.strip()))
        return self.names.index(name)

    def mask(self, kept: Mapping[str, Iterable[int]]) -> Mask:
        """Return for every unit whether it is kept; groups that are not named are kept whole.

        The last entry is for STAYS. Raises WorkloadError for unknown groups or units, and where
        fewer units are kept than must be.
        """
        mask = np.ones(sum(map(len, self.units)) + 1, bool)
        for name, chosen in kept.items():
            index = self.index(name)
            units, rows = self.units[index], sorted(set(chosen))
            if len(rows) < self._least[index] or (
                rows and not 0 <= rows[0] <= rows[-1] < len(units)
            ):
                raise WorkloadError(
                    f"Group {name!r} has units 0 to {len(units) - 1}, of which at least "
                    f"{self._least[index]} must be kept; {_shown(rows)} cannot be."
                )
            mask[units] = False
            mask[units[rows]] = True
        return mask

    def least(self, name: str) -> int:
        """Return how many units of a group must be kept."""
        return self._least[self.index(name)]


def _shown(rows: list[int]) -> str:
    return f"{rows[:3]} ... {rows[-3:]}" if len(rows) > 6 else str(rows)


def channel_groups(workload: Workload, exclude: Collection[str] = ()) -> tuple[ChannelGroup, ...]:
    """Return the groups of channels that can be removed together.

    The output channels of the layers in `exclude` stay. Raises WorkloadError for unknown layers.
    """
    return couple(workload, frozenset(exclude)).groups


@lru_cache(maxsize=16)
def couple(workload: Workload, exclude: frozenset[str] = frozenset()) -> Coupling:
    """Follow the channels of a workload; kept for the workloads last asked for."""
    tracker = Tracker(workload, exclude).run()
    roots = {
        name: lane and Lane(lane.axis, tracker.units.roots(lane.ids))
        for name, lane in tracker.lanes.items()
    }
    kinds = _kinds(workload, roots, tracker)
    order = {root: i for i, root in enumerate(chain.from_iterable(kinds.values()))}
    lanes = {
        name: lane and Lane(lane.axis, _numbered(lane.ids, order)) for name, lane in roots.items()
    }
    units = tuple(np.array([order[root] for root in group], np.int64) for group in kinds.values())
    return Coupling(
        workload, lanes, tuple(_names(workload, kinds)), units, _reasons(workload, roots, tracker),
        exclude, tuple(_least(workload, kind) for kind in kinds),
    )  # fmt: skip


Kind = tuple[tuple[str, int], ...]
"""Tensor -> how many of its channels a unit is: units of one kind are alike."""


def _kinds(
    workload: Workload, roots: Mapping[str, Lane | None], tracker: Tracker
) -> dict[Kind, list[int]]:
    """Return the units that may be removed, by what they take of every tensor.

    Where as many must be kept as there are, they stay.
    """
    takes: dict[int, list[tuple[str, int]]] = {}
    for name, lane in roots.items():
        if lane is not None:
            for root, count in Counter(lane.ids.tolist()).items():
                takes.setdefault(root, []).append((name, count))
    kinds: dict[Kind, list[int]] = {}
    for root, taken in takes.items():
        if tracker.units.why(root) is None:
            kinds.setdefault(tuple(taken), []).append(root)
    for kind, found in list(kinds.items()):
        if len(found) <= _least(workload, kind):
            tracker.units.fix(np.array(found), f"{kind[0][0]} has its channels tied to one another")
            del kinds[kind]
    return kinds


def _numbered(ids: Ids, order: Mapping[int, int]) -> Ids:
    return np.array([order.get(root, STAYS) for root in ids.tolist()], np.int64)


def _names(workload: Workload, kinds: Iterable[Kind]) -> Iterable[str]:
    """Name each group after the first layer that makes its channels."""
    seen: Counter[str] = Counter()
    for kind in kinds:
        makers = [name for name, _ in kind if workload[name].is_mac]
        name = (makers or [kind[0][0]])[0]
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name}[{seen[name]}]"


def _least(workload: Workload, kind: Kind) -> int:
    """Return 2 where a single channel would make a constant per channel one for all, else 1."""
    single = any(
        workload[name].attr("constant") is not None or "prelu" in workload[name].act
        for name, _ in kind
    )
    return 2 if single else 1


def _reasons(
    workload: Workload, roots: Mapping[str, Lane | None], tracker: Tracker
) -> dict[str, str]:
    found: dict[str, str] = {}
    for layer in workload.mac_layers:
        lane = roots[layer.name]
        if lane is None:
            found[layer.name] = tracker.why.get(layer.name, "")
            continue
        reasons = (tracker.units.why(root) for root in lane.ids.tolist())
        why = next((reason for reason in reasons if reason is not None), None)
        if why is not None:
            found[layer.name] = why
    return found


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


def _sides(coupling: Coupling, layer: Layer) -> Iterable[tuple[str, Lane]]:
    out = coupling.lanes[layer.name]
    if out is not None and (layer.is_mac or layer.op == "norm"):
        yield "out", out
    read = coupling.lanes[layer.inputs[0]] if layer.is_mac else None
    if read is not None:
        yield "in", read
