"""Random search."""

import random
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_plans import DEPENDENT
from toy import ToyQuality, facts, toy_problem

from hwflow.loop import search
from hwflow.solvers.random import Random, shuffled_plans

SMALL, LARGE = toy_problem(length=2).space, toy_problem(length=8).space


@given(st.integers(0, 2**32))
def test_a_small_space_is_gone_through_once(seed: int) -> None:
    plans = list(shuffled_plans(SMALL, random.Random(seed)))
    assert len(plans) == len(set(plans)) == 81


def test_no_plan_of_a_large_space_comes_twice() -> None:
    plans = list(islice(shuffled_plans(LARGE, random.Random(0)), 5000))
    assert len(set(plans)) == 5000
    assert LARGE.check(plans[0]) == plans[0]


def test_every_option_has_its_share() -> None:
    plans = list(islice(shuffled_plans(LARGE, random.Random(1)), 3000))
    for place in range(len(LARGE)):
        counts = [sum(plan[place] == option for plan in plans) for option in range(3)]
        assert min(counts) > 850


def test_a_space_whose_distinct_plans_run_out_comes_to_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hwflow.solvers.random.ENUMERABLE", 5)  # as if it were a large one
    plans = list(shuffled_plans(DEPENDENT, random.Random(0)))
    assert len(plans) == len(set(plans)) == 8


def test_the_seed_decides() -> None:
    problem, quality = toy_problem(), ToyQuality()
    one, same, other = (
        facts(search(problem, quality, Random(seed=seed), evaluations=40).trials)
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_the_batch_changes_nothing() -> None:
    problem, quality = toy_problem(), ToyQuality()
    small, large = (
        facts(search(problem, quality, Random(batch=batch), evaluations=40).trials)
        for batch in (3, 64)
    )
    assert small == large
    assert Random(batch=3).settings() == Random(batch=64).settings() == {"seed": 0}
