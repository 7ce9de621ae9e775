"""Solvers: what decides which plans to try next. Each knows the problem and one door.

A solver gets the :class:`~hwflow.problem.Problem` and `evaluate`, which takes plans and returns
their trials in the same order. `evaluate` checks limits first (a trial beyond them has no quality),
evaluates nothing twice, and ends the run when the budget is spent. Where a solver must know more,
such as how sensitive the original network is, `evaluate.probe` evaluates plans beyond the limits
too; they count in the budget and never reach the front. A solver that is a function of
its settings and the trials it was given can be resumed: it runs again from the start and is given
the journaled trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from hwflow.front import Trial
from hwflow.problem import Problem
from hwflow.space import Plan


class Evaluate(Protocol):
    """The door to expensive work."""

    def __call__(self, plans: Sequence[Plan]) -> list[Trial]:
        """Return the trials of plans, in their order; those beyond the limits have no quality."""
        ...

    def probe(self, plans: Sequence[Plan]) -> list[Trial]:
        """Return the trials of plans, each with its quality, whatever it costs."""
        ...


class Solver(Protocol):
    """Searches a problem by asking for plans to be evaluated."""

    @property
    def name(self) -> str:
        """Its name in the study and on the command line, such as "nsga2"."""
        ...

    @property
    def endless(self) -> bool:
        """Whether it goes on until every plan was asked for, so that it needs a budget."""
        ...

    def run(self, problem: Problem, evaluate: Evaluate) -> None:
        """Ask for plans, through `evaluate`, which ends the run when the budget is spent."""
        ...

    def settings(self) -> dict[str, Any]:
        """Return the settings that decide what it asks for, as plain data for the study."""
        ...
