"""The wall: which options still let the rest of the network meet the limits.

An option is allowed when the plan of what is decided, this option, and the leanest option at every
later step meets all limits (AMC, ECCV 2018, for operations; here any metric of any level). The
richest allowed option is found by bisection, as cost falls with the rank; what the bisection finds
is costed itself, so that a staircase cannot let a plan slip through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hwflow.problem import Problem
from hwflow.reach import leanest_plan
from hwflow.solvers.steps import Step, swapped
from hwflow.space import Plan

Repair = Literal["wall", "backwards", "ratio", "none"]
"""wall: clip every action; backwards: lower from the last step on when the walk is over (HAQ);
ratio: lower then what saves most for what it loses (:mod:`hwflow.solvers.ddpg.ratio`)."""


class Wall:
    """Keeps plans below the limits of a problem, while they are made or afterwards."""

    def __init__(self, problem: Problem, steps: Sequence[Step]) -> None:
        self._problem = problem
        self._steps = steps
        self._bounded = bool(problem.below.items())
        self._leanest = self._lean() if self._bounded else problem.space.default
        self._known: dict[Plan, bool] = {}

    def _lean(self) -> Plan:
        """Return the leanest plan, with the leanest options where it leaves a choice inactive.

        Such a choice stands at its default there; a plan in which it is active may have less.
        """
        found = leanest_plan(self._problem)
        lean = list(found)
        for step in self._steps:
            if not self._problem.space.active(step.place, found):
                lean[step.place] = step.option(0)
        return tuple(lean)

    def clip(self, plan: Plan, number: int, wanted: int) -> int:
        """Return the richest allowed rank up to `wanted` at a step; 0 where none is.

        `plan` holds what was decided at the steps before `number`.
        """
        if not self._bounded or self._allows(plan, number, wanted):
            return wanted
        low, high = 0, wanted  # high is not allowed; low is the leanest, or allowed
        while high - low > 1:
            middle = (low + high) // 2
            if self._allows(plan, number, middle):
                low = middle
            else:
                high = middle
        return low

    def _allows(self, plan: Plan, number: int, rank: int) -> bool:
        step = self._steps[number]
        rest = list(plan)
        rest[step.place] = step.option(rank)
        for later in self._steps[number + 1 :]:
            rest[later.place] = self._leanest[later.place]
        return self.meets(self._problem.space.canonical(rest))

    def lower(self, plan: Plan) -> Plan:
        """Lower options by one rank at a time, from the last step backwards, until limits are met.

        HAQ's way: round after round over all steps that cost anything; a plan that cannot be
        lowered any more is returned as it is.
        """
        space = self._problem.space
        lowered = True
        while lowered and not self.meets(plan):
            lowered = False
            for step in reversed(self._steps):
                rank = step.order.index(plan[step.place])
                if rank == 0 or step.free:
                    continue
                plan = swapped(space, plan, step.place, step.option(rank - 1))
                lowered = True
                if self.meets(plan):
                    break
        return plan

    def meets(self, plan: Plan) -> bool:
        """Tell whether a plan meets all limits."""
        if not self._bounded:
            return True
        if plan not in self._known:
            self._known[plan] = not self._problem.below.broken(self._problem.total(plan))
        return self._known[plan]
