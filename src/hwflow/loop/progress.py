"""How a search stands: what a progress bar shows. The library itself never prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwflow.front import Front, Trial, covered
from hwflow.problem import QUALITY


@dataclass(frozen=True, slots=True)
class Progress:
    """How a search stands after a trial."""

    evaluated: int
    """Plans whose quality is known, earlier sessions included."""
    budget: int | None
    """How many there may be; None where time or the space sets the end."""
    infeasible: int
    """Plans found to be beyond the limits; they cost no evaluation."""
    best: float | None
    """Highest quality so far."""
    hypervolume: float
    """Share of the box between the ideal and the worst trial that the front covers."""
    elapsed: float
    """Seconds of searching, earlier sessions included."""
    seconds_left: float | None
    """Estimate; None while nothing is known of it."""
    stopped: str = ""
    """Why the search ended; empty while it runs."""


class Standing:
    """The front of the trials so far, kept up to date one trial at a time."""

    def __init__(self, objectives: Sequence[str], trials: Sequence[Trial]) -> None:
        front = Front.of(trials, objectives)
        self._objectives = tuple(objectives)
        self._points = front.points()
        self._worst = np.array([front.reference.get(name, -np.inf) for name in objectives])
        self._volume: float | None = None
        """None where it must be computed again."""
        self.best: float | None = max(
            (trial.value(QUALITY) for trial in trials if trial.feasible), default=None
        )

    def add(self, trial: Trial) -> None:
        """Take in a trial; those beyond the limits change nothing."""
        if not trial.feasible:
            return
        quality = trial.value(QUALITY)
        self.best = quality if self.best is None else max(self.best, quality)
        point = Front((trial,), self._objectives).points()
        if (point[0] > self._worst).any():
            self._worst = np.maximum(self._worst, point[0])
            self._volume = None
        if not (self._points <= point).all(axis=1).any():
            kept = self._points[~(self._points >= point).all(axis=1)]
            self._points = np.concatenate([kept, point])
            self._volume = None

    def hypervolume(self) -> float:
        """Return the hypervolume of the front so far, measured from the worst trial so far."""
        if self._volume is None:
            self._volume = covered(self._points, self._worst) if len(self._points) else 0.0
        return self._volume
