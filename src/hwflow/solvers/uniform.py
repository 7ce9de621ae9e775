"""The same option everywhere: what one does without a search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from hwflow.problem import Problem
from hwflow.solvers import Evaluate
from hwflow.solvers.steps import Step, steps_of
from hwflow.space import Plan


@dataclass(frozen=True)
class Uniform:
    """Asks for the plans that take the same share of every choice's options, richest first.

    `seed` is not used; every solver takes one.
    """

    name: ClassVar[str] = "uniform"
    endless: ClassVar[bool] = False

    seed: int = 0

    def run(self, problem: Problem, evaluate: Evaluate) -> None:
        """Ask for every uniform plan, one after the other."""
        for plan in dict.fromkeys(_ladder(problem)):
            evaluate([plan])

    def settings(self) -> dict[str, Any]:
        """Nothing but the space decides what it asks for."""
        return {}


def _ladder(problem: Problem) -> Iterator[Plan]:
    """Yield uniform plans from rich to lean; choices with fewer options change less often."""
    steps, space = steps_of(problem), problem.space
    finest = max((step.options for step in steps), default=1)
    for rank in reversed(range(finest)):
        share = rank / max(1, finest - 1)
        yield space.canonical(_filled(space.default, steps, share))


def _filled(plan: Plan, steps: tuple[Step, ...], share: float) -> Plan:
    filled = list(plan)
    for step in steps:
        filled[step.place] = step.option(round(share * (step.options - 1)))
    return tuple(filled)
