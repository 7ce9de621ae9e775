"""How well one figure stands in for another: ranks, spread, fronts kept and regret. Arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwflow.cost import Floats
from hwflow.front import non_dominated

WITHIN = 0.01
"""Plans whose stand-ins differ by no more than this share count as equal."""


@dataclass(frozen=True)
class Spread:
    """How far a figure varies among plans that a stand-in holds for equal."""

    ratio: float
    """95th over 5th percentile."""
    plans: int
    """Plans in the largest such group."""


@dataclass(frozen=True)
class Recall:
    """How much of a front a search by a stand-in would have kept."""

    kept: int
    members: int

    @property
    def share(self) -> float:
        """Kept of all members, 0 to 1."""
        return self.kept / self.members if self.members else 1.0


def spearman(first: Floats, second: Floats) -> float | None:
    """Return Spearman's rank correlation, equal values sharing their mean rank.

    It is Pearson's correlation of the ranks (Spearman 1904). Both have shape (n,). None where one
    of them does not vary.
    """
    ranks = np.stack([_ranks(first), _ranks(second)])
    if len(first) < 2 or (np.ptp(ranks, axis=1) == 0).any():
        return None
    return float(np.asarray(np.corrcoef(ranks))[0, 1])


def _ranks(values: Floats) -> Floats:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    middle: Floats = np.asarray(np.cumsum(count) - (count - 1) / 2)
    return middle[place]


def spread(values: Floats, stand_in: Floats, within: float = WITHIN) -> Spread:
    """Return how far `values` vary in the largest group of plans of nearly the same stand-in.

    A group holds the plans whose stand-in lies within `within` of that of the plan at its centre.
    Both have shape (n,), n at least 1.
    """
    order = np.argsort(stand_in, kind="stable")
    ordered, found = stand_in[order], values[order]
    first = np.searchsorted(ordered, ordered * (1 - within), "left")
    last = np.searchsorted(ordered, ordered * (1 + within), "right")
    middle = int(np.argmax(last - first))
    group = found[first[middle] : last[middle]]
    low, high = np.percentile(group, (5, 95))
    return Spread(float(high / low) if low > 0 else 1.0, len(group))


def front_of(points: Floats) -> np.ndarray:
    """Return which rows of `points` (to be minimised) no other beats, shape (n,), bool.

    Rows that are equal are all on the front, or none of them is.
    """
    unique, place = np.unique(points, axis=0, return_inverse=True)
    best = np.zeros(len(unique), bool)
    best[non_dominated(unique)] = True
    on_front: np.ndarray = best[place.ravel()]
    return on_front


def recall(points: Floats, stand_ins: Floats) -> Recall:
    """Return how many rows on the front of `points` are on that of `stand_ins` too."""
    true, guessed = front_of(points), front_of(stand_ins)
    return Recall(int((true & guessed).sum()), int(true.sum()))


def excess(change: Floats, values: Floats, stand_in: Floats) -> float:
    """Return by what share the front that a stand-in keeps lies above the true one, on average.

    Both are fronts in `change` and one figure. Each plan of the true front is held against the
    least value among kept plans of no more change. All have shape (n,).
    """
    true, kept = (front_of(np.stack([change, x], axis=1)) for x in (values, stand_in))
    order = np.argsort(change[kept], kind="stable")
    least = np.minimum.accumulate(values[kept][order])
    place = np.searchsorted(change[kept][order], change[true], "right") - 1
    return float(np.mean(least[place] / values[true]) - 1) if values.min() > 0 else 0.0


def regret(values: Floats, stand_in: Floats, allowed: np.ndarray) -> float:
    """Return by what share the plan with the least stand-in lies above the least value.

    Only `allowed` plans are looked at. Where the stand-in cannot tell the best plans apart, any of
    them may be taken: their mean counts.
    """
    found, guess = values[allowed], stand_in[allowed]
    taken = found[guess <= guess.min() * (1 + 1e-12)]
    best = float(found.min())
    return float(taken.mean()) / best - 1 if best > 0 else 0.0
