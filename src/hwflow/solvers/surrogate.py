"""A table of losses as a surrogate of the quality: its fronts, seeds for a search, gaps, its worth.

    table = Sensitivity.read("sensitivity.json").check(problem.space).table()
    NSGA2(first=seeds(problem, table, 20))

A plan is expected to lose the sum over its options. So the best plan within budgets is the answer
of an integer program whose costs are those of the level (:mod:`hwflow.solvers.additive`), where
they add up over layers; elsewhere they are linearised around answer after answer
(:mod:`hwflow.solvers.sequential`), and nothing is proven. Nothing here is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan

import numpy as np

from hwflow.cost import Limits
from hwflow.errors import HwflowError, InfeasibleError
from hwflow.front import Front, Trial
from hwflow.plans import spread
from hwflow.problem import QUALITY, Problem
from hwflow.solvers.additive import Additive
from hwflow.solvers.losses import Losses, checked, expected
from hwflow.solvers.program import Answer
from hwflow.solvers.program_model import Effort
from hwflow.solvers.sequential import best_plan
from hwflow.space import Plan

EFFORT = Effort(gap=1e-3, nodes=500)
"""Of a program; no limit of time, so that a search can be repeated."""

TRUSTED = 0.8
"""Rank correlation with the measured quality below which a table is measured again."""

FEWEST = 5
"""Evaluated plans that a rank correlation is taken over at least."""

PROGRAMS = 3
"""Programs solved for each seed that is asked for, at most."""


@dataclass(frozen=True)
class Point:
    """The best plan within some budgets."""

    plan: Plan
    loss: float
    """Summed over its options."""
    bound: float
    """No plan within the budgets loses less; -inf where nothing is proven."""
    total: Mapping[str, float]
    """Its true costs."""


@dataclass(frozen=True)
class Gap:
    """How far a trial lies above the best plan of no higher costs, both by the table."""

    trial: Trial
    loss: float
    best: Point

    @property
    def gap(self) -> float:
        """Loss that the surrogate could spare at these costs, 0 or more."""
        return max(0.0, self.loss - self.best.loss)

    @property
    def proven(self) -> float:
        """What the gap is at most."""
        return max(0.0, self.loss - self.best.bound)


class Surrogate:
    """A problem whose quality is the negative sum of a table."""

    def __init__(self, problem: Problem, table: Losses) -> None:
        """Raises HwflowError for a table that does not fit the space."""
        self.problem = problem
        self._table = checked(problem.space, table)
        self._additive = Additive.of(_all_limited(problem))
        free = [np.asarray(self._table[site], np.float64) for site in self._additive.sites]
        self._program = self._additive.program(free)

    @property
    def exact(self) -> bool:
        """Whether the costs add up, so that what a program answers is proven."""
        return self._additive.exact

    def loss(self, plan: Sequence[int]) -> float:
        """Return the summed loss of a plan."""
        return expected(self._table, plan)

    def best(self, **budgets: float) -> Point | None:
        """Return the best plan within the limits and further budgets, None where none is found."""
        wanted = dict(self.problem.below.items())
        for name, value in budgets.items():
            wanted[name] = min(value, wanted.get(name, value))
        return self._exact(wanted) if self.exact else self._near(wanted)

    def front(self, names: Sequence[str], count: int) -> list[Point]:
        """Return the best plans below `count` budgets of some costs, all lowered together.

        Budgets go in even steps from the costs of the plan of least loss to the least costs, which
        may be out of reach together. Points that another beats in loss and these costs are left
        out; the dearest comes first.
        """
        found: dict[Plan, Point] = {}
        for budgets in self._rungs(names, count):
            point = self.best(**budgets)
            if point is not None:
                found.setdefault(point.plan, point)
        points = [p for p in found.values() if not any(_beats(o, p, names) for o in found.values())]
        return sorted(points, key=lambda p: -p.total[names[0]])

    def _rungs(self, names: Sequence[str], count: int) -> Iterator[dict[str, float]]:
        top = self.best()
        if top is None or count < 1:
            return
        yield {}
        least = {name: self._least(name) for name in names}
        for share in np.linspace(0, 1, count)[1:]:
            yield {n: top.total[n] + share * (min(least[n], top.total[n]) - top.total[n])
                   for n in names}  # fmt: skip

    def _least(self, name: str) -> float:
        """Return the least of a cost within the limits; 1e-9 of it is added for rounding."""
        answer = self._program.least(name, dict(self.problem.below.items()), EFFORT)
        if answer is None:
            raise InfeasibleError("No plan meets the limits. Raise them.")
        return float(answer.score) * (1 + 1e-9)

    def _exact(self, wanted: Mapping[str, float]) -> Point | None:
        try:
            answer = self._program.within(**wanted).solve(EFFORT)
        except HwflowError:  # out of reach, or nothing found within the effort
            return None
        return self._point(self._additive.plan(answer.options), answer)

    def _near(self, wanted: Mapping[str, float]) -> Point | None:
        try:
            plan = best_plan(replace(self.problem, below=Limits(**wanted)), self._table)
        except InfeasibleError:
            return None
        return self._point(plan, None)

    def _point(self, plan: Plan, answer: Answer | None) -> Point | None:
        total = self.problem.total(plan)
        if self.problem.below.broken(total):
            return None
        bound = -np.inf if answer is None else answer.bound + self._fixed
        return Point(plan, self.loss(plan), bound, total)

    @property
    def _fixed(self) -> float:
        """The loss of choices of one option, which are no sites of the program."""
        sites = set(self._additive.sites)
        default = self.problem.space.default
        return float(sum(row[default[i]] for i, row in enumerate(self._table) if i not in sites))


def seeds(problem: Problem, table: Losses, count: int) -> tuple[Plan, ...]:
    """Return up to `count` plans within the limits, best by a table for ever smaller costs.

    They are spread over the whole range of each cost objective alone and of all together. Where
    budgets next to each other have one answer, finer steps are taken; fewer plans come back when
    that does not help either.
    """
    if count < 1:
        return ()
    surrogate = Surrogate(problem, table)
    costs = problem.cost_names
    ladders = [(name,) for name in costs] + ([tuple(costs)] if len(costs) > 1 else [])
    if not ladders:
        best = surrogate.best()
        return () if best is None else (best.plan,)
    found: dict[Plan, None] = {}
    rungs = -(-count // len(ladders)) + 1
    for _ in range(PROGRAMS):
        fronts = [[p.plan for p in surrogate.front(names, rungs)] for names in ladders]
        found = dict.fromkeys(plan for plans in _interleaved(fronts) for plan in plans)
        if len(found) >= count:
            break
        rungs = 2 * rungs - 1
    return tuple(spread(list(found), count))


def gaps(problem: Problem, table: Losses, front: Sequence[Trial] | Front) -> list[Gap]:
    """Return for each trial what the best plan of no higher cost in any objective loses.

    Trials for which the program finds nothing within its effort are left out.
    """
    return _gaps(Surrogate(problem, table), problem, front)


def _gaps(surrogate: Surrogate, problem: Problem, front: Sequence[Trial] | Front) -> list[Gap]:
    found = []
    for trial in front:
        own = {name: trial.total[name] for name in problem.cost_names}
        best = surrogate.best(**{name: value * (1 + 1e-9) for name, value in own.items()})
        if best is not None:
            found.append(Gap(trial, surrogate.loss(trial.plan), best))
    return found


def rank_correlation(table: Losses, trials: Sequence[Trial]) -> float:
    """Return Spearman's rank correlation of what a table expects with the measured quality.

    1 where the table ranks the evaluated plans as the quality does. Raises HwflowError for fewer
    than 5 evaluated plans, or where all are alike.
    """
    found = correlation(table, trials)
    if found is None:
        raise HwflowError(
            f"A rank correlation needs {FEWEST} evaluated plans that differ in quality and in what "
            f"the table expects; there are {sum(trial.quality is not None for trial in trials)}. "
            "Evaluate more, random ones for instance."
        )
    return found


def correlation(table: Losses, trials: Sequence[Trial]) -> float | None:
    """Return the rank correlation, or None where there are too few plans for one."""
    from scipy.stats import spearmanr

    known = [trial for trial in trials if trial.quality is not None]
    losses = [expected(table, trial.plan) for trial in known]
    qualities = [trial.value(QUALITY) for trial in known]
    if len(known) < FEWEST or len(set(losses)) < 2 or len(set(qualities)) < 2:
        return None
    found = float(spearmanr([-loss for loss in losses], qualities).statistic)
    return 0.0 if isnan(found) else found


@dataclass(frozen=True)
class Worth:
    """What a table was worth to a search that began with it."""

    correlation: float | None
    """Spearman's, of its sums with the measured qualities; None for too few plans."""
    gaps: tuple[Gap, ...] | None
    """By point of the front; None where costs do not add up, as then nothing is proven and every
    point takes many programs."""


def worth(problem: Problem, table: Losses, trials: Sequence[Trial], front: Front) -> Worth:
    """Return what a table was worth to a search that made these trials."""
    surrogate = Surrogate(problem, table)
    found = tuple(_gaps(surrogate, problem, front)) if surrogate.exact else None
    return Worth(correlation(table, trials), found)


@dataclass(frozen=True)
class Refined:
    """A table, and what it is worth."""

    table: Losses
    correlation: float | None
    """Of the table that was given, with the trials; None where they are too few to tell."""
    around: Plan | None
    """The plan that the table was measured around anew; None where the old one is good enough."""


def refined(
    problem: Problem,
    table: Losses,
    trials: Sequence[Trial],
    measure: Callable[[Plan], Losses],
    trusted: float = TRUSTED,
) -> Refined:
    """Return the table, or where it ranks trials poorly one measured around the incumbent.

    Such a table says what brings the answers nearer to the original's from there.

    `measure(plan)` returns the table around a plan, such as that of
    :func:`hwflow.quality.sensitivity.sensitivities` with this base.
    """
    found = correlation(table, trials)
    if found is None or found >= trusted:
        return Refined(table, found, None)
    plan = incumbent(problem, trials)
    return Refined(measure(plan), found, plan)


def incumbent(problem: Problem, trials: Sequence[Trial]) -> Plan:
    """Return the most accurate plan within the limits, without limits the knee of the front.

    Raises InfeasibleError when no trial is within the limits.
    """
    limited = any(True for _ in problem.below.items())
    front = Front.of(trials, problem.objectives)
    return front.pick("most accurate" if limited else "knee").plan


def _all_limited(problem: Problem) -> Problem:
    """Return the problem with some limit on every cost objective, so that none is left out."""
    limits = dict.fromkeys(problem.cost_names, np.finfo(float).max)
    return replace(problem, below=Limits(**limits | dict(problem.below.items())))


def _beats(one: Point, other: Point, names: Sequence[str]) -> bool:
    """Whether a point is no worse in loss and costs, and better in one."""
    first = (one.loss, *(one.total[name] for name in names))
    second = (other.loss, *(other.total[name] for name in names))
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))


def _interleaved(fronts: Sequence[Sequence[Plan]]) -> Iterator[list[Plan]]:
    """Yield the plans of all fronts side by side."""
    longest = max(map(len, fronts), default=0)
    for number in range(longest):
        yield [front[number] for front in fronts if number < len(front)]
