import random
from dataclasses import dataclass
from typing import ClassVar

import pytest

from hwflow.costs.mid import Mid
from hwflow.solvers.exhaustive import Exhaustive
from hwflow.solvers.nsga2 import NSGA2
from hwflow.solvers.random import Random
from hwflow.testing import CheckError, check_solver, toy_problem


@pytest.mark.parametrize("solver", [Random, NSGA2, Exhaustive])
def test_our_solvers_keep_their_promises(solver):
    check_solver(lambda seed: solver(seed=seed))


def test_another_cost_model_may_be_used():
    check_solver(lambda seed: Random(seed=seed), evaluations=10, cost=Mid())


@dataclass
class Base:
    name: ClassVar[str] = "base"
    seed: int = 0

    def settings(self):
        return {"seed": self.seed}

    def plans(self, problem):
        rng = random.Random(self.seed)
        while True:
            yield problem.space.sample(rng)

    def run(self, problem, evaluate):
        for plan in self.plans(problem):
            evaluate([plan])


class Unseeded(Base):
    def plans(self, problem):
        while True:
            yield problem.space.sample(random.Random())


class Lazy(Base):
    def run(self, problem, evaluate):
        for _, plan in zip(range(5), self.plans(problem), strict=False):
            evaluate([plan])


class Invalid(Base):
    def plans(self, problem):
        yield (9,) * len(problem.space)


class Swallowing(Base):
    def run(self, problem, evaluate):
        try:
            super().run(problem, evaluate)
        except BaseException:
            return


class GoingOn(Base):
    def run(self, problem, evaluate):
        try:
            super().run(problem, evaluate)
        except BaseException:
            super().run(problem, evaluate)


class Scheming(Base):
    """Looks at how many answers it has had in all its runs."""

    runs: ClassVar[int] = 0

    def plans(self, problem):
        type(self).runs += 1
        rng = random.Random(0 if type(self).runs < 3 else 1)
        while True:
            yield problem.space.sample(rng)


class Nameless(Base):
    name: ClassVar[str] = ""


class Fancy(Base):
    def settings(self):
        return {"rng": random.Random(0)}


def test_a_plain_solver_passes():
    check_solver(Base)


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        (Unseeded, "one seed"),
        (Lazy, "ended after"),
        (Swallowing, "swallowed"),
        (GoingOn, "went on"),
        (Scheming, "could not be resumed"),
        (Nameless, "`name`"),
        (Fancy, "`settings` must be plain data"),
    ],
)
def test_every_broken_promise_is_named(solver, message):
    with pytest.raises(CheckError, match=message):
        check_solver(solver)


def test_plans_of_another_space_are_named():
    with pytest.raises(CheckError, match=r"plan that is not of the space.*options 0 to 3, not 9"):
        check_solver(Invalid)


def test_the_toy_problem_has_256_plans_and_costs_them_at_once():
    problem = toy_problem()
    assert problem.space.size == 256
    plans = [problem.space.default, (0, 0, 0, 0)]
    costs = problem.costs(plans)
    assert costs[0].bit_ops > costs[1].bit_ops
    assert problem.bit_costs(plans) is not None
