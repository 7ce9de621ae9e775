"""What a network answers when one choice leaves a plan, for every option of every choice.

    found = sensitivities(space, data.val, images=500, file="sensitivity.json")
    found.divergence[place][option]  # of the answers from those of the default plan
    found.loss[place][option]        # cross-entropy with the option, less that of the base plan

The changes of the mean cross-entropy and of the top-1 accuracy on labelled images come with the
divergence. That is what adds up: a network that is too sure of itself has less cross-entropy when
an option merely blurs its answers, and such gains vanish when options come together. It is that
from the answers of the default plan, also where changes are measured around another one: there a
change may bring the answers back, and lose less than nothing.

Graphs, such as those of quantised plans, are run from where they differ from the default plan's
(:mod:`hwflow.quality.prefix`), other networks as a whole.

A search adds such changes up (:mod:`hwflow.solvers.surrogate`), as HANT does for replaced
operations (arXiv 2107.10624); :func:`pair_error` measures what is wrong with that.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from hwflow.data.split import AnySplit
from hwflow.errors import HwflowError
from hwflow.quality.prefix import BUDGET
from hwflow.quality.replay import Replay, Sums
from hwflow.quality.sensitivity_file import Change, Journal
from hwflow.quality.sensitivity_table import Sensitivity as Sensitivity
from hwflow.quality.sensitivity_table import Spent
from hwflow.running import state_digest
from hwflow.space import Plan, Space

IMAGES, BATCH = 500, 50

Progress = Callable[[int, int], None]
"""Hears how many evaluations are done, and how many there are."""


def sensitivities(
    space: Space,
    split: AnySplit,
    *,
    images: int = IMAGES,
    base: Sequence[int] | None = None,
    batch: int = BATCH,
    budget: int = BUDGET,
    file: Path | str | None = None,
    progress: Progress | None = None,
) -> Sensitivity:
    """Measure what each option of each choice does when all others are as in the base plan.

    `base` is the default plan where none is given. Changes of choices that it makes inactive, or
    that change the machine only, are 0; the latter are not in the file, which serves any machine.
    `budget` bounds the bytes of activations that are kept.
    With a `file` every change is kept as it is measured: the same call goes on after it was
    stopped, and returns at once what is finished. Raises HwflowError for a file of another network,
    space, base plan or images, and for a space without a network.
    """
    start = space.check(space.default if base is None else base)
    own = space.of_network
    found = _measured(own, split, start[: len(own)], images, batch, budget, file, progress)
    return replace(found.check(space), base=(*found.base, *start[len(own) :]))


def _measured(
    space: Space, split: AnySplit, base: Plan, images: int, batch: int, budget: int,
    file: Path | str | None, progress: Progress | None,
) -> Sensitivity:  # fmt: skip
    """Measure the changes of a space without choices of the machine."""
    start = space.canonical(base)
    journal = Journal(file, _identity(space, split, start, images, batch, budget))
    if journal.finished and file is not None:
        return Sensitivity.read(file)
    replay = Replay(space, space.default, split, images, batch, budget)  # the answers to keep
    changes = _changes(space, start)
    wanted: list[Change | None] = [None, *changes]
    sums: dict[Change | None, list[Sums]] = {change: [] for change in wanted}
    for number in range(replay.parts * len(wanted)):
        part, change = divmod(number, len(wanted))[0], wanted[number % len(wanted)]
        plan = start if change is None else changes[change]
        sums[change].append(journal.measured(part, change, plan, replay))
        if progress is not None:
            progress(number + 1, replay.parts * len(wanted))
    found = _table(space, start, {key: _mean(parts) for key, parts in sums.items()}, replay.images,
                   journal.spent(replay))  # fmt: skip
    journal.close(found)
    return found


@dataclass(frozen=True)
class PairError:
    """What two changes at once do, against the sum of what each does alone.

    The statistics are of the loss, that is of `measured` and `summed`.
    """

    pairs: tuple[tuple[Change, Change], ...]
    measured: tuple[float, ...]
    summed: tuple[float, ...]
    divergence: tuple[float, ...]
    summed_divergence: tuple[float, ...]
    accuracy: tuple[float, ...]
    """Measured change of the accuracy."""
    summed_accuracy: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of |measured - summed|, in units of the loss."""
        return sum(map(abs, self._errors)) / len(self.pairs)

    @property
    def relative(self) -> float:
        """Sum of |measured - summed| over the sum of |measured|."""
        return sum(map(abs, self._errors)) / max(sum(map(abs, self.measured)), 1e-12)

    @property
    def median(self) -> float:
        """Median of |measured - summed|."""
        found = sorted(map(abs, self._errors))
        return (found[(len(found) - 1) // 2] + found[len(found) // 2]) / 2

    @property
    def _errors(self) -> list[float]:
        return [m - s for m, s in zip(self.measured, self.summed, strict=True)]


def pair_error(
    found: Sensitivity,
    space: Space,
    split: AnySplit,
    *,
    pairs: int = 50,
    seed: int = 0,
    batch: int = BATCH,
    budget: int = BUDGET,
    progress: Progress | None = None,
) -> PairError:
    """Measure random pairs of changes of two choices, on the images of the sensitivities.

    Raises HwflowError for sensitivities of another space, or when there is no pair.
    """
    found = found.check(space)
    drawn = _pairs(space, found.base, pairs, seed)
    replay = Replay(space, space.default, split, found.images, batch, budget)
    plans = [found.base, *(space.canonical(_with(found.base, *both)) for both in drawn)]
    sums: list[list[Sums]] = [[] for _ in plans]
    for part in range(replay.parts):  # outside: what plans share is known for one part at a time
        for number, plan in enumerate(plans):
            sums[number].append(replay.sums(part, plan))
            if progress is not None:
                progress(part * len(plans) + number + 1, replay.parts * len(plans))
    base, *means = (_mean(own) for own in sums)
    return PairError(
        tuple(drawn),
        tuple(mean.loss - found.base_loss for mean in means),
        tuple(sum(found.loss[p][o] for p, o in both) for both in drawn),
        tuple(mean.divergence - base.divergence for mean in means),
        tuple(sum(found.divergence[p][o] for p, o in both) for both in drawn),
        tuple(mean.accuracy - found.base_accuracy for mean in means),
        tuple(sum(found.accuracy[p][o] for p, o in both) for both in drawn),
    )


def _pairs(space: Space, base: Plan, count: int, seed: int) -> list[tuple[Change, Change]]:
    """Draw pairs of changes of different choices, in the order of the places; none twice."""
    changes, rng = list(_changes(space, base)), random.Random(seed)
    most = sum(one[0] < other[0] for one in changes for other in changes)
    found: dict[tuple[Change, Change], None] = {}
    while len(found) < min(count, most):
        one, other = sorted(rng.sample(changes, 2))
        if one[0] != other[0]:
            found[one, other] = None
    if not found:
        raise HwflowError(
            f"The space of {space.workload.name!r} has no two choices that can change, or no pair "
            f"was asked for ({count}). Give a space of two choices or more, and pairs=1 or more."
        )
    return list(found)


def _changes(space: Space, base: Plan) -> dict[Change, Plan]:
    """Return every single change of a plan that changes the network."""
    own = len(space.of_network)
    found = {
        (place, option): space.canonical(_with(base, (place, option)))
        for place, choice in enumerate(space.choices[:own])
        for option in range(len(choice.options))
    }
    return {change: plan for change, plan in found.items() if plan != base}


def _with(plan: Plan, *changes: Change) -> Plan:
    found = list(plan)
    for place, option in changes:
        found[place] = option
    return tuple(found)


class _Mean(NamedTuple):
    """What a plan answers, on average over the images."""

    divergence: float
    loss: float
    accuracy: float


def _mean(parts: Sequence[Sums]) -> _Mean:
    images = sum(part.images for part in parts)
    return _Mean(
        sum(part.divergence for part in parts) / images,
        sum(part.loss for part in parts) / images,
        sum(part.right for part in parts) / images,
    )


def _table(
    space: Space, base: Plan, means: dict[Change | None, _Mean], images: int, spent: Spent
) -> Sensitivity:
    own = means[None]

    def rows(figure: int) -> tuple[tuple[float, ...], ...]:
        return tuple(
            tuple(means.get((place, o), own)[figure] - own[figure]
                  for o in range(len(choice.options)))
            for place, choice in enumerate(space.choices)
        )  # fmt: skip

    return Sensitivity(
        base, tuple(choice.name for choice in space.choices),
        tuple(choice.options for choice in space.choices),
        rows(0), rows(1), rows(2), own.loss, own.accuracy, images, spent,
    )  # fmt: skip


def _identity(
    space: Space, split: AnySplit, base: Plan, images: int, batch: int, budget: int
) -> dict[str, str]:
    """Return what a file must not mix, each in a few letters."""
    network = space.network
    if network is None:
        raise HwflowError(
            f"{space.workload.name} is known on paper only: sensitivities need the torch network."
        )
    calibration = torch.empty(0) if network.calibration is None else network.calibration
    parts = [(part.kind, _digest_of(part)) for part in space.parts]
    held = {
        "network": state_digest(network.module),
        "calibration": hashlib.sha256(calibration.contiguous().numpy().tobytes()).hexdigest(),
        "space": _sha([parts, space.describe(), space.workload.digest()]),
        # around another plan, divergences were once from that plan's answers
        "base plan": _sha(base if base == space.default else [base, "default's answers"]),
        "choice of images": _sha([split.digest, images]),
        "batch or budget": _sha([batch, budget]),
        "kind of figures": _sha(Sums._fields),
    }
    return {name: digest[:16] for name, digest in held.items()}


def _digest_of(part: object) -> str:
    digest = getattr(part, "digest", None)
    return digest() if digest is not None else ""


def _sha(data: Any) -> str:
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()
