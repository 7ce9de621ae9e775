"""Saliency: what a pruning plan keeps of the network's weights, found on paper and without data.

    front = hf.search(problem, Saliency(space), MILP(), evaluations=300)

A layer keeps the share of its filters' scores (the ranking that the space prunes by). A plan is
worth the mean of the logarithms of these shares over the multiplying layers, each as heavy as the
square root of its number of weights,

    saliency = sum over groups of (weight of the group / weight of all) * ln(scores kept / all)

where a group has the part of a layer's weight that it has of the layer's channels. It is 0 for the
whole network and -0.69 where every layer keeps a half. It says nothing of the accuracy itself, only
which of two plans is likely to lose less: our own definition, the best of those that were compared
(docs/any-graph.md). As a sum over groups it suits solvers that add up the losses of single changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log, sqrt
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from hwflow.coupling import ChannelGroup, couple
from hwflow.errors import HwflowError
from hwflow.space import Builder, Choice, Plan, Space, Value
from hwflow.workload import Workload

if TYPE_CHECKING:
    from hwflow.network import Network

BLIND = frozenset({"replace", "quantize"})
"""Kinds of edit that change what a network computes in ways that saliency does not see."""

GONE = 0.01
"""Share that a group counts as which is removed as a whole, such as a residual branch."""


class _Pruning(Protocol):
    """What is read of the pruning part of a space."""

    choices: tuple[Choice, ...]
    kept: Mapping[str, Mapping[Value, tuple[int, ...]]]
    exclude: frozenset[str]
    scores: Mapping[str, Sequence[float]] | None


@dataclass(frozen=True, eq=False)
class Saliency:
    """Quality of a pruning plan without data, 0 or less; no network is built.

    `space` has a part made by :func:`hwflow.edits.prune.prune`, and may have parts that leave the
    numbers as they are. Raises HwflowError where it has no such part, or one that changes bits or
    operations, as these would look free.
    """

    space: Space
    name: ClassVar[str] = "saliency"
    on_paper: ClassVar[bool] = True
    """Made from a space rather than from data."""

    def __post_init__(self) -> None:
        blind = [part.kind for part in self.space.parts if part.kind in BLIND and part.choices]
        if blind:
            raise HwflowError(
                f"Saliency sees which channels are kept, not what {blind[0]!r} changes, which "
                "would look free. Search the space of prune alone, or measure the accuracy."
            )
        if not any(part.kind == "prune" for part in self.space.parts):
            raise HwflowError(
                f"Saliency rates what pruning keeps, but the space of {self.space.workload.name!r} "
                "does not prune. Give a space made by hwflow.prune."
            )

    def score(self, plan: Plan, build: Builder) -> float:
        """Return the saliency of a plan; `build` is not called."""
        return self.of_plan(plan)

    def of_plan(self, plan: Sequence[int]) -> float:
        """Return the saliency of a plan."""
        chosen = zip(self.losses, self.space.canonical(plan), strict=True)
        return -sum(losses[option] for losses, option in chosen)

    def of(self, network: Network) -> float:
        """Return the saliency of the space's own network, 0; any other has no plan to go by."""
        own = self.space.network
        if own is None or network.module is not own.module:
            raise HwflowError(
                f"The saliency of {network.name!r} is not known: it is that of a plan. "
                "Ask for `of_plan`, or measure the accuracy."
            )
        return 0.0

    def digest(self) -> str:
        """Return what each option loses, as SHA-256."""
        return hashlib.sha256(json.dumps(self.losses).encode()).hexdigest()

    @cached_property
    def losses(self) -> tuple[tuple[float, ...], ...]:
        """What each option of each choice takes from the saliency, 0 or more."""
        known: dict[str, tuple[float, ...]] = {}
        for part in self.space.parts:
            if part.kind == "prune":
                known |= _losses(self.space.workload, cast(_Pruning, part))
        return tuple(known.get(c.name, (0.0,) * len(c.options)) for c in self.space.choices)


def _losses(workload: Workload, part: _Pruning) -> dict[str, tuple[float, ...]]:
    """Return minus the weighted logarithm of what each option keeps, by choice."""
    coupling = couple(workload, part.exclude)
    whole = sum(sqrt(layer.weights) for layer in workload.mac_layers)
    found = {}
    for choice in part.choices:
        group = coupling.group(choice.name.partition(":")[2])
        weight = _weight(workload, group) / whole
        scores = (1.0,) * group.size if part.scores is None else part.scores[group.name]
        kept = [part.kept[group.name][option] for option in choice.options]
        found[choice.name] = tuple(weight * -log(_share(scores, units)) for units in kept)
    return found


def _weight(workload: Workload, group: ChannelGroup) -> float:
    """Return how heavy the layers are that a group has filters of, each for its part of them."""
    found = 0.0
    for member in group.members:
        layer = workload[member.layer]
        if member.side == "out" and layer.is_mac:
            found += sqrt(layer.weights) * sum(map(len, member.channels)) / layer.out_channels
    return found


def _share(scores: Sequence[float], units: Sequence[int]) -> float:
    """Return the share of the scores that these units have; all are worth the same if all are 0."""
    total = sum(scores)
    share = sum(scores[u] for u in units) / total if total else len(units) / len(scores)
    return min(max(share, GONE), 1.0)
