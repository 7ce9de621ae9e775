"""Hypervolume over the evaluations of a search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwflow.front import Trial, non_dominated, volume
from hwflow.problem import QUALITY

STEPS = 200
"""At most this many points of the curve are computed."""

Floats = NDArray[np.float64]


def progress(trials: Sequence[Trial], objectives: Sequence[str]) -> list[tuple[int, float]]:
    """Return (evaluations so far, share of the objective box covered so far), ends included.

    The box spans the best and the worst value that the whole search saw in each objective, so the
    curve never falls. Trials without finite objectives count as evaluations that gain nothing.
    """
    points = np.array([_minimise(trial, objectives) for trial in trials]).reshape(
        len(trials), len(objectives)
    )
    scaled = _in_box(points)
    if scaled is None:
        return []
    steps = np.unique(np.linspace(1, len(trials), min(STEPS, len(trials))).astype(int))
    front = scaled[:0]
    curve, start = [], 0
    for stop in steps:
        front = np.concatenate([front, _finite(scaled[start:stop])])
        front = front[non_dominated(front)]
        curve.append((int(stop), volume(front)))
        start = stop
    return curve


def _in_box(points: Floats) -> Floats | None:
    """Scale each objective to [0, 1], best to worst; drop those that never change."""
    finite = _finite(points)
    if not len(finite):
        return None
    low, span = finite.min(axis=0), np.ptp(finite, axis=0)
    open_axes = span > 0
    if not open_axes.any():
        return None
    scaled: Floats = (points[:, open_axes] - low[open_axes]) / span[open_axes]
    return scaled


def _finite(points: Floats) -> Floats:
    return points[np.isfinite(points).all(axis=1)]


def _minimise(trial: Trial, objectives: Sequence[str]) -> list[float]:
    return [
        -trial.value(name) if name == QUALITY else float(trial.total.get(name, np.nan))
        for name in objectives
    ]
