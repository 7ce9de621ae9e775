"""Random search without repetition: the yardstick that a solver has to beat."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from hwflow.plans import ENUMERABLE, distinct_plans
from hwflow.problem import Problem
from hwflow.solvers import Evaluate
from hwflow.space import Plan, Space

_PATIENCE = 10_000
"""Draws in a row without a new plan after which a space counts as exhausted."""


@dataclass(frozen=True)
class Random:
    """Draws plans, each option with equal chance, and asks for each plan once."""

    name: ClassVar[str] = "random"
    endless: ClassVar[bool] = True

    seed: int = 0
    batch: int = 32
    """Plans asked for at a time."""

    def run(self, problem: Problem, evaluate: Evaluate) -> None:
        """Ask for random plans until all have been asked for."""
        plans = shuffled_plans(problem.space, random.Random(self.seed))
        while chunk := list(islice(plans, self.batch)):
            evaluate(chunk)

    def settings(self) -> dict[str, Any]:
        """Return the seed."""
        return {"seed": self.seed}


def shuffled_plans(space: Space, rng: random.Random) -> Iterator[Plan]:
    """Yield the plans of a space in random order, each once."""
    if space.size <= ENUMERABLE:
        plans = list(distinct_plans(space))
        rng.shuffle(plans)
        yield from plans
        return
    seen: set[Plan] = set()
    idle = 0
    while idle < _PATIENCE:
        plan = space.sample(rng)
        idle += 1
        if plan not in seen:
            seen.add(plan)
            idle = 0
            yield plan
