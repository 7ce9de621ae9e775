"""Prune: channels taken out of a network, by groups that can only go together.

The groups are those of :mod:`hwflow.coupling`. Which units of a group go is decided by a ranking of
the pristine network's weights (:mod:`hwflow.edits.ranking`); how many, by the plan. Where a network
gives normalisation over channels, attention or anything else in which a channel that is missing is
not a channel of zeros, the channels stay: every pruned network computes what the original computes
with the removed channels set to zero.

Statistics of batch normalisation belong to the channels they were taken with. A space of
:func:`prune` takes them anew on the network's calibration inputs, where it has any.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import gcd
from typing import Literal, get_args

import torch
from torch import Tensor

from hwflow.coupling import ChannelGroup, Coupling, couple, describe, shrink
from hwflow.design import Design
from hwflow.edits.prune_graph import pruned
from hwflow.edits.quantizers import Prepared, prepared
from hwflow.edits.ranking import Ranking, scores_of
from hwflow.edits.remember import Remembered
from hwflow.edits.survey import Survey
from hwflow.errors import HwflowError, unknown_name
from hwflow.extract.call import is_quantizer
from hwflow.network import Network
from hwflow.space import Choice, Space, Value
from hwflow.train import restate
from hwflow.workload import Workload

CHANNELS = "channels:"
"""How the names of choices begin; the name of a group follows."""

KEEP = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
"""Shares of the channels that are kept, the options of a choice."""

Scores = Mapping[str, Sequence[float]]
"""For each group, how much each unit matters."""

Mend = Literal["none", "statistics"]
"""What is done to what is left, from calibration inputs and without labels or gradients."""


@dataclass(frozen=True)
class Prune:
    """Keep these units of these groups; groups that are not named stay whole."""

    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Units to keep, by group."""
    exclude: frozenset[str] = frozenset()
    """Layers whose output channels stay: with them the groups are others."""
    mend: Mend = "none"
    """"statistics": batch normalisation is re-estimated on the network's calibration inputs."""

    def __post_init__(self) -> None:
        check_mend(self.mend)
        kept = {name: tuple(sorted(set(units))) for name, units in sorted(self.kept.items())}
        object.__setattr__(self, "kept", kept)

    def __hash__(self) -> int:
        return hash((tuple(self.kept.items()), self.exclude, self.mend))

    def on_paper(self, design: Design) -> Design:
        """Return the design with the layers' channels, shapes and parameters that are left.

        Raises HwflowError for groups or units that the workload does not have.
        """
        coupling = couple(design.workload, self.exclude)
        small = shrink(coupling, coupling.mask(self.kept))
        # equal workloads share a coupling, whatever they are called
        if small.name != design.workload.name:
            small = replace(small, name=design.workload.name)
        return design.with_workload(small)

    def in_network(self, network: Network) -> Network:
        """Return a network without the channels: an exported graph, in eval mode, that trains.

        It shares no parameter with `network`. Raises HwflowError for unknown groups or units, for
        a network that is quantised, and where the channels cannot be followed.
        """
        ready = prunable(network)
        found = ready.survey(self.exclude)
        if found.faults:
            raise HwflowError(_not_followed(network.name, found.faults))
        mask = found.coupling.mask(self.kept)
        small = pruned(ready.prepared.graph, found, mask)
        if self.mend == "statistics" and network.calibration is not None and not mask.all():
            restate(small, fast_format(network.calibration))
        return network.with_module(small)


def fast_format(images: Tensor) -> Tensor:
    """Return images with their channels last: convolutions on a CPU run a third faster."""
    return images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images


def check_mend(name: str) -> None:
    """Raise HwflowError for a way of mending that does not exist."""
    if name not in get_args(Mend):
        raise HwflowError(unknown_name("mend", name, get_args(Mend)))


@dataclass(eq=False)
class Prunable:
    """What pruning a network needs and no plan changes."""

    prepared: Prepared
    _surveys: dict[frozenset[str], Survey] = field(default_factory=dict)

    def survey(self, exclude: frozenset[str]) -> Survey:
        """Return where the channels are in the exported graph."""
        if exclude not in self._surveys:
            coupling = couple(self.prepared.workload, exclude)
            self._surveys[exclude] = Survey(self.prepared.found, coupling).run()
        return self._surveys[exclude]


@Remembered
def prunable(network: Network) -> Prunable:
    """Export the network; raises HwflowError when it is quantised already."""
    ready = prepared(network)
    if any(is_quantizer(node) for node in ready.graph.graph.nodes):
        raise HwflowError(
            f"Network {network.name!r} is quantised: scales belong to the channels they were "
            "computed with. Prune it first and quantise the result."
        )
    return Prunable(ready)


def _not_followed(name: str, faults: Mapping[str, str]) -> str:
    rows = "".join(f"\n  {layer}: {why}" for layer, why in faults.items())
    return f"The channels of some layers of {name!r} are not followed. Exclude these layers:{rows}"


@dataclass(frozen=True)
class PrunePart:
    """The part of a space that chooses how many channels of each group are kept."""

    choices: tuple[Choice, ...]
    kept: Mapping[str, Mapping[Value, tuple[int, ...]]] = field(repr=False, default_factory=dict)
    """For each group, the units that each option keeps."""
    exclude: frozenset[str] = frozenset()
    mend: Mend = "statistics"
    scores: Scores | None = field(repr=False, compare=False, default=None)
    """What the units were ranked by, for qualities on paper; None where all are worth the same."""
    kind = "prune"

    def digest(self) -> str:
        """Return the SHA-256 of which units each option keeps: a study must not mix rankings."""
        kept = [(name, sorted(options.items())) for name, options in self.kept.items()]
        text = json.dumps([kept, sorted(self.exclude), self.mend])
        return hashlib.sha256(text.encode()).hexdigest()

    def edit(self, values: Mapping[str, Value]) -> Prune:
        """Return the edit for these values of the choices."""
        chosen = {name.removeprefix(CHANNELS): value for name, value in values.items()}
        return Prune(
            {name: self.kept[name][value] for name, value in chosen.items() if value != 1.0},
            self.exclude,
            self.mend,
        )


def prune(
    source: Network | Workload,
    keep: Sequence[float] = KEEP,
    *,
    step: int = 1,
    min_channels: int = 1,
    exclude: Collection[str] = (),
    ranking: Ranking = "l2",
    scores: Scores | None = None,
    mend: Mend = "statistics",
) -> Space:
    """Return the space of channel counts: for each coupled group, the share that is kept.

    `keep` are the shares, in (0, 1]; 1 is always an option. Counts are rounded to multiples of
    `step` channels (the width of the machine's array, say), are `min_channels` at least, and of
    shares with one count only the nearest is an option. Output channels of the layers in `exclude`
    stay. `ranking` says which units go first: those with the least "l1" or "l2" norm of their
    weights, or the least "bn_scale"; `scores` replace it (see :func:`hwflow.edits.ranking.taylor`).
    A workload alone has no weights: its first units are kept. `mend` says what is done to what is
    left, where the network has calibration inputs: "statistics" of batch normalisation are taken
    anew, or "none". Raises HwflowError for shares outside
    the range, unknown layers and a network that has no channels to remove.
    """
    _check(keep, step, min_channels)
    check_mend(mend)
    coupling = _coupling(source, frozenset(exclude))
    groups = coupling.groups
    if scores is None and isinstance(source, Network):
        scores = scores_of(source, coupling, ranking)
    _check_scores(scores, groups)
    kept: dict[str, dict[Value, tuple[int, ...]]] = {}
    for group in groups:
        order = _order(group, scores)
        counts = _counts(group, keep, step, min_channels)
        kept[group.name] = {share: tuple(sorted(order[:n])) for share, n in counts.items()}
    choices = tuple(
        Choice(CHANNELS + name, tuple(options), default=len(options) - 1)
        for name, options in kept.items() if len(options) > 1
    )  # fmt: skip
    if not choices:
        raise HwflowError(_nothing(source.name, coupling, step))
    network = source if isinstance(source, Network) else None
    part = PrunePart(choices, kept, coupling.exclude, mend, scores)
    return Space(coupling.workload, (part,), network)


def _coupling(source: Network | Workload, exclude: frozenset[str]) -> Coupling:
    """Return the groups; layers whose channels the exported graph hides are excluded as well."""
    if isinstance(source, Workload):
        return couple(source, exclude)
    ready = prunable(source)
    found = ready.survey(exclude)
    while found.faults and not found.faults.keys() <= found.coupling.exclude:
        found = ready.survey(found.coupling.exclude.union(found.faults))
    return found.coupling


def _order(group: ChannelGroup, scores: Scores | None) -> list[int]:
    """Return the units of a group, what matters most first; of equals the first."""
    given = scores[group.name] if scores is not None else [0.0] * group.size
    return sorted(range(group.size), key=lambda unit: (-given[unit], unit))


def _counts(group: ChannelGroup, keep: Sequence[float], step: int, least: int) -> dict[Value, int]:
    """Return the shares that are options, each with its number of units, ascending."""
    unit_step = step // gcd(step, group.width)
    fewest = max(group.least, -(-least // group.width))
    found: dict[int, float] = {}
    for share in sorted(set(keep), reverse=True):
        count = max(round(share * group.size / unit_step), 1) * unit_step
        if fewest <= count < group.size and _off(share, count, group) < _off(
            found.get(count, 2.0), count, group
        ):
            found[count] = float(share)
    options: dict[Value, int] = {found[count]: count for count in sorted(found)}
    return options | {1.0: group.size}


def _off(share: float, count: int, group: ChannelGroup) -> float:
    """Return how far a share is from what is really kept."""
    return abs(share - count / group.size)


def _check(keep: Sequence[float], step: int, min_channels: int) -> None:
    for share in keep:
        if not 0 < share <= 1:
            raise HwflowError(f"The share of channels to keep must be in (0, 1], not {share}.")
    for name, value in (("step", step), ("min_channels", min_channels)):
        if value < 1:
            raise HwflowError(f"{name} must be at least 1, not {value}.")


def _check_scores(scores: Scores | None, groups: Collection[ChannelGroup]) -> None:
    for group in groups if scores is not None else ():
        assert scores is not None
        if group.name not in scores:
            raise HwflowError(unknown_name("group with scores", group.name, scores))
        if len(scores[group.name]) != group.size:
            raise HwflowError(
                f"Group {group.name!r} has {group.size} units, but {len(scores[group.name])} "
                "scores. Give one for each unit."
            )


def _nothing(name: str, coupling: Coupling, step: int) -> str:
    if coupling.names:
        widest = max(group.size * group.width for group in coupling.groups)
        return (
            f"No group of {name!r} has enough channels for steps of {step}: the widest has "
            f"{widest}. Take a smaller step."
        )
    return f"Network {name!r} has no channels that can be removed.\n{describe(coupling)}"
