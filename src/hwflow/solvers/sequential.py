"""The best plan within limits where what each option loses is known: nothing is evaluated.

    plan = best_plan(problem, Saliency(problem.space).losses)

Losses add up over the choices; costs do not, as a layer's cost hangs on several of them (after a
concatenation on dozens, so that no table of them can be filled). So costs are linearised: the true
cost of a plan and of every single change of it. The integer program of these sums
(:mod:`hwflow.solvers.program`) answers with another plan, around which costs are linearised again,
until an answer repeats. Where answers go round in a circle beyond a limit, the limit is lowered by
the error that was seen. A plan that is returned meets the limits by its true cost; that it is the
best is not proven.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hwflow.cost import Floats
from hwflow.errors import HwflowError
from hwflow.problem import Problem
from hwflow.reach import excess, feasible_plan
from hwflow.solvers.losses import Losses, expected
from hwflow.solvers.program import OneOfEach
from hwflow.solvers.program_model import Effort
from hwflow.solvers.steps import swapped
from hwflow.space import Plan

EFFORT = Effort(gap=1e-4, nodes=500)

ROUNDS = 20
"""Linearisations, each of which costs every single change of a plan."""

PATIENCE = 3
"""Rounds without a better plan after which it is enough."""

MENDS = 60
"""Single changes that make an answer beyond the limits leaner."""

SAVING = 1e-9


def best_plan(problem: Problem, losses: Losses, rounds: int = ROUNDS) -> Plan:
    """Return the plan of least summed losses within the limits that was found.

    Raises InfeasibleError when no plan meets the limits, with the nearest that can be had.
    """
    search = _Search(problem, losses)
    for _ in range(rounds):
        if search.idle == PATIENCE or not search.advance():
            break
    search.mend()
    return search.best


class _Search:
    """The plan that costs are linearised around, and the best plan so far."""

    def __init__(self, problem: Problem, losses: Losses) -> None:
        self.best = feasible_plan(problem)
        self.idle = 0
        """Rounds since the best plan was found; 0 while none was."""
        self._problem, self._losses = problem, losses
        self._limits = dict(problem.below.items())
        self._budgets = self._limits
        self._at = problem.space.default
        self._seen: set[Plan] = set()
        self._found = self.best == self._at
        self._near: Plan | None = None
        """The answer beyond the limits that exceeds them least, by `_nearest`."""
        self._nearest = float("inf")

    def advance(self) -> bool:
        """Go to the next answer; tell whether it is a new plan."""
        plan, expected = self._answer()
        true = self._problem.total(plan)
        self._keep(plan, true)
        error = {name: max(0.0, true[name] - expected[name]) for name in self._limits}
        again = plan in self._seen
        self._budgets = {n: v - error[n] if again else v for n, v in self._limits.items()}
        self._seen.add(plan)
        moved, self._at = plan != self._at, plan
        return moved

    def mend(self) -> None:
        """Make the nearest answer beyond the limits leaner until it keeps them, if it is better.

        On staircases of cost all answers may lie a little beyond a limit. Each step is the single
        change that loses least for what it takes off the worst excess.
        """
        plan = self._near
        for _ in range(MENDS if plan is not None else 0):
            assert plan is not None  # for mypy: the loop is empty otherwise
            moves = _changes(self._problem, plan)
            plans = [swapped(self._problem.space, plan, *move) for move in moves]
            totals = self._problem.totals([plan, *plans])
            over = excess(self._problem, totals)
            if over[0] <= 0:
                self._keep(plan, {name: float(values[0]) for name, values in totals.items()})
                return
            lost = [self._losses[p][o] - self._losses[p][plan[p]] for p, o in moves]
            saved = over[0] - over[1:]
            ratios = np.where(saved > SAVING, np.array(lost) / np.maximum(saved, SAVING), np.inf)
            if not np.isfinite(ratios.min(initial=np.inf)):
                return
            plan = plans[int(np.argmin(ratios))]

    def _keep(self, plan: Plan, true: Mapping[str, float]) -> None:
        better = not self._found or self._loss(plan) < self._loss(self.best)
        if better and not self._problem.below.broken(true):
            self.best, self._found, self.idle = plan, True, 0
        else:
            self.idle += self._found
            over = self._problem.below.excess(true)
            if better and over < self._nearest:
                self._near, self._nearest = plan, over

    def _answer(self) -> tuple[Plan, Mapping[str, float]]:
        """Return the program's answer, or the plan of least cost, with its costs as expected."""
        program = around(self._problem, self._losses, self._at)
        try:
            answer = program.within(**self._budgets).solve(EFFORT)
        except HwflowError:  # out of reach here, or nothing found within the effort
            answer = _leanest(program).solve(EFFORT)
        return self._problem.space.canonical(answer.options), answer.costs

    def _loss(self, plan: Plan) -> float:
        return expected(self._losses, plan)


def around(
    problem: Problem, losses: Losses, plan: Plan, sites: Sequence[int] | None = None
) -> OneOfEach:
    """Return the program whose costs are those of a plan and what each single change adds.

    It chooses at `sites`, places of a plan that hold all choices of more than one option; at all
    places by default.
    """
    choices = problem.space.choices
    places = list(range(len(choices)) if sites is None else sites)
    changes = _changes(problem, plan)
    plans = [swapped(problem.space, plan, place, option) for place, option in changes]
    totals = problem.totals([plan, *plans])
    limits = dict(problem.below.items())
    costs: dict[str, list[Floats]] = {}
    for name in limits:
        tables = {place: np.zeros(len(choices[place].options)) for place in places}
        base, *values = totals[name].tolist()
        tables[places[0]] += base
        for (place, option), value in zip(changes, values, strict=True):
            tables[place][option] += value - base
        costs[name] = list(tables.values())
    return OneOfEach([np.array(losses[place]) for place in places], costs, limits)


def _changes(problem: Problem, plan: Plan) -> list[tuple[int, int]]:
    """Return every other option of every choice, as (place, option)."""
    options = [range(len(choice.options)) for choice in problem.space.choices]
    return [(i, o) for i, row in enumerate(options) for o in row if o != plan[i]]


def _leanest(program: OneOfEach) -> OneOfEach:
    """Return the program for the least cost, that of several limits added up as shares of them."""
    scores = [np.zeros(len(table)) for table in program.scores]
    for name, tables in program.costs.items():
        for score, table in zip(scores, tables, strict=True):
            score += np.asarray(table) / program.budgets[name]
    return OneOfEach(scores, program.costs)
