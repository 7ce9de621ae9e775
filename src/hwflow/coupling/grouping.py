"""From followed channels to groups: which units are alike, and what the groups are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from itertools import chain

import numpy as np

from hwflow.coupling.groups import STAYS, ChannelGroup, Coupling
from hwflow.coupling.track import Tracker
from hwflow.coupling.units import Ids, Lane
from hwflow.workload import Workload


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
    same: dict[tuple[int, bytes], Lane] = {}  # one object for all tensors of the same channels
    lanes: dict[str, Lane | None] = {}
    for name, lane in roots.items():
        lanes[name] = None
        if lane is not None:
            ids = _numbered(lane.ids, order)
            lanes[name] = same.setdefault((lane.axis, ids.tobytes()), Lane(lane.axis, ids))
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
