"""What is compared: contenders, their curves over seeds, and the figures at equal evaluations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from statistics import median, median_low
from typing import Any, NamedTuple

import numpy as np

from hwflow.compare.run import Run
from hwflow.compare.words import notes, verdict
from hwflow.cost import Floats
from hwflow.front import Front, Trial, volume

POINTS = 50
"""Hypervolumes per curve."""

YARDSTICK = "random"
"""The solver whose final quality the others are timed to."""


class Spread(NamedTuple):
    """A figure over seeds; a quality is -inf where no plan within the limits was found."""

    least: float
    median: float
    largest: float


class Curve(NamedTuple):
    """A figure against evaluations, over seeds; arrays of one length."""

    evaluations: Sequence[int]
    least: Floats
    median: Floats
    largest: Floats


@dataclass(frozen=True)
class Contender:
    """One solver with its settings, over its seeds."""

    name: str
    runs: tuple[Run, ...]

    @property
    def shortest(self) -> int:
        """The evaluations that every one of its runs has made."""
        return min(len(run.trials) for run in self.runs)

    @property
    def longest(self) -> int:
        """The evaluations of its longest run."""
        return max(len(run.trials) for run in self.runs)

    def quality_at(self, evaluations: int) -> Spread:
        """Return the best feasible quality after so many evaluations, over seeds."""
        return _spread([float(run.best_over(evaluations)[-1]) for run in self.runs])

    def curve(self, evaluations: int) -> Curve:
        """Return the best feasible quality after each evaluation, to the end of its longest run."""
        stop = min(evaluations, self.longest)
        return _curve(range(1, stop + 1), [run.best_over(stop) for run in self.runs])


@dataclass(frozen=True)
class Row:
    """A contender's figures at the evaluations that are compared at."""

    name: str
    seeds: tuple[int, ...]
    quality: Spread
    volumes: tuple[float, ...]
    """Hypervolume of each run."""
    reached: float | None
    """Median of the evaluations that its runs took to the yardstick's final quality; infinite
    where the median run did not reach it, None without a yardstick."""
    cpu_seconds: float
    """CPU time of evaluation, median over runs."""

    @property
    def volume(self) -> float:
        """Median hypervolume."""
        return float(median(self.volumes))


@dataclass(frozen=True)
class Comparison:
    """Contenders on one problem."""

    contenders: tuple[Contender, ...]
    objectives: tuple[str, ...]
    limits: Mapping[str, float]
    machine: str
    level: str
    """The cost model that all are held against."""
    evaluations: int
    """What is compared at: the evaluations that every run has, unless others were asked for."""
    quality: str = "accuracy"
    """Name of the task's metric."""
    recosted: bool = False
    """Whether plans were costed again, at `level`."""

    def ranking(self) -> list[Contender]:
        """Return the contenders, best median quality at the common number of evaluations first."""
        return sorted(self.contenders, key=lambda one: -one.quality_at(self.evaluations).median)

    @cached_property
    def rows(self) -> list[Row]:
        """The figures of every contender, best first."""
        return [self._row(one) for one in self.ranking()]

    @cached_property
    def target(self) -> float | None:
        """The yardstick's final quality, that of its median run.

        Of an even number of runs it is the lower of the two in the middle, which a run did reach.
        None where the yardstick was not run, or found nothing within the limits.
        """
        for one in self.contenders:
            if all(run.solver == YARDSTICK for run in one.runs):
                found = median_low(float(r.best_over(self.evaluations)[-1]) for r in one.runs)
                return found if isfinite(found) else None
        return None

    def _row(self, one: Contender) -> Row:
        spent = [sum(t.seconds for t in run.trials[: self.evaluations]) for run in one.runs]
        return Row(
            name=one.name,
            seeds=tuple(run.seed for run in one.runs),
            quality=one.quality_at(self.evaluations),
            volumes=tuple(self.hypervolume(run, self.evaluations) for run in one.runs),
            reached=self._reached(one),
            cpu_seconds=float(median(spent)),
        )

    def _reached(self, one: Contender) -> float | None:
        if self.target is None:
            return None
        found = []
        for run in one.runs:
            there = np.flatnonzero(run.best_over(self.evaluations) >= self.target)
            found.append(float(there[0] + 1) if len(there) else float("inf"))
        return float(median(found))

    @cached_property
    def _box(self) -> tuple[Floats, Floats]:
        """Ideal and worst point of all feasible trials, objectives to be minimised."""
        everything = Front(_feasible(self._all), self.objectives).points()
        if not len(everything):
            return np.zeros(len(self.objectives)), np.ones(len(self.objectives))
        return everything.min(axis=0), everything.max(axis=0)

    @cached_property
    def is_share(self) -> bool:
        """Whether the quality is a share of 1, to be written in percent."""
        return all(0 <= t.quality <= 1 for t in self._all if t.quality is not None)

    @property
    def _all(self) -> list[Trial]:
        return [t for one in self.contenders for run in one.runs for t in run.trials]

    def hypervolume(self, run: Run, evaluations: int | None = None) -> float:
        """Return the share of the common box that a run's front covers after so many."""
        seen = _feasible(run.trials[:evaluations])
        if not seen:
            return 0.0
        ideal, worst = self._box
        span = np.where(worst > ideal, worst - ideal, 1.0)
        points = (Front(seen, self.objectives).points() - ideal) / span
        return volume(points)

    def volumes(self, run: Run) -> list[tuple[int, float]]:
        """Return (evaluations, hypervolume) of a run at evenly spaced evaluations."""
        steps = _steps(len(run.trials))
        return [(n, self.hypervolume(run, n)) for n in steps]

    def volume_curve(self, one: Contender) -> Curve:
        """Return a contender's hypervolume over its seeds at evenly spaced evaluations."""
        steps = _steps(min(self.evaluations, one.longest))
        rows = [np.array([self.hypervolume(run, n) for n in steps]) for run in one.runs]
        return _curve(steps, rows)

    def to_json(self) -> dict[str, Any]:
        """Return plain data: per contender the spread at the common budget, and every curve."""
        return {
            "machine": self.machine,
            "level": self.level,
            "limits": dict(self.limits),
            "objectives": list(self.objectives),
            "evaluations": self.evaluations,
            "recosted": self.recosted,
            "verdict": verdict(self),
            "notes": notes(self),
            "contenders": [
                self._plain(one, row) for one, row in zip(self.ranking(), self.rows, strict=True)
            ],
        }

    def _plain(self, one: Contender, row: Row) -> dict[str, Any]:
        return {
            "name": one.name,
            "seeds": list(row.seeds),
            "quality": row.quality._asdict(),
            "hypervolume": {"median": row.volume, "runs": list(row.volumes)},
            "evaluations_to_random": row.reached,
            "cpu_seconds": row.cpu_seconds,
            "runs": [
                {
                    "folder": run.folder, "seed": run.seed, "best": run.best.tolist(),
                    "hypervolumes": self.volumes(run),
                }
                for run in one.runs
            ],
        }  # fmt: skip


def _feasible(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    return tuple(trial for trial in trials if trial.feasible)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(min(values), float(median(values)), max(values))


def _curve(evaluations: Sequence[int], rows: Sequence[Floats]) -> Curve:
    """Return the spread over runs, column by column; -inf only where the median is."""
    table = [_spread([float(row[column]) for row in rows]) for column in range(len(evaluations))]
    return Curve(evaluations, *(np.array(values) for values in zip(*table, strict=True)))


def _steps(total: int) -> list[int]:
    return [int(n) for n in np.unique(np.linspace(1, total, min(POINTS, total)).astype(int))]
