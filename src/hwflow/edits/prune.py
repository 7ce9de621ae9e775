"""Prune: the space of channel counts, a choice for each group that can only go together.

The groups are those of :mod:`hwflow.coupling`. Which units of a group go is decided by a ranking of
the pristine network's weights (:mod:`hwflow.edits.ranking`); how many, by the plan. The edit of a
plan is :class:`hwflow.edits.prune_edit.Prune`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hwflow.coupling import Branch, Coupling, couple, describe
from hwflow.edits.channel_counts import CHANNELS as CHANNELS
from hwflow.edits.channel_counts import KEEP as KEEP
from hwflow.edits.channel_counts import Scores, check_counts, check_scores, counts, order
from hwflow.edits.channel_counts import channel_step as channel_step
from hwflow.edits.prune_edit import Mend, Prune, check_inputs, check_mend, prunable
from hwflow.edits.ranking import Batches, Ranking, scores_of
from hwflow.errors import HwflowError
from hwflow.network import Network
from hwflow.space import Choice, Condition, Space, Value
from hwflow.workload import Workload


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
    homes: Mapping[str, Condition] = field(repr=False, default_factory=dict)
    """What some plans leave out -> the choice, and its values with which it is there."""
    heirs: Mapping[str, str] = field(repr=False, default_factory=dict)
    """What some plans leave out -> the tensor that takes its place, "" where none does."""
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
    batches: Batches | None = None,
    mend: Mend = "statistics",
    branches: bool = False,
) -> Space:
    """Return the space of channel counts: for each coupled group, the share that is kept.

    `keep` are the shares, in (0, 1]; 1 is always an option. Counts are rounded to multiples of
    `step` channels (:func:`channel_step` of the machine, say), are `min_channels` at least, and of
    shares with one count only the nearest is an option. Output channels of the layers in `exclude`
    stay. `ranking` says which units go first: those with the least "l1" or "l2" norm of their
    weights, the least "bn_scale", or the least effect on the loss, "taylor"
    (:mod:`hwflow.edits.ranking`). This takes its gradients from `batches` of (inputs, targets), by
    default from the calibration inputs and the network's own answers. `scores` replace the ranking.
    A workload alone has no weights: its first units are kept.

    `mend` says what is done to what is left, where the network has calibration inputs: "statistics"
    of batch normalisation are taken anew, "least_squares" fits the weights before
    (:mod:`hwflow.edits.reconstruct`), "none" does nothing. With `branches` the first group inside
    each residual branch has the option 0, which leaves the branch out; the choices inside are then
    inactive.

    Raises HwflowError for shares outside the range, unknown layers and a network that has no
    channels to remove.
    """
    check_counts(keep, step, min_channels)
    check_mend(mend)
    if mend == "least_squares" and isinstance(source, Network):
        check_inputs(source)
    coupling = _coupling(source, frozenset(exclude))
    if scores is None and isinstance(source, Network):
        scores = scores_of(source, coupling, ranking, batches)
    check_scores(scores, coupling.groups)
    droppable = _droppable(source, coupling) if branches else ()
    kept: dict[str, dict[Value, tuple[int, ...]]] = {}
    carriers = {branch.groups[0] for branch in droppable}
    for group in coupling.groups:
        rows = order(group, scores)
        kept[group.name] = {0.0: ()} if group.name in carriers else {}
        for share, count in counts(group, keep, step, min_channels).items():
            kept[group.name][share] = tuple(sorted(rows[:count]))
    homes = dict(_homes(droppable, kept))
    inside = {name for branch in droppable for name in branch.groups[1:]}
    choices = tuple(
        Choice(
            CHANNELS + name, tuple(options), default=len(options) - 1,
            only_if=homes[name] if name in inside else None,
        )
        for name, options in kept.items() if len(options) > 1
    )  # fmt: skip
    if not choices:
        raise HwflowError(_nothing(source.name, coupling, step, min_channels))
    part = PrunePart(
        choices, kept, coupling.exclude, mend, scores,
        {**homes, **dict(_sums(droppable, homes, coupling.workload))}, dict(_heirs(droppable)),
    )  # fmt: skip
    return Space(coupling.workload, (part,), source if isinstance(source, Network) else None)


def _coupling(source: Network | Workload, exclude: frozenset[str]) -> Coupling:
    """Return the groups; layers whose channels the exported graph hides are excluded as well."""
    if isinstance(source, Workload):
        return couple(source, exclude)
    ready = prunable(source)
    found = ready.survey(exclude)
    while found.faults and not found.faults.keys() <= found.coupling.exclude:
        found = ready.survey(found.coupling.exclude.union(found.faults))
    return found.coupling


def _droppable(source: Network | Workload, coupling: Coupling) -> tuple[Branch, ...]:
    """Return the branches that can be left out, on paper and in the network."""
    if isinstance(source, Workload):
        return coupling.branches
    ready = prunable(source)
    return tuple(b for b in coupling.branches if ready.holds(coupling.exclude, b))


def _homes(
    branches: Iterable[Branch], kept: Mapping[str, Mapping[Value, object]]
) -> Iterable[tuple[str, Condition]]:
    """Yield each layer inside a branch with the condition under which it is there."""
    for branch in branches:
        carrier = branch.groups[0]
        there = tuple(value for value in kept[carrier] if value != 0.0)
        yield from ((name, (CHANNELS + carrier, there)) for name in sorted(branch.layers))


def _sums(
    branches: Iterable[Branch], homes: Mapping[str, Condition], workload: Workload
) -> Iterable[tuple[str, Condition]]:
    """Yield the additions that are nothing of their own without their branch.

    Where what is added to has bits only by a layer of the branch, it takes those of the sum.
    """
    for branch in branches:
        named = workload.bit_groups[branch.other]
        if not branch.stands and named not in branch.layers:
            yield branch.add, homes[branch.end]


def _heirs(branches: Iterable[Branch]) -> Iterable[tuple[str, str]]:
    for branch in branches:
        yield branch.add, branch.other
        yield from ((name, "") for name in sorted(branch.layers))


def _nothing(name: str, coupling: Coupling, step: int, least: int) -> str:
    if not coupling.names:
        return f"Network {name!r} has no channels that can be removed.\n{describe(coupling)}"
    widest = max(group.size * group.width for group in coupling.groups)
    large = f"steps of {step}" if least <= step else f"{least} at least"
    smaller = "step" if least <= step else "min_channels (--min-channels)"
    return (
        f"No group of {name!r} has enough channels for {large}: the widest has {widest}. "
        f"Take a smaller {smaller}."
    )
