"""Comparing searches on equal terms: the same problem, the same number of evaluations.

    compare(["runs/ddpg-0", "runs/ddpg-1", "runs/random-0"]).contenders

Runs of one solver with different seeds are one contender. A curve gives, after each evaluation
(probes beyond the limits count as any other), the best quality among the plans that keep the
limits, and the hypervolume of the front so far, measured in one box for all runs: from the best to
the worst feasible value that any of them saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from hwflow.cost import Floats
from hwflow.errors import HwflowError
from hwflow.front import Front, Trial
from hwflow.problem import QUALITY
from hwflow.study import Study

SAME = ("limits", "objectives", "machine", "cost", "quality", "workload", "network", "space")
"""Settings that runs must share to be compared."""

POINTS = 50
"""Hypervolumes per curve."""


@dataclass(frozen=True)
class Run:
    """One search: its trials in the order of their evaluation."""

    folder: str
    settings: Mapping[str, Any]
    trials: tuple[Trial, ...]

    @classmethod
    def read(cls, folder: Path | str) -> Run:
        """Read a run folder. Raises StudyError when it holds no study, HwflowError when empty."""
        with Study.read(folder) as study:
            evaluated = [trial for trial in study.trials() if trial.quality is not None]
            if not evaluated:
                raise HwflowError(f"{folder} has no evaluated trial yet. Let the search go on.")
            return cls(str(folder), study.settings, tuple(evaluated))

    @property
    def solver(self) -> str:
        """The solver with the settings that differ from seed to seed left out."""
        return str(self.settings["solver"]["name"])

    @property
    def seed(self) -> int:
        """The solver's seed, else the study's."""
        return int(self.settings["solver"].get("seed", self.settings["seed"]))

    @property
    def identity(self) -> tuple[tuple[str, str], ...]:
        """What makes two runs the same contender: every setting of the solver but the seed."""
        settings = self.settings["solver"]
        return tuple(sorted((k, repr(v)) for k, v in settings.items() if k != "seed"))

    @cached_property
    def best(self) -> Floats:
        """Best feasible quality after each evaluation, NaN before there is one."""
        values = [t.value(QUALITY) if t.feasible else -np.inf for t in self.trials]
        running: Floats = np.maximum.accumulate(np.array(values, np.float64))
        return np.where(np.isinf(running), np.nan, running)


@dataclass(frozen=True)
class Contender:
    """One solver with its settings, over its seeds."""

    name: str
    runs: tuple[Run, ...]

    def quality_at(self, evaluations: int) -> tuple[float, float, float]:
        """Return least, median and largest best quality after so many evaluations, over seeds."""
        values = [_after(run.best, evaluations) for run in self.runs]
        return min(values), float(median(values)), max(values)


@dataclass(frozen=True)
class Comparison:
    """Contenders on one problem."""

    contenders: tuple[Contender, ...]
    objectives: tuple[str, ...]
    limits: Mapping[str, float]
    machine: str
    evaluations: int
    """Evaluations that every run has: what is compared at."""

    def ranking(self) -> list[Contender]:
        """Return the contenders, best median quality at the common number of evaluations first."""
        return sorted(
            self.contenders, key=lambda one: -_number(one.quality_at(self.evaluations)[1])
        )

    @cached_property
    def _box(self) -> tuple[Floats, Floats]:
        """Ideal and worst point of all feasible trials, objectives to be minimised."""
        everything = Front(self._feasible(self._all), self.objectives).points()
        if not len(everything):
            return np.zeros(len(self.objectives)), np.ones(len(self.objectives))
        return everything.min(axis=0), everything.max(axis=0)

    @property
    def _all(self) -> list[Trial]:
        return [t for one in self.contenders for run in one.runs for t in run.trials]

    @staticmethod
    def _feasible(trials: Iterable[Trial]) -> tuple[Trial, ...]:
        return tuple(trial for trial in trials if trial.feasible)

    def hypervolume(self, run: Run, evaluations: int | None = None) -> float:
        """Return the share of the common box that a run's front covers after so many."""
        seen = self._feasible(run.trials[:evaluations])
        if not seen:
            return 0.0
        ideal, worst = self._box
        span = np.where(worst > ideal, worst - ideal, 1.0)
        points = (Front(seen, self.objectives).points() - ideal) / span
        return _volume(points)

    def volumes(self, run: Run) -> list[tuple[int, float]]:
        """Return (evaluations, hypervolume) of a run at evenly spaced evaluations."""
        total = len(run.trials)
        steps = np.unique(np.linspace(1, total, min(POINTS, total)).astype(int))
        return [(int(n), self.hypervolume(run, int(n))) for n in steps]

    def to_json(self) -> dict[str, Any]:
        """Return plain data: per contender the spread at the common budget, and every curve."""
        return {
            "machine": self.machine,
            "limits": dict(self.limits),
            "objectives": list(self.objectives),
            "evaluations": self.evaluations,
            "contenders": [self._plain(one) for one in self.ranking()],
        }

    def _plain(self, one: Contender) -> dict[str, Any]:
        low, middle, high = one.quality_at(self.evaluations)
        volumes = [self.hypervolume(run, self.evaluations) for run in one.runs]
        return {
            "name": one.name,
            "seeds": [run.seed for run in one.runs],
            "quality": {"least": low, "median": middle, "largest": high},
            "hypervolume": {"median": float(median(volumes)), "runs": volumes},
            "runs": [
                {
                    "folder": run.folder, "seed": run.seed, "best": run.best.tolist(),
                    "hypervolumes": self.volumes(run),
                }
                for run in one.runs
            ],
        }  # fmt: skip


def compare(folders: Sequence[Path | str]) -> Comparison:
    """Compare runs. Raises HwflowError, naming the difference, unless they share one problem."""
    if not folders:
        raise HwflowError("Name the run folders to compare.")
    runs = [Run.read(folder) for folder in folders]
    for run in runs[1:]:
        _check_same(runs[0], run)
    settings = runs[0].settings
    return Comparison(
        contenders=_grouped(runs),
        objectives=tuple(settings["objectives"]),
        limits=settings["limits"],
        machine=settings["machine"]["name"],
        evaluations=min(len(run.trials) for run in runs),
    )


def _check_same(first: Run, other: Run) -> None:
    for key in SAME:
        if first.settings.get(key) != other.settings.get(key):
            raise HwflowError(
                f"{first.folder} and {other.folder} differ in their {key}: searches are compared "
                "on one problem only. Name runs with the same network, space, machine, cost "
                "model, quality and limits."
            )


def _grouped(runs: Sequence[Run]) -> tuple[Contender, ...]:
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(run.identity, []).append(run)
    solvers = [members[0].solver for members in groups.values()]
    return tuple(
        Contender(_name(members[0], groups, solvers), tuple(sorted(members, key=lambda r: r.seed)))
        for members in groups.values()
    )


def _name(
    run: Run, groups: Mapping[tuple[tuple[str, str], ...], Sequence[Run]], solvers: Sequence[str]
) -> str:
    """Return the solver's name, with the settings that tell it from others of that name."""
    if solvers.count(run.solver) == 1:
        return run.solver
    alike = [set(key) for key, members in groups.items() if members[0].solver == run.solver]
    own = sorted(set(run.identity) - alike[0].intersection(*alike[1:]))
    return f"{run.solver} ({', '.join(f'{key} {value}' for key, value in own)})"


def _after(best: Floats, evaluations: int) -> float:
    return float(best[min(evaluations, len(best)) - 1])


def _number(value: float) -> float:
    return float("-inf") if np.isnan(value) else value


def _volume(points: Floats) -> float:
    """Return the hypervolume of points in the unit box, measured from its worst corner."""
    from pymoo.indicators.hv import HV

    return float(HV(ref_point=np.ones(points.shape[1]))(points))
