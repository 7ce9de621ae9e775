"""The answer of a search: of its best plans the one that is best on all validation images."""

from __future__ import annotations

from collections.abc import Iterable

from hwflow.front import Trial
from hwflow.network import Network
from hwflow.problem import QUALITY
from hwflow.quality.accuracy import Accuracy
from hwflow.reproduce.stages import Settings
from hwflow.space import Space

FINALISTS = 8
"""Plans of a search that are scored on all validation images before one is taken."""
QUICK_IMAGES = 200
"""Validation images of a quick reproduction."""


def answer_of(
    settings: Settings, network: Network, space: Space, trials: Iterable[Trial]
) -> tuple[Trial, float]:
    """Return a search's answer and its accuracy on the validation split."""
    quality = whole_validation(settings, network)
    best = sorted(trials, key=lambda trial: (-trial.value(QUALITY), trial.number))[:FINALISTS]
    worth = [quality.score(trial.plan, space.apply) for trial in best]
    index = max(range(len(best)), key=worth.__getitem__)
    return best[index], worth[index]


def whole_validation(settings: Settings, network: Network) -> Accuracy:
    """Return the accuracy on all validation images, or on a few in a quick reproduction."""
    limit = QUICK_IMAGES if settings.quick else None
    return Accuracy(settings.splits(network).val, limit=limit)
