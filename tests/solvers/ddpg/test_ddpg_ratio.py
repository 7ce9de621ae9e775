"""The repair by ratio: limits are met, at less loss than lowering from the last layer backwards."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import toy_problem

from hwflow.cost import Limits
from hwflow.errors import HwflowError
from hwflow.problem import Problem
from hwflow.solvers.ddpg import DDPG
from hwflow.solvers.ddpg.environment import Walk
from hwflow.solvers.ddpg.ratio import Ratio
from hwflow.solvers.ddpg.rewards import Reward
from hwflow.solvers.ddpg.wall import Wall
from hwflow.solvers.steps import steps_of

TIGHT = Limits(latency_s=1.0e-2)
WORTH = tuple(
    tuple((place * 7 % 5 + 1) * 0.004 * 2.0 ** (1 - option) for option in range(3))
    for place in range(12)
)
"""What the toy quality loses by each option."""


def lost(plan) -> float:
    return sum(row[option] for row, option in zip(WORTH, plan, strict=True))


def ratio(problem: Problem, losses=WORTH) -> Ratio:
    return Ratio(problem, steps_of(problem), losses)


@settings(deadline=None, max_examples=25)
@given(st.tuples(*[st.integers(0, 2)] * 12))
def test_any_plan_is_lowered_to_the_limits_and_none_of_its_choices_raised(plan):
    problem = toy_problem(TIGHT)
    found = ratio(problem).lower(plan)
    assert Wall(problem, steps_of(problem)).meets(found)
    assert all(after <= before for before, after in zip(plan, found, strict=True))


def test_a_plan_within_the_limits_is_left_as_it_is():
    problem = toy_problem(TIGHT)
    plan = (0,) * 12
    assert ratio(problem).lower(plan) == plan


def test_it_loses_less_than_lowering_from_the_last_layer_backwards():
    problem = toy_problem(TIGHT)
    start = problem.space.default
    backwards = Wall(problem, steps_of(problem)).lower(start)
    assert lost(ratio(problem).lower(start)) < 0.8 * lost(backwards)


def test_on_a_small_problem_it_comes_near_the_best_of_all_plans():
    plans, rows = list(product(range(3), repeat=6)), WORTH[:6]
    latency = toy_problem(length=3).totals(plans)["latency_s"]
    limit = float(np.median(latency))
    problem = toy_problem(Limits(latency_s=limit), length=3)
    worth = np.array([sum(r[o] for r, o in zip(rows, p, strict=True)) for p in plans])
    found = ratio(problem, rows).lower(problem.space.default)
    assert worth[plans.index(found)] <= np.quantile(worth[latency <= limit], 0.1)


def test_two_operands_are_lowered_together_where_one_alone_saves_nothing():
    problem = toy_problem(TIGHT)  # as slow as the wider operand
    steps = steps_of(problem)
    single = [
        problem.space.canonical((*p[:i], 0, *p[i + 1 :]))
        for p in [problem.space.default]
        for i in range(12)
    ]
    latency = problem.totals([problem.space.default, *single])["latency_s"]
    assert (latency[2:6] == latency[0]).all()
    assert Wall(problem, steps).meets(ratio(problem, ()).lower(problem.space.default))


def test_several_limits_are_met_together():
    problem = toy_problem(Limits(latency_s=1.2e-2, energy_j=4.0e-5))
    found = ratio(problem).lower(problem.space.default)
    assert not problem.below.broken({n: float(v[0]) for n, v in problem.totals([found]).items()})


def test_the_walk_executes_what_the_repair_made_of_it():
    problem = toy_problem(TIGHT)
    reward = Reward.of("accuracy", problem, -0.07)
    seen = []

    def evaluate(plans):
        from hwflow.front import Trial

        seen.extend(plans)
        return [Trial(0, plan, {}, 0.5) for plan in plans]

    walk = Walk(problem, steps_of(problem), evaluate, reward, repair="ratio", losses=WORTH)
    walk.reset()
    for _ in walk.steps:
        *_, done, _, information = walk.step(np.array([1.0], np.float32))
    assert done
    assert seen == [ratio(problem).lower(problem.space.default)]
    executed = (information["executed_action"][:, 0] + 1) / 2
    ranks = [s.rank(float(a)) for s, a in zip(walk.steps, executed, strict=True)]
    options = {s.place: s.option(r) for s, r in zip(walk.steps, ranks, strict=True)}
    assert tuple(options[place] for place in range(12)) == seen[0]


def test_losses_that_do_not_fit_the_space_are_refused():
    with pytest.raises(HwflowError, match=r"2 rows.*12 choices"):
        ratio(toy_problem(TIGHT), ((0.0,), (0.0,)))


def test_settings_name_the_losses_and_are_as_before_without():
    assert "losses" not in DDPG().settings()
    assert DDPG(repair="ratio", losses=((1.0, 0.0),)).settings()["losses"] == [[1.0, 0.0]]
