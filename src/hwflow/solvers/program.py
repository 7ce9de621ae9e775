"""One option per site, least sum of scores, within budgets: an integer program and its frontier.

    program = OneOfEach(scores, costs={"latency_s": latencies}, budgets={"latency_s": 4e-3})
    program.solve().options                     # proven best
    program.diverse(10, overlap=0.7)            # ten good ones that differ in three sites of ten

minimise sum_i a_ij x_ij over x_ij in {0, 1}, sum_j x_ij = 1, sum_ij b_ij^k x_ij <= B_k for every
budget k (a multiple-choice knapsack problem). A cost may also hang on several sites at once, such
as that of a layer on the bits of its weights and of its input: a :class:`Joint` table. With a
variable y_t for every entry t of the table, sum_t y_t = 1 and sum_{t: t_i = j} y_t = x_ij, y is
that of the chosen options wherever x is integral, so that the program stays exact. HiGHS solves it.
An answer exceeds no budget but by rounding (1e-9 of it); one that fills the last millionth of a
budget may be missed, as that is the tolerance of HiGHS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from math import floor

import numpy as np
from numpy.typing import NDArray

from hwflow.cost import Floats, Ints
from hwflow.errors import HwflowError, InfeasibleError
from hwflow.solvers.program_model import EXACT, TOLERANCE, Effort, Found, Rows, solved

Tables = Sequence[Sequence[float] | Floats]
"""A number for each option of each site."""

SCORE = ""
"""What a Joint calls its table of scores, if it has one."""

WORST = 3
"""Sites named when a budget is out of reach."""

ROUNDING = 1e-8
"""Share of a score below which it counts as equal to its bound: the solver's tolerance."""

TIGHTENED = 6
"""Times that a budget is lowered, at last by the solver's whole tolerance, because an answer was
above it within that tolerance."""


@dataclass(frozen=True, eq=False)
class Joint:
    """A cost that hangs on several sites: a table for each budget, an axis for each site."""

    sites: tuple[int, ...]
    costs: Mapping[str, Floats]


@dataclass(frozen=True)
class Answer:
    """A choice of one option per site."""

    options: tuple[int, ...]
    score: float
    costs: Mapping[str, float]
    bound: float
    """No choice that is allowed has a score below this."""
    status: str
    """"optimal", or what ended the search: "time limit", "node limit"."""

    @property
    def gap(self) -> float:
        """Share of the score by which it may lie above the best; 0 when proven optimal."""
        room = self.score - self.bound
        return 0.0 if room <= 0 else room / max(abs(self.score), 1e-300)


@dataclass(frozen=True, eq=False)
class OneOfEach:
    """The program. Sites may have different numbers of options; inf bars an option."""

    scores: Tables
    costs: Mapping[str, Tables] = field(default_factory=dict)
    budgets: Mapping[str, float] = field(default_factory=dict)
    """Upper limits on some of the costs; the others are only reported."""
    joint: tuple[Joint, ...] = ()
    names: tuple[str, ...] = ()
    """Of the sites, for messages; by default "site 0" and so on."""

    def __post_init__(self) -> None:
        _check(self)

    def solve(self, effort: Effort | None = None) -> Answer:
        """Return the best choice, proven, or what `effort` allows.

        Raises InfeasibleError when no choice keeps the budgets, with the least that can be reached
        and the sites that bar it, and HwflowError when a limit ends the search with nothing found.
        """
        answer = self._answer((), 0, effort or Effort())
        if answer is None:
            raise InfeasibleError(self._out_of_reach())
        return answer

    def diverse(
        self,
        count: int,
        overlap: float = 0.7,
        effort: Effort | None = None,
        known: Sequence[Sequence[int]] = (),
    ) -> list[Answer]:
        """Return up to `count` choices, best first, that differ from each other and from `known`.

        Each is the best that shares at most the share `overlap` of its options with every one
        before it. Fewer come back when there are no more. `effort` is that of each.
        Raises InfeasibleError when no choice keeps the budgets.
        """
        shared = floor(overlap * len(self.scores) + EXACT)
        found: list[Answer] = []
        while len(found) < count:
            earlier = (*map(tuple, known), *(answer.options for answer in found))
            answer = self._answer(earlier, shared, effort or Effort())
            if answer is None:
                break
            found.append(answer)
        if not found and not known:
            raise InfeasibleError(self._out_of_reach())
        return found

    def within(self, **budgets: float) -> OneOfEach:
        """Return the program with other budgets."""
        return replace(self, budgets=budgets)

    def cost_of(self, options: Sequence[int], name: str) -> float:
        """Return the sum of one cost under a choice."""
        return self._sum(self.costs[name], options, name)

    def score_of(self, options: Sequence[int]) -> float:
        """Return the score of a choice."""
        return self._sum(self.scores, options, SCORE)

    def _sum(self, tables: Tables, options: Sequence[int], name: str) -> float:
        own = sum(float(table[o]) for table, o in zip(tables, options, strict=True))
        return own + sum(
            float(joint.costs[name][tuple(options[site] for site in joint.sites)])
            for joint in self.joint
            if name in joint.costs
        )

    def kept(self, earlier: Sequence[Sequence[int]] = ()) -> list[Ints]:
        """Return the options of each site that the best choice after `earlier` ones needs.

        An option is dominated by another of its site that is no worse in the score and in every
        limited cost (of equal ones, by the first). A dominated option is left out unless earlier
        answers chose all that dominate it: to put one that none of them chose in its place raises
        neither score, nor cost, nor any overlap. So what is left lies in the first K layers of
        dominance after K - 1 answers, and the best of it is the best of all.
        This fails for the sites of a Joint, whose options are all kept.
        """
        held = {site for joint in self.joint for site in joint.sites}
        return [
            _allowed(values) if site in held else _needed(dominates, {e[site] for e in earlier})
            for site, (values, dominates) in enumerate(
                zip(self._values, self._dominance, strict=True)
            )
        ]

    @cached_property
    def _dominance(self) -> list[NDArray[np.bool_]]:
        """For each site, whether option i dominates option j; barred ones are dominated by self."""
        return [_dominance(values) for values in self._values]

    def least(
        self, name: str, within: Mapping[str, float] | None = None, effort: Effort | None = None
    ) -> Answer | None:
        """Return the choice of least cost `name` within budgets, None where no choice keeps them.

        The answer's score is this cost.
        """
        joint = tuple(
            Joint(j.sites, {**j.costs, SCORE: j.costs.get(name, np.zeros(_shape(self, j)))})
            for j in self.joint
        )
        program = replace(self, scores=self.costs[name], budgets=within or {}, joint=joint)
        return program._answer((), 0, effort or Effort())

    @cached_property
    def _values(self) -> list[Floats]:
        """Score and limited costs of each site's options, shape (options, 1 + budgets)."""
        tables = [self.scores, *(self.costs[name] for name in self.budgets)]
        return [np.array([t[i] for t in tables], np.float64).T for i in range(len(self.scores))]

    def _answer(
        self, earlier: Sequence[tuple[int, ...]], shared: int, effort: Effort
    ) -> Answer | None:
        """Return the best choice that shares at most `shared` options with any earlier one."""
        kept, lowered = self.kept(earlier), dict.fromkeys(self.budgets, 0.0)
        for attempt in range(TIGHTENED):
            budgets = {name: limit - lowered[name] for name, limit in self.budgets.items()}
            found = solved(self._rows(kept, budgets, earlier, shared), effort)
            if found is None:
                return None
            answer = self._read(found, kept)
            excess = {name: answer.costs[name] - limit for name, limit in self.budgets.items()}
            if all(e <= EXACT * abs(self.budgets[name]) for name, e in excess.items()):
                return answer
            for name, above in excess.items():
                most = 1.01 * TOLERANCE * abs(self.budgets[name])
                if above > 0:
                    lowered[name] = (
                        most
                        if attempt == TIGHTENED - 2
                        else min(most, lowered[name] + 2**attempt * above)
                    )
        return None

    def _read(self, found: Found, kept: Sequence[Ints]) -> Answer:
        options = tuple(int(k[o]) for k, o in zip(kept, found.options, strict=True))
        score = self.score_of(options)
        costs = {name: self.cost_of(options, name) for name in self.costs}
        bound = min(found.bound, score)
        bound = score if score - bound <= ROUNDING * abs(score) else bound
        return Answer(options, score, costs, bound, found.status)

    def _rows(
        self,
        kept: Sequence[Ints],
        budgets: Mapping[str, float],
        earlier: Sequence[tuple[int, ...]],
        shared: int,
    ) -> Rows:
        """Return the program over the kept options only, as the solver takes it."""
        grids = [np.ix_(*(kept[site] for site in joint.sites)) for joint in self.joint]
        none = [np.zeros([len(kept[s]) for s in joint.sites]) for joint in self.joint]

        def flat(column: int, name: str) -> Floats:
            own = [values[k, column] for values, k in zip(self._values, kept, strict=True)]
            tables = [
                np.asarray(j.costs[name], np.float64)[grid] if name in j.costs else zeros
                for j, grid, zeros in zip(self.joint, grids, none, strict=True)
            ]
            return np.concatenate([*own, *(table.ravel() for table in tables)])

        return Rows(
            sites=tuple(map(len, kept)),
            joint=tuple(joint.sites for joint in self.joint),
            score=flat(0, SCORE),
            costs=[flat(number, name) for number, name in enumerate(budgets, start=1)],
            budgets=list(budgets.values()),
            earlier=[
                [np.flatnonzero(k == o).tolist() for k, o in zip(kept, options, strict=True)]
                for options in earlier
            ],
            shared=shared,
        )

    def _out_of_reach(self) -> str:
        """Say which budget no choice keeps, what the least is, and which sites make it so much."""
        for name, limit in self.budgets.items():
            least = self.least(name)
            if least is not None and least.score > limit:
                return (
                    f"No choice keeps {name} <= {limit:.6g}: the least is {least.score:.6g}. "
                    f"{self._bars(name, least)} Raise the budget to {least.score:.6g}, or give "
                    "these sites cheaper options."
                )
        told = ", ".join(f"{name} <= {limit:.6g}" for name, limit in self.budgets.items())
        return (
            f"No choice keeps {told} together, though each alone can be kept. "
            f"{' '.join(map(self._with_others, self.budgets))} Raise one of these budgets."
        )

    def _with_others(self, name: str) -> str:
        others = {other: limit for other, limit in self.budgets.items() if other != name}
        least = self.least(name, others)
        if least is None:
            return f"Without {name} the others still cannot be kept."
        return f"With the others kept, {name} is {least.score:.6g} at least."

    def _bars(self, name: str, least: Answer) -> str:
        """Name the sites with the largest part of a cost; a joint cost counts evenly for its."""
        part = [float(t[o]) for t, o in zip(self.costs[name], least.options, strict=True)]
        for joint in self.joint:
            if name in joint.costs:
                whole = joint.costs[name][tuple(least.options[site] for site in joint.sites)]
                for site in joint.sites:
                    part[site] += float(whole) / len(joint.sites)
        worst = sorted(range(len(part)), key=lambda site: -part[site])[:WORST]
        listed = ", ".join(f"{self.names[s] if self.names else f'site {s}'} {part[s]:.6g}"
                           for s in worst)  # fmt: skip
        return f"Most of it is {listed}."


def _allowed(values: Floats) -> Ints:
    return np.flatnonzero(np.isfinite(values).all(axis=1))


def _dominance(values: Floats) -> NDArray[np.bool_]:
    """Return whether row i dominates row j; barred rows dominate themselves only."""
    no_worse = (values[:, None] <= values[None]).all(axis=2)
    first = np.triu(np.ones(no_worse.shape, bool), 1)
    found: NDArray[np.bool_] = no_worse & (~no_worse.T | first)
    barred = np.setdiff1d(np.arange(len(values)), _allowed(values))
    found[barred], found[barred, barred] = False, True
    return found


def _needed(dominates: NDArray[np.bool_], chosen: set[int]) -> Ints:
    """Return the options that only `chosen` ones dominate."""
    others = np.ones(len(dominates), bool)
    others[list(chosen)] = False
    others |= np.diag(dominates)
    return np.flatnonzero(~dominates[others].any(axis=0))


def _shape(program: OneOfEach, joint: Joint) -> tuple[int, ...]:
    return tuple(len(program.scores[site]) for site in joint.sites)


def _check(program: OneOfEach) -> None:
    sizes = [len(table) for table in program.scores]
    for name, tables in program.costs.items():
        if [len(table) for table in tables] != sizes:
            raise HwflowError(f"The costs {name!r} must be a number for every option that scores.")
    for name, limit in program.budgets.items():
        if name not in program.costs or not np.isfinite(limit):
            raise HwflowError(
                f"The budget {name} <= {limit} needs a finite limit and costs of that name. "
                f"Costs: {', '.join(program.costs) or 'none'}."
            )
    for number in chain.from_iterable(chain(program.scores, *program.costs.values())):
        if np.isnan(number) or number == -np.inf:
            raise HwflowError("Scores and costs must be numbers, or inf for a barred option.")
    for site, values in enumerate(program._values):
        if not len(_allowed(values)):
            raise HwflowError(
                f"Every option of site {site} is barred: its scores or costs are inf."
            )
    for joint in program.joint:
        _check_joint(program, joint)


def _check_joint(program: OneOfEach, joint: Joint) -> None:
    known = len(set(joint.sites)) == len(joint.sites) and all(
        0 <= site < len(program.scores) for site in joint.sites
    )
    if not known:
        raise HwflowError(f"A joint cost needs different sites that exist, not {joint.sites}.")
    for name, table in joint.costs.items():
        if np.shape(table) != _shape(program, joint) or not np.isfinite(table).all():
            raise HwflowError(
                f"The joint costs {name!r} of sites {joint.sites} must be finite, of shape "
                f"{_shape(program, joint)}, not {np.shape(table)}."
            )
