"""Sequential programs: the best plan where losses are known and costs hang on many choices."""

import random
from dataclasses import replace
from itertools import product

import pytest
from toy import ToyQuality, chain, toy_problem

from hwflow.cost import Limits
from hwflow.costs.coarse import Coarse
from hwflow.costs.mid import Mid
from hwflow.edits.prune import prune
from hwflow.errors import InfeasibleError
from hwflow.problem import Problem
from hwflow.solvers.sequential import _Search, best_plan
from hwflow.space import Plan

KEEP = (0.25, 0.5, 0.75)


def losses_of(problem: Problem) -> list[list[float]]:
    """Return what each option loses of the toy quality, which is a sum over choices."""
    space, score = problem.space, ToyQuality().score
    whole = score(space.default, space.apply)
    return [
        [
            whole - score((*space.default[:i], option, *space.default[i + 1 :]), space.apply)
            for option in range(len(choice.options))
        ]
        for i, choice in enumerate(space.choices)
    ]


def lost(losses: list[list[float]], plan: Plan) -> float:
    return sum(row[option] for row, option in zip(losses, plan, strict=True))


def least_loss(problem: Problem, losses: list[list[float]]) -> float:
    """Return the loss of the best of all plans."""
    space = problem.space
    plans = [tuple(p) for p in product(*(range(len(c.options)) for c in space.choices))]
    totals = problem.totals(plans)
    met = [
        all(totals[name][row] <= limit for name, limit in problem.below.items())
        for row in range(len(plans))
    ]
    return min(lost(losses, plan) for plan, ok in zip(plans, met, strict=True) if ok)


def share(problem: Problem, **shares: float) -> Problem:
    """Return the problem with limits as shares of what the default plan costs."""
    totals = problem.totals([problem.space.default])
    limits = {name: value * float(totals[name][0]) for name, value in shares.items()}
    return replace(problem, below=Limits(**limits))


def pruning(**shares: float) -> Problem:
    """Return a chain of layers whose costs are products of two choices."""
    return share(Problem(prune(chain(5), KEEP), "systolic-8x8", Mid()), **shares)


@pytest.mark.parametrize("latency", [0.55, 0.7, 0.85])
def test_it_is_the_best_plan_where_costs_are_maxima_of_two_choices(latency):
    problem = share(toy_problem(length=3), latency_s=latency)
    losses = losses_of(problem)
    found = lost(losses, best_plan(problem, losses))
    assert found == pytest.approx(least_loss(problem, losses), rel=0.05)


@pytest.mark.parametrize("macs", [0.2, 0.35, 0.5, 0.65, 0.8])
def test_it_is_nearly_the_best_plan_where_costs_are_products_of_two_choices(macs):
    problem = share(Problem(prune(chain(4), KEEP), "eyeriss", Coarse()), macs=macs)
    losses = [[0.75 * (n + 1), 0.5, 0.1 * n, 0.0] for n in range(len(problem.space))]
    found = lost(losses, best_plan(problem, losses))
    assert found == pytest.approx(least_loss(problem, losses), rel=0.05)


@pytest.mark.parametrize("latency", [0.3, 0.5, 0.7])
def test_limits_are_met_by_true_costs_and_no_random_plan_is_better(latency):
    problem = pruning(latency_s=latency, energy_j=latency + 0.1)
    losses = [[1.5, 0.8, 0.3, 0.0]] * len(problem.space)
    plan = best_plan(problem, losses)
    assert not problem.below.broken(problem.costs([plan])[0].total)
    rng = random.Random(0)
    others = [problem.space.sample(rng) for _ in range(60)]
    met = [p for p in others if not problem.below.broken(problem.costs([p])[0].total)]
    assert met
    assert lost(losses, plan) <= min(lost(losses, p) for p in met)


def test_without_limits_nothing_is_given_up():
    problem = pruning()
    assert best_plan(problem, [[1, 1, 1, 0]] * len(problem.space)) == problem.space.default


def test_few_plans_are_costed(monkeypatch):
    problem, costed = pruning(latency_s=0.4), []
    whole = Problem.totals
    monkeypatch.setattr(
        Problem, "totals", lambda self, plans: costed.append(len(plans)) or whole(self, plans)
    )
    best_plan(problem, [[1.5, 0.8, 0.3, 0.0]] * len(problem.space))
    assert sum(costed) < 130  # of 256 plans


def test_limits_out_of_reach_are_said_to_be():
    problem = pruning(latency_s=0.01)
    with pytest.raises(InfeasibleError, match="No plan meets latency"):
        best_plan(problem, [[1, 1, 1, 0]] * len(problem.space))


@pytest.mark.parametrize("limit", [0.4, 0.6, 0.8])
def test_an_answer_beyond_the_limits_is_made_leaner_until_it_keeps_them(limit):
    problem = pruning(latency_s=limit)
    space = problem.space
    losses = [[1 - share for share in choice.options] for choice in space.choices]
    leanest = tuple(0 for _ in space.default)
    search = _Search(problem, losses)
    search.best, search._found, search._near = leanest, False, space.default
    search.mend()
    latency = float(problem.totals([search.best])["latency_s"][0])
    assert latency <= dict(problem.below.items())["latency_s"]
    assert lost(losses, search.best) < lost(losses, leanest)
