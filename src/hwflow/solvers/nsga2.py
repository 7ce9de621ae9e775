"""NSGA-II (Deb et al., IEEE Trans. Evol. Comp. 6(2), 2002) on plans, with pymoo's operators.

Integer genomes (option indices), uniform crossover, mutation by a step or a reset, survival of the
best of parents and offspring by rank and crowding. Limits are constraints (Deb's rules: less excess
wins among the infeasible), so plans beyond them are ranked without being evaluated. The first
population is the default plan, one that meets the limits, those it is given, the uniform and random
ones; where there are too many, the given and the uniform are thinned out evenly. A plan is never
asked for twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import numpy as np
from pymoo.algorithms.moo import nsga2 as pymoo_nsga2
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.evaluator import Evaluator
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.repair import Repair
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.problems.static import StaticProblem

from hwflow.errors import HwflowError
from hwflow.front import Trial
from hwflow.plans import spread
from hwflow.problem import Problem
from hwflow.reach import feasible_plan
from hwflow.solvers import Evaluate
from hwflow.solvers.random import shuffled_plans
from hwflow.space import Plan, Space

UNKNOWN = 0.0
"""Stands for the quality of an infeasible plan; ranking by excess never looks at it."""

MATINGS = 8
"""Attempts to breed a population of new plans, before it is filled up with random ones."""


@dataclass(frozen=True)
class NSGA2:
    """NSGA-II with the operators of mixed-precision search (HW-FlowQ, HAQ comparisons)."""

    name: ClassVar[str] = "nsga2"
    endless: ClassVar[bool] = True

    seed: int = 0
    population: int = 40
    crossover: float = 0.9
    """Share of matings that mix their parents."""
    mutation: float | None = None
    """Chance that a choice is changed; by default 1 / number of choices."""
    step: float = 0.5
    """Share of changes of an ordered choice that go to a neighbouring option."""
    first: tuple[Plan, ...] = ()
    """Plans of the first population: the front of another level, or what a program found, say."""

    def __post_init__(self) -> None:
        if self.population < 2:
            raise HwflowError(f"NSGA2 needs a population of 2 or more, not {self.population}.")
        for name in ("crossover", "mutation", "step"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise HwflowError(f"NSGA2's {name} is a share from 0 to 1, not {share}.")

    def run(self, problem: Problem, evaluate: Evaluate) -> None:
        """Ask for one population after the other, until every plan has been asked for."""
        if not len(problem.space):
            evaluate([()])  # nothing to breed
            return
        asked = _Asked()
        plans = shuffled_plans(problem.space, random.Random(self.seed))
        fresh = (plan for plan in plans if plan not in asked.plans)
        genetic = self._algorithm(problem, asked, self.first_population(problem))
        while len(genes := self._offspring(genetic, fresh)):
            wanted = [tuple(map(int, row)) for row in genes.get("X")]
            asked.plans.update(wanted)
            _score(problem, genes, evaluate(wanted))
            genetic.tell(infills=genes)

    def _offspring(self, genetic: Any, fresh: Iterator[Plan]) -> Any:
        """Return the next population; where mating finds too little that is new, with random."""
        bred = genetic.ask()
        genetic.termination.force_termination = False  # set when nothing was bred
        genes = Population.new("X", _genes(())) if bred is None else bred
        known = {_key(one) for one in genes}
        more = islice((p for p in fresh if p not in known), self.population - len(genes))
        return Population.merge(genes, Population.new("X", _genes(list(more))))

    def settings(self) -> dict[str, Any]:
        """Return everything that decides what it asks for."""
        found: dict[str, Any] = {
            "seed": self.seed,
            "population": self.population,
            "crossover": self.crossover,
            "mutation": self.mutation,
            "step": self.step,
        }
        return found | ({"first": [list(plan) for plan in self.first]} if self.first else {})

    def first_population(self, problem: Problem) -> list[Plan]:
        """Return what is asked for first: the plans that need no luck to be found, then random.

        Raises InfeasibleError where no plan keeps the limits.
        """
        space = problem.space
        sure = dict.fromkeys([space.default, feasible_plan(problem)])
        plans = dict.fromkeys(map(space.canonical, self.first))
        given = [plan for plan in plans if plan not in sure]
        uniform = [plan for plan in space.uniform() if plan not in {*sure, *given}]
        room = max(0, self.population - len(sure))
        kept = spread(given, max(room - len(uniform), (room + 1) // 2))
        known = [*sure, *kept, *spread(uniform, room - len(kept))]
        drawn = shuffled_plans(space, random.Random(self.seed))
        rest = islice((p for p in drawn if p not in known), self.population - len(known))
        return [*known, *rest]

    def _algorithm(self, problem: Problem, asked: _Asked, first: Sequence[Plan]) -> Any:
        space = problem.space
        bounded = PymooProblem(
            n_var=len(space),
            n_obj=len(problem.objectives),
            n_ieq_constr=1,
            xl=np.zeros(len(space), int),
            xu=np.array([len(choice.options) - 1 for choice in space.choices]),
            vtype=int,
        )
        genetic = pymoo_nsga2.NSGA2(
            pop_size=self.population,
            sampling=_genes(first),
            crossover=UniformCrossover(prob=self.crossover),
            mutation=StepOrReset(space, self.mutation, self.step),
            repair=_Canonical(space),
            eliminate_duplicates=asked,
            output=None,
        )
        genetic.mating.n_max_iterations = MATINGS
        genetic.setup(bounded, termination=NoTermination(), seed=self.seed)
        return genetic


def _genes(plans: Sequence[Plan]) -> np.ndarray:
    return np.array(plans, dtype=int).reshape(len(plans), len(plans[0]) if plans else 0)


def _score(problem: Problem, genes: Any, trials: Sequence[Trial]) -> None:
    """Tell pymoo the objectives and the excess over the limits of what it asked for."""
    objectives = [
        problem.values(UNKNOWN if t.quality is None else t.quality, dict(t.total)) for t in trials
    ]
    excess = [
        0.0 if t.quality is not None else max(problem.below.excess(t.total), 1e-12) for t in trials
    ]
    known = StaticProblem(
        PymooProblem(n_var=len(problem.space), n_obj=len(problem.objectives), n_ieq_constr=1),
        F=np.array(objectives),
        G=np.array(excess)[:, None],
    )
    hand_in = Evaluator().eval  # pymoo's way of taking values that were computed elsewhere
    hand_in(known, genes)


class _Asked(DuplicateElimination):  # type: ignore[misc]  # pymoo has no types
    """Drops genomes that were asked for before, or that stand twice in what is to be asked."""

    def __init__(self) -> None:
        super().__init__()
        self.plans: set[Plan] = set()

    def do(self, pop: Any, *others: Any, **_: Any) -> Any:
        known = {_key(one) for other in others for one in other}
        kept = []
        for index, one in enumerate(pop):
            key = _key(one)
            if key not in known and key not in self.plans:
                known.add(key)
                kept.append(index)
        return pop[kept]


def _key(individual: Any) -> Plan:
    return tuple(map(int, individual.X))


class _Canonical(Repair):  # type: ignore[misc]  # pymoo has no types
    """Replaces a genome by the plan it stands for."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self._space = space
        self._dependent = any(choice.only_if is not None for choice in space.choices)

    def _do(self, problem: Any, genes: np.ndarray, **_: Any) -> np.ndarray:
        if not self._dependent:
            return genes
        return _genes([self._space.canonical(row) for row in genes])


class StepOrReset(Mutation):  # type: ignore[misc]  # pymoo has no types
    """Changes a choice to a neighbouring option (ordered choices, share `step`) or to any other."""

    def __init__(self, space: Space, chance: float | None, step: float) -> None:
        super().__init__()
        self._options = np.array([len(choice.options) for choice in space.choices])
        self._ordered = np.array([choice.ordered for choice in space.choices])
        self._chance = 1 / max(1, len(space)) if chance is None else chance
        self._step = step

    def _do(self, problem: Any, genes: np.ndarray, *, random_state: Any, **_: Any) -> np.ndarray:
        shape = genes.shape
        hit = (random_state.random(shape) < self._chance) & (self._options > 1)
        stepping = (random_state.random(shape) < self._step) & self._ordered
        ways = np.where(random_state.random(shape) < 0.5, -1, 1)
        inside = (genes + ways >= 0) & (genes + ways < self._options)
        neighbour = genes + np.where(inside, ways, -ways)
        offset = random_state.integers(1, np.maximum(self._options, 2), size=shape)
        other = (genes + offset) % self._options
        return np.where(hit, np.where(stepping, neighbour, other), genes)
