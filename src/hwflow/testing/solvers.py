"""What a solver owes: valid plans, an end at the budget, and the same plans for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hwflow.cost import CostModel
from hwflow.errors import HwflowError
from hwflow.front import Trial
from hwflow.problem import Problem
from hwflow.solvers import Solver
from hwflow.space import Plan, Space
from hwflow.testing.check import CheckError, require
from hwflow.testing.toy import toy_problem


def check_solver(
    make: Callable[[int], Solver], *, evaluations: int = 40, cost: CostModel | None = None
) -> None:
    """Check a solver on a toy problem: the bits of four layers, 256 plans.

    `make(seed)` returns the solver. `cost` is the cost model, Coarse by default.

    - It has a name and settings of plain data, and asks for valid plans only.
    - It lets the end of the budget through: nothing is asked for after it.
    - It uses the budget: it does not end before, with plans left that were never asked for.
    - With one seed it asks for the same plans; resumed, too.

    Raises CheckError.
    """
    first = _asked(make(0), evaluations, cost)
    distinct = len(set(first))
    require(
        distinct >= evaluations,
        f"The solver ended after {distinct} different plans; the budget was {evaluations} and the "
        f"space has {toy_problem(cost).space.size}.",
    )
    require(
        _asked(make(0), evaluations, cost) == first,
        "Two runs with one seed ask for different plans: take all randomness from the seed.",
    )
    longer = _asked(make(0), evaluations * 2, cost)
    require(
        longer[: len(first)] == first,
        "With a larger budget the solver asks for other plans from the start: a stopped run could "
        "not be resumed.",
    )


class _SpentError(BaseException):
    """The budget is spent; no Exception, so that no solver swallows it."""


class _Door:
    """An `evaluate` that checks what comes through it."""

    def __init__(self, problem: Problem, evaluations: int) -> None:
        self.problem, self.left = problem, evaluations
        self.asked: list[Plan] = []
        self.trials: dict[Plan, Trial] = {}

    def __call__(self, plans: Sequence[Plan]) -> list[Trial]:
        require(self.left > 0, "The solver went on after `evaluate` had ended the run.")
        wanted = [self._canonical(plan) for plan in plans]
        totals = self.problem.costs(wanted)
        for plan, cost in zip(wanted, totals, strict=True):
            if self.left <= 0:
                break
            self.left -= plan not in self.trials
            self.asked.append(plan)
            quality = _toy_quality(self.problem.space, plan)
            trial = Trial(len(self.trials), plan, cost.total, quality)
            self.trials.setdefault(plan, trial)
        if self.left <= 0:
            raise _SpentError
        return [self.trials[plan] for plan in wanted]

    def probe(self, plans: Sequence[Plan]) -> list[Trial]:
        """Return the trials: the toy problem has no limits to look beyond."""
        return self(plans)

    def _canonical(self, plan: Plan) -> Plan:
        try:
            return self.problem.space.canonical(plan)
        except HwflowError as error:
            raise CheckError(
                f"The solver asks for a plan that is not of the space: {error}"
            ) from error


def _asked(solver: Solver, evaluations: int, cost: CostModel | None) -> list[Plan]:
    """Return the plans a solver asks for, in order, until the budget is spent."""
    require(isinstance(solver.name, str) and bool(solver.name), "`name` must be a name.")
    plain = (str, int, float, bool, type(None), list, tuple, dict)
    sound = all(isinstance(value, plain) for value in solver.settings().values())
    require(sound, f"`settings` must be plain data, not {solver.settings()!r}.")
    problem = toy_problem(cost)
    door = _Door(problem, evaluations)
    try:
        solver.run(problem, door)
    except _SpentError:
        return door.asked
    require(door.left > 0, "The solver swallowed the end of the run. Let it pass.")
    return door.asked


def _toy_quality(space: Space, plan: Plan) -> float:
    """Return an accuracy that falls faster the earlier the layer that loses bits."""
    values = [int(value) for value in space.values(plan).values()]
    return 1.0 - sum(2.0**-value / (index + 1) for index, value in enumerate(values)) / 2
