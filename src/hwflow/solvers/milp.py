"""Integer programming: what each option loses alone, added up, minimised within the limits.

Scores are losses of quality by single changes of the default plan (HANT, arXiv:2107.10624, scores
replaced operations in this way; probes beyond the limits count in the budget). The costs are exact
where they add up over layers (:mod:`hwflow.solvers.additive`), else linearised around answer after
answer (:mod:`hwflow.solvers.sequential`). After one plan within the limits and the single changes
(none where `losses` are given), the program's answer is evaluated; the scores learn from it, and
the program is solved again until it answers with a plan that is known. Then come the answers for
tighter budgets of each cost objective, answers that differ from the best in many choices, the next
best ones, and at last random plans.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, ClassVar

import numpy as np

from hwflow.cost import Floats, Limits
from hwflow.errors import HwflowError, InfeasibleError, unknown_name
from hwflow.front import Trial
from hwflow.problem import Problem
from hwflow.reach import feasible_plan
from hwflow.solvers import Evaluate
from hwflow.solvers.additive import Additive, Scores
from hwflow.solvers.program import Answer, OneOfEach
from hwflow.solvers.program_model import Effort
from hwflow.solvers.random import shuffled_plans
from hwflow.solvers.sequential import around, best_plan
from hwflow.space import Plan, Space

EFFORT = Effort(gap=1e-3, nodes=500)
"""No limit of time, so that a search can be repeated and resumed."""

ROUGH = Effort(gap=0.02, nodes=100)
"""For answers that are to differ: nearly as good is good enough, as scores are guesses."""

TRIES = 8
"""Times that a budget is tightened because the true cost was above it."""

BATCH = 32
"""Random plans asked for at a time."""


@dataclass(frozen=True)
class MILP:
    """Integer program over the losses of single changes."""

    name: ClassVar[str] = "milp"
    endless: ClassVar[bool] = True

    seed: int = 0
    """Of the random plans at the end."""
    rungs: int = 8
    """Budgets of each cost objective between that of the best answer and the least."""
    overlap: float = 0.7
    """Largest share of the choices in which diverse answers may agree."""
    diverse: int = 10
    """Diverse answers asked for."""
    next_best: int = 100
    """Next best answers asked for."""
    losses: Mapping[str, Sequence[float]] | None = None
    """What each option of a choice loses alone, in units of the quality, by the choice's name.

    With them no single change is evaluated; a choice that is not named loses nothing."""

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= 1:
            raise HwflowError(f"MILP's overlap is a share from 0 to 1, not {self.overlap}.")
        for name in ("rungs", "diverse", "next_best"):
            if getattr(self, name) < 0:
                raise HwflowError(f"MILP's {name} is a count, not {getattr(self, name)}.")

    def run(self, problem: Problem, evaluate: Evaluate) -> None:
        """Ask for the program's answers, then for all other plans."""
        search = _Search(problem, evaluate, self.losses)
        if search.additive.sites:
            search.settle()
            search.descend(self.rungs)
            search.differ(self.overlap, self.diverse, search.best)
            search.differ(1 - 1 / len(search.additive.sites), self.next_best, search.asked)
        plans = shuffled_plans(problem.space, random.Random(self.seed))
        fresh = (plan for plan in plans if plan not in search.asked)
        while chunk := list(islice(fresh, BATCH)):
            evaluate(chunk)

    def settings(self) -> dict[str, Any]:
        """Return everything that decides what it asks for."""
        found: dict[str, Any] = {
            "seed": self.seed,
            "rungs": self.rungs,
            "overlap": self.overlap,
            "diverse": self.diverse,
            "next_best": self.next_best,
        }
        if self.losses is not None:
            found["losses"] = {name: list(row) for name, row in sorted(self.losses.items())}
        return found


class _Search:
    """The program of a problem, and what was asked for so far."""

    def __init__(
        self, problem: Problem, evaluate: Evaluate, losses: Mapping[str, Sequence[float]] | None
    ) -> None:
        self.additive = Additive.of(problem)
        self.asked: dict[Plan, Trial] = {}
        """Plans evaluated as answers, in their order."""
        self._problem, self._evaluate = problem, evaluate
        start = feasible_plan(problem)
        (self.asked[start],) = evaluate([start])  # so that a small budget has a result
        self._scores = self._scored() if losses is None else self._given(losses)
        self._learn(start)

    def _scored(self) -> Scores:
        """Return scores from evaluating every single change."""
        changes = self.additive.changes
        plans = [self._problem.space.default, *changes.values()]
        first, *others = self._evaluate.probe(plans)
        single = {key: _quality(trial) for key, trial in zip(changes, others, strict=True)}
        return Scores(self.additive, _quality(first), single)

    def _given(self, losses: Mapping[str, Sequence[float]]) -> Scores:
        """Return scores that were measured before; HwflowError where they do not fit the space."""
        space = self._problem.space
        (first,) = self._evaluate.probe([space.default])
        table = fitting(space, losses)
        changes = self.additive.changes
        single = {
            (site, option): _quality(first) - float(table[self.additive.sites[site]][option])
            for site, option in changes
        }
        return Scores(self.additive, _quality(first), single)

    @property
    def best(self) -> list[Plan]:
        """The best plan within the limits that was asked for, if there is one."""
        feasible = [plan for plan, trial in self.asked.items() if trial.feasible]
        return sorted(feasible, key=lambda plan: -_quality(self.asked[plan]))[:1]

    def settle(self) -> None:
        """Ask for the best answer until it is one that is known."""
        while (plan := self._best({})) is not None and plan not in self.asked:
            self._ask([plan])

    def descend(self, rungs: int) -> None:
        """Ask for the best answers below ever smaller costs, for each cost objective."""
        for name in self._problem.cost_names:
            plans = [self._best({name: budget}) for budget in self._budgets(name, rungs)]
            self._ask([plan for plan in plans if plan is not None])

    def differ(self, overlap: float, count: int, known: Iterable[Plan]) -> None:
        """Ask for answers that agree with none before, nor `known`, in more than a share."""
        before = [self.additive.options(plan) for plan in known]
        for _ in range(count):
            plan = self._other(overlap, before)
            if plan is None:
                return
            self._ask([plan])

    def _ask(self, plans: list[Plan]) -> None:
        fresh = [plan for plan in dict.fromkeys(plans) if plan not in self.asked]
        for plan, trial in zip(fresh, self._evaluate(fresh) if fresh else [], strict=True):
            self.asked[plan] = trial
            self._learn(plan)

    def _learn(self, plan: Plan) -> None:
        quality = self.asked[plan].quality
        if quality is not None:
            self._scores.learn(self.additive.options(plan), quality)

    def _program(self) -> OneOfEach:
        return self.additive.program(self._scores.tables())

    def _budgets(self, name: str, rungs: int) -> list[float]:
        """Return budgets from the cost of the best answer to the least, both left out at first."""
        program = self._program()
        best = self._best({})
        least = program.least(name, program.budgets, EFFORT)
        if best is None or least is None:
            return []
        top = float(self._problem.totals([best])[name][0])
        steps = np.linspace(top, least.score, rungs + 2)[1:]
        return [float(budget) for budget in steps if budget < top]

    def _best(self, extra: Mapping[str, float]) -> Plan | None:
        """Return the best plan within the limits and further budgets, None where none is found.

        Where the program was wrong on the cost, its budgets are tightened by the error.
        """
        wanted = dict(self._problem.below.items())
        for name, budget in extra.items():
            wanted[name] = min(budget, wanted.get(name, budget))
        if not self.additive.exact:
            return self._around(wanted)
        program = self._program()
        budgets = dict(wanted)
        for _ in range(TRIES):
            answer = _solved(program.within(**budgets))
            if answer is None:
                return None
            plan = self.additive.plan(answer.options)
            over = self._over(plan, wanted)
            if not over:
                return plan
            budgets = {n: min(budgets[n], answer.costs[n]) - over.get(n, 0.0) if n in over
                       else budgets[n] for n in budgets}  # fmt: skip
        return None

    def _around(self, wanted: Mapping[str, float]) -> Plan | None:
        """Return the best plan where costs are linearised around answer after answer."""
        problem = replace(self._problem, below=Limits(**wanted))
        try:
            return best_plan(problem, self._losses())
        except InfeasibleError:
            return None

    def _losses(self) -> list[Floats]:
        """Return what is expected of each option of each choice, those of one option too."""
        losses = [np.zeros(len(choice.options)) for choice in self._problem.space.choices]
        for site, table in zip(self.additive.sites, self._scores.tables(), strict=True):
            losses[site] = table
        return losses

    def _nearby(self) -> OneOfEach:
        """Return the program whose costs hold near the best plan, where they hold nowhere else."""
        if self.additive.exact or not self.best:
            return self._program()
        return around(self._problem, self._losses(), self.best[0], self.additive.sites)

    def _other(self, overlap: float, before: list[tuple[int, ...]]) -> Plan | None:
        """Return the best answer that differs from those before it and truly keeps the limits.

        Where the program was wrong on the cost, its budgets are tightened by the error.
        """
        program, strict = self._nearby(), dict(self._problem.below.items())
        budgets = dict(strict)
        for _ in range(TRIES):
            try:
                answers = program.within(**budgets).diverse(1, overlap, ROUGH, before)
            except HwflowError:  # nothing found within the effort
                return None
            if not answers:
                return None
            before.append(answers[0].options)
            plan = self.additive.plan(answers[0].options)
            over = self._over(plan, strict)
            if not over:
                return plan
            budgets |= {name: budgets[name] - error for name, error in over.items()}
        return None

    def _over(self, plan: Plan, wanted: Mapping[str, float]) -> dict[str, float]:
        """Return by how much a plan's true cost exceeds what was wanted."""
        if not wanted:
            return {}
        totals = self._problem.totals([plan])
        excess = {name: float(totals[name][0]) - limit for name, limit in wanted.items()}
        strict = dict(self._problem.below.items())
        return {
            name: value + 1e-9 * abs(wanted[name])
            for name, value in excess.items()
            if value > (0.0 if name in strict else 1e-9 * abs(wanted[name]))
        }


def fitting(space: Space, losses: Mapping[str, Sequence[float]]) -> list[Floats]:
    """Return losses by choice in the space's order, zeros for choices that are not named.

    Raises HwflowError for unknown choices, and where a choice has another number of options.
    """
    names = [choice.name for choice in space.choices]
    for name in losses:
        if name not in names:
            raise HwflowError(unknown_name("choice", name, names))
    table = [
        np.array(losses.get(choice.name, [0.0] * len(choice.options)), dtype=float)
        for choice in space.choices
    ]
    for choice, row in zip(space.choices, table, strict=True):
        if row.shape != (len(choice.options),):
            raise HwflowError(
                f"Choice {choice.name!r} has {len(choice.options)} options, but losses of shape "
                f"{row.shape} were given. Give one for each option, in their order."
            )
        if not np.isfinite(row).all():
            raise HwflowError(
                f"The losses of choice {choice.name!r} are not all finite numbers. Leave options "
                "that cannot be used out of the space."
            )
    return table


def _solved(program: OneOfEach) -> Answer | None:
    try:
        return program.solve(EFFORT)
    except HwflowError:  # out of reach, or nothing found within the effort
        return None


def _quality(trial: Trial) -> float:
    return float("-inf") if trial.quality is None else trial.quality
