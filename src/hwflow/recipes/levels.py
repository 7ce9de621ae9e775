"""Levels one after the other: what recipes that refine a search from level to level share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from hwflow.cost import CostModel
from hwflow.costs.coarse import Coarse
from hwflow.costs.fine import Fine
from hwflow.costs.fine.cache import user_file
from hwflow.costs.mid import Mid
from hwflow.front import Front, Trial
from hwflow.problem import QUALITY, Problem
from hwflow.solvers.steps import steps_of
from hwflow.space import Plan
from hwflow.study import Study

LEVELS: Mapping[str, Callable[[], CostModel]] = {
    "coarse": Coarse, "mid": Mid, "fine": lambda: Fine(cache=user_file()),
}  # fmt: skip

HALVINGS = 10
"""Bisections for the share by which a plan is made leaner."""


@dataclass(frozen=True)
class Stage:
    """One level's search."""

    level: str
    problem: Problem
    front: Front
    folder: Path

    @property
    def best(self) -> Trial:
        """The most accurate plan within the level's limits."""
        return self.front.pick("most accurate")

    def ranked(self) -> list[Trial]:
        """Return the trials within the level's limits, best first, of equals the earlier ones."""
        with Study.read(self.folder) as study:
            feasible = [trial for trial in study.trials() if trial.feasible]
        return sorted(feasible, key=lambda trial: -trial.value(QUALITY))


@dataclass(frozen=True)
class Stages:
    """The levels in their order."""

    stages: tuple[Stage, ...]

    @property
    def problem(self) -> Problem:
        """The problem of the last level."""
        return self.stages[-1].problem

    @property
    def steps(self) -> tuple[tuple[Stage, Stage], ...]:
        """Each level with the one after it."""
        return tuple(pairwise(self.stages))


def budgets(evaluations: int, levels: Sequence[str], shares: Mapping[str, float]) -> dict[str, int]:
    """Return how the evaluations are divided among levels, 2 or more for each."""
    whole = sum(shares[level] for level in levels)
    return {level: max(2, round(evaluations * shares[level] / whole)) for level in levels}


def eased(problem: Problem, plan: Plan) -> Plan:
    """Return the plan with every choice leaner by the same share, as little as the limits ask."""
    steps = steps_of(problem)
    ranks = [step.order.index(plan[step.place]) for step in steps]

    def leaner(share: float) -> Plan:
        found = list(plan)
        for step, rank in zip(steps, ranks, strict=True):
            found[step.place] = step.option(round(rank * share))
        return problem.space.canonical(found)

    def kept(share: float) -> bool:
        return not problem.below.broken(problem.total(leaner(share)))

    low, high = 0.0, 1.0
    if kept(high):
        return plan
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) else (low, middle)
    return leaner(low)
