"""One search as it is compared: its evaluated trials in order, costed anew where asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hwflow.cost import Floats
from hwflow.errors import HwflowError
from hwflow.front import Trial
from hwflow.problem import QUALITY, Problem
from hwflow.space import Plan
from hwflow.study import Study


@dataclass(frozen=True)
class Run:
    """One search: its trials in the order of their evaluation."""

    folder: str
    settings: Mapping[str, Any]
    trials: tuple[Trial, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What its first session said of itself."""

    @classmethod
    def read(cls, folder: Path | str) -> Run:
        """Read a run folder. Raises StudyError when it holds no study, HwflowError when empty."""
        with Study.read(folder) as study:
            evaluated = [trial for trial in study.trials() if trial.quality is not None]
            if not evaluated:
                raise HwflowError(f"{folder} has no evaluated trial yet. Let the search go on.")
            return cls(str(folder), study.settings, tuple(evaluated), study.provenance)

    @property
    def solver(self) -> str:
        """The solver's name."""
        return str(self.settings["solver"]["name"])

    @property
    def seed(self) -> int:
        """The solver's seed, else the study's."""
        return int(self.settings["solver"].get("seed", self.settings["seed"]))

    @property
    def seeded(self) -> bool:
        """Whether another seed could give the solver another course."""
        return "seed" in self.settings["solver"]

    @cached_property
    def best(self) -> Floats:
        """Best feasible quality after each evaluation, NaN before there is one."""
        values = [t.value(QUALITY) if t.feasible else -np.inf for t in self.trials]
        running: Floats = np.maximum.accumulate(np.array(values, np.float64))
        return np.where(np.isinf(running), np.nan, running)

    def best_over(self, evaluations: int) -> Floats:
        """Return the best feasible quality after each of so many evaluations, -inf before one.

        A run that ended earlier keeps its last value.
        """
        known = np.where(np.isnan(self.best), -np.inf, self.best)[:evaluations]
        held: Floats = np.pad(known, (0, evaluations - len(known)), mode="edge")
        return held


def recosted(runs: Sequence[Run], problem: Problem) -> list[Run]:
    """Cost every evaluated plan as `problem` does, and hold it against the limits of `problem`.

    Raises HwflowError where a run searched other choices, another network or another machine.
    """
    for run in runs:
        _check_problem(run, problem)
    plans = list(dict.fromkeys(trial.plan for run in runs for trial in run.trials))
    table = {name: values.tolist() for name, values in problem.totals(plans).items()}
    rows = zip(*table.values(), strict=True)
    totals = {p: dict(zip(table, row, strict=True)) for p, row in zip(plans, rows, strict=True)}
    return [_recosted(run, totals, problem) for run in runs]


def _recosted(run: Run, totals: Mapping[Plan, Mapping[str, float]], problem: Problem) -> Run:
    trials = (
        replace(t, total=totals[t.plan], infeasible=tuple(problem.below.broken(totals[t.plan])))
        for t in run.trials
    )
    return replace(run, trials=tuple(trials))


def _check_problem(run: Run, problem: Problem) -> None:
    given = {
        "choices": (run.settings["space"], json.loads(json.dumps(problem.space.describe()))),
        "network's layers": (run.settings["workload"], problem.space.workload.digest()),
        "machine": (run.settings["machine"]["digest"], problem.machine.digest()),
    }
    for what, (own, wanted) in given.items():
        if own != wanted:
            raise HwflowError(
                f"{run.folder} cannot be costed again: the problem that was given differs from it "
                f"in the {what}. Give the same network, edits and machine; only the level, the "
                "limits and the objectives may be others."
            )
