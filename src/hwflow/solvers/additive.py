"""A problem as an integer program: sites are the choices, costs are terms, scores are guesses.

Costs come from the table of terms (:mod:`hwflow.costs.table`), so for metrics that add up over
layers the program's cost of a plan is its true one. Where the table would be too large, or a layer
hangs on so many choices that the program would be slow (pruned channels that meet in additions),
and for metrics that do not add up, it is the default plan's cost and what each single change adds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwflow.cost import Floats
from hwflow.costs.table import TermTable
from hwflow.errors import HwflowError
from hwflow.problem import Problem
from hwflow.solvers.program import Joint, OneOfEach
from hwflow.solvers.steps import swapped
from hwflow.space import Plan

ENTRIES = 20_000
"""Largest table of terms that is filled."""

WIDEST = 500
"""Largest table of one term: more make programs that take minutes."""

STRAY, COMMON, NOISE = 0.5, 1.0, 0.1
"""Standard deviations of what is believed before any plan is evaluated, as shares: of the loss of
an option within a plan, of a factor that all options have in common, and of a plan's loss."""

LEAST = 0.1
"""Of the mean loss of an option: one that loses less, or nothing, strays as if it lost this."""

ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Additive:
    """A problem's costs as sums over its sites, the choices of more than one option."""

    problem: Problem
    sites: tuple[int, ...]
    """Places of a plan."""
    costs: dict[str, list[Floats]]
    """Of each site's options, by metric; the first site bears what depends on none."""
    joint: tuple[Joint, ...]
    exact: bool = True
    """Whether the sums are the true costs of every limited metric."""

    @classmethod
    def of(cls, problem: Problem) -> Additive:
        """Return the limited metrics and the cost objectives of a problem as sums."""
        choices = problem.space.choices
        sites = tuple(i for i, choice in enumerate(choices) if len(choice.options) > 1)
        names = dict.fromkeys([*(name for name, _ in problem.below.items()), *problem.cost_names])
        built = _Builder(problem, sites)
        table = _table(problem)
        exact = [name for name in names if table is not None and name in table.metrics]
        if table is not None and exact:
            built.add_terms(table, exact)
        built.add_changes([name for name in names if name not in exact])
        limited = {name for name, _ in problem.below.items()}
        return cls(problem, sites, built.costs, tuple(built.joint), limited <= set(exact))

    def program(self, scores: Sequence[Floats]) -> OneOfEach:
        """Return the program below the problem's limits."""
        choices = self.problem.space.choices
        names = tuple(choices[site].name for site in self.sites)
        return OneOfEach(scores, self.costs, dict(self.problem.below.items()), self.joint, names)

    def plan(self, options: Sequence[int]) -> Plan:
        """Return the plan with these options at the sites."""
        plan = list(self.problem.space.default)
        for site, option in zip(self.sites, options, strict=True):
            plan[site] = option
        return self.problem.space.canonical(plan)

    def options(self, plan: Plan) -> tuple[int, ...]:
        """Return the options of a plan at the sites."""
        return tuple(plan[site] for site in self.sites)

    @cached_property
    def changes(self) -> dict[tuple[int, int], Plan]:
        """The default plan with one option changed, by (number of the site, option)."""
        return _changes(self.problem, self.sites)


class Scores:
    """What each option is believed to lose, from single changes and from plans evaluated since.

    A plan is expected to lose the sum over its options. Where plans were seen to lose more or less,
    the options they share are corrected by the least change that explains it: the posterior mean of
    a normal prior (kriging). Corrections are relative: an option that loses next to nothing alone
    is not believed to lose, or to gain, much within a plan. What all options have in common, as
    units of another kind or losses that saturate, is told by one factor and changes no ranking.
    """

    def __init__(self, additive: Additive, quality: float, single: dict[tuple[int, int], float]):
        """`quality` is that of the default plan, `single` those after each single change."""
        choices = additive.problem.space.choices
        self._default = additive.options(additive.problem.space.default)
        self._sizes = [len(choices[site].options) for site in additive.sites]
        self._quality = quality
        self._starts = np.cumsum([0, *self._sizes])
        self._prior = np.zeros(self._starts[-1])
        for (site, option), found in single.items():
            self._prior[self._starts[site] + option] = quality - found
        self._rows: list[Floats] = []
        self._missed: list[float] = []

    def learn(self, options: Sequence[int], quality: float) -> None:
        """Take in the quality of a plan."""
        row = self._row(options)
        if row.any():
            self._rows.append(row)
            self._missed.append(self._quality - quality - float(row @ self._prior))

    def tables(self) -> list[Floats]:
        """Return the expected loss of each option, by site."""
        found = self._prior + self._correction() if self._rows else self._prior
        return np.split(found, self._starts[1:-1])

    def _correction(self) -> Floats:
        rows, size = np.array(self._rows), np.abs(self._prior)
        size = size + max(LEAST * float(size.mean()), ROUNDING)
        alone, sums = (STRAY * size) ** 2, rows @ self._prior
        alike = (rows * alone) @ rows.T + COMMON**2 * np.outer(sums, sums)
        alike += np.diag((NOISE * (rows @ size)) ** 2)
        shared = rows.T * alone[:, None] + COMMON**2 * np.outer(self._prior, sums)
        return shared @ np.linalg.solve(alike, np.array(self._missed))

    def _row(self, options: Sequence[int]) -> Floats:
        """Return a one at each option that is not the default."""
        row = np.zeros(len(self._prior))
        for site, (option, default) in enumerate(zip(options, self._default, strict=True)):
            row[self._starts[site] + option] = float(option != default)
        return row


def _table(problem: Problem) -> TermTable | None:
    """Return the table of terms, None where it does not exist or is too large to be filled."""
    try:
        table = TermTable(problem)
    except HwflowError:
        return None
    return table if table.entries <= ENTRIES and table.widest <= WIDEST else None


def _changes(problem: Problem, sites: Sequence[int]) -> dict[tuple[int, int], Plan]:
    space = problem.space
    plans = {
        (number, option): swapped(space, space.default, site, option)
        for number, site in enumerate(sites)
        for option in range(len(space.choices[site].options))
    }
    return {key: plan for key, plan in plans.items() if plan != space.default}


class _Builder:
    """Collects costs by site, and those that hang on several sites."""

    def __init__(self, problem: Problem, sites: Sequence[int]) -> None:
        self._problem, self._sites = problem, sites
        self.costs: dict[str, list[Floats]] = {}
        self.joint: list[Joint] = []

    def add_terms(self, table: TermTable, names: Sequence[str]) -> None:
        """Add every term of a table for some metrics."""
        columns = [table.metrics.index(name) for name in names]
        self._add_empty(names)
        table.fill()
        for index, term in enumerate(table.terms):
            sites = [self._sites.index(place) for place in term.places if place in self._sites]
            values = table.table(index)[..., columns]
            shape = [self._options(site) for site in sites]
            self._add_term(tuple(sites), values.reshape(*shape, len(names)), names)

    def add_changes(self, names: Sequence[str]) -> None:
        """Add the cost of the default plan and what each single change adds, for some metrics."""
        self._add_empty(names)
        if not names:
            return
        changes = _changes(self._problem, self._sites)
        totals = self._problem.totals([self._problem.space.default, *changes.values()])
        for name in names:
            base, *others = totals[name].tolist()
            self.costs[name][0] += base
            for (site, option), value in zip(changes, others, strict=True):
                self.costs[name][site][option] += value - base

    def _add_empty(self, names: Iterable[str]) -> None:
        count = range(len(self._sites))
        self.costs.update({n: [np.zeros(self._options(site)) for site in count] for n in names})

    def _options(self, site: int) -> int:
        return len(self._problem.space.choices[self._sites[site]].options)

    def _add_term(self, sites: tuple[int, ...], values: Floats, names: Sequence[str]) -> None:
        base = values[(0,) * len(sites)]
        own = [values[tuple(_axis(axis, len(sites)))] - base for axis in range(len(sites))]
        rest = values - base - _outer_sum(own, values.shape)
        for number, name in enumerate(names):
            self.costs[name][0] += base[number]
            for site, part in zip(sites, own, strict=True):
                self.costs[name][site] += part[:, number]
        apart = [np.abs(rest[..., k]).max() > ROUNDING * np.abs(values[..., k]).max()
                 for k in range(len(names))]  # fmt: skip
        if any(apart):
            tables = {n: rest[..., k] for k, n in enumerate(names) if apart[k]}
            self.joint.append(Joint(sites, tables))


def _axis(axis: int, axes: int) -> list[int | slice]:
    """Return the index of one axis, the others at their first option."""
    return [slice(None) if other == axis else 0 for other in range(axes)]


def _outer_sum(parts: Sequence[Floats], shape: tuple[int, ...]) -> Floats:
    """Return the sum of one part along each axis, shape (options of each axis, metrics)."""
    summed = np.zeros(shape)
    for axis, part in enumerate(parts):
        wide = [1] * len(parts)
        wide[axis] = len(part)
        summed += part.reshape(*wide, shape[-1])
    return summed
