"""Greedy descent: always the step that loses least quality for what it saves.

It starts at the default plan and makes one choice leaner at a time: the one with the best ratio of
quality lost to cost saved; of those that lose nothing, the one that saves most. Ratios are looked
up lazily: those measured at an earlier plan wait in a queue, and only the best of them is measured
anew; when it is still the best, the step is made. Cost is the worst excess over the limits until
they are met, then the mean of the cost objectives. Plans beyond the limits are probed, so they
count in the budget as any other.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any, ClassVar

from hwflow.front import Trial
from hwflow.problem import Problem
from hwflow.reach import excess
from hwflow.solvers import Evaluate
from hwflow.solvers.steps import steps_of, swapped
from hwflow.space import Plan

SAVING = 1e-9
"""Least share of the cost that counts as saved."""

AIDING = 0.01
"""Weight of the mean of all metrics: a step may save nothing but together with another, such as
fewer weight bits on an engine that waits for the wider operand."""


@dataclass(frozen=True)
class Greedy:
    """Makes the network leaner step by step. `seed` is not used; every solver takes one."""

    name: ClassVar[str] = "greedy"
    endless: ClassVar[bool] = False

    seed: int = 0

    def run(self, problem: Problem, evaluate: Evaluate) -> None:
        """Ask for plans ever leaner, until no step saves anything."""
        descent = _Descent(problem, evaluate)
        while descent.advance():
            pass

    def settings(self) -> dict[str, Any]:
        """Nothing but the problem decides what it asks for."""
        return {}


@dataclass(frozen=True, order=True)
class _Move:
    """A leaner option for one step, with what was measured when the plan was `age`."""

    ratio: float
    """Quality lost for what is saved; 0 where none is lost."""
    kept: float
    """Minus what is saved: of equal ratios the larger saving goes first."""
    number: int
    age: int
    plan: Plan


class _Descent:
    """The current plan and the queue of moves."""

    def __init__(self, problem: Problem, evaluate: Evaluate) -> None:
        self._problem = problem
        self._evaluate = evaluate
        self._steps = steps_of(problem)
        self._age = 0
        self._at = evaluate.probe([problem.space.default])[0]
        self._queue = [
            move for number in range(len(self._steps)) if (move := self._measured(number))
        ]
        heapq.heapify(self._queue)

    def advance(self) -> bool:
        """Make the best step; tell whether there was one."""
        while self._queue:
            best = heapq.heappop(self._queue)
            if best.age == self._age:
                self._take(best)
                return True
            renewed = self._measured(best.number)
            if renewed:
                heapq.heappush(self._queue, renewed)
        return False

    def _take(self, move: _Move) -> None:
        self._at = self._evaluate.probe([move.plan])[0]
        self._age += 1
        following = self._measured(move.number)
        if following:
            heapq.heappush(self._queue, following)

    def _measured(self, number: int) -> _Move | None:
        """Measure the nearest leaner option of a step that saves something."""
        step = self._steps[number]
        before = self._cost(self._at.plan)
        for rank in reversed(range(step.order.index(self._at.plan[step.place]))):
            plan = swapped(self._problem.space, self._at.plan, step.place, step.option(rank))
            saved = before - self._cost(plan)
            if saved > SAVING:
                ratio = max(self._lost(plan), 0.0) / saved
                return _Move(ratio, -saved, number, self._age, plan)
        return None

    def _lost(self, plan: Plan) -> float:
        return _quality(self._at) - _quality(self._evaluate.probe([plan])[0])

    def _cost(self, plan: Plan) -> float:
        """Return what is to fall: the worst excess or the objectives, with a little of all else."""
        totals = self._problem.totals([plan, self._problem.space.default])
        shares = {n: float(v[0] / v[1]) for n, v in totals.items() if v[1] > 0}
        rest = AIDING * sum(shares.values()) / max(1, len(shares))
        if self._problem.below.items() and self._at.infeasible:
            return float(excess(self._problem, totals)[0]) + rest
        wanted = [shares[name] for name in self._problem.cost_names if name in shares]
        return (sum(wanted) / len(wanted) if wanted else 0.0) + rest


def _quality(trial: Trial) -> float:
    return float("-inf") if trial.quality is None else trial.quality
