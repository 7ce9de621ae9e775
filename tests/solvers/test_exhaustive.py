"""The exhaustive solver."""

import pytest
from toy import ToyQuality, toy_problem

from hwflow.cost import Limits
from hwflow.errors import HwflowError
from hwflow.front import Front, Trial
from hwflow.loop import search
from hwflow.plans import distinct_plans
from hwflow.solvers.exhaustive import Exhaustive


def test_the_front_is_the_true_one() -> None:
    problem, quality = toy_problem(length=2), ToyQuality()
    trials = []
    for number, plan in enumerate(distinct_plans(problem.space)):
        total = {name: float(v[0]) for name, v in problem.totals([plan]).items()}
        trials.append(Trial(number, plan, total, quality.score(plan, problem.space.apply)))
    found = search(problem, quality, Exhaustive(batch=7))
    expected = Front.of(trials, problem.objectives)
    assert [t.plan for t in found] == [t.plan for t in expected]


def test_only_feasible_plans_are_evaluated() -> None:
    limited = toy_problem(Limits(latency_s=1.6e-3), length=2)
    asked = []
    front = search(limited, ToyQuality(), Exhaustive(), on_trial=asked.append)
    assert asked[-1].evaluated + asked[-1].infeasible == 81
    assert 0 < asked[-1].evaluated < 81
    assert all(trial.value("latency") <= 1.6e-3 for trial in front)


def test_a_large_space_is_refused() -> None:
    with pytest.raises(HwflowError, match=r"531,441 plans; .* up to 100,000.*nsga2 or random"):
        search(toy_problem(), ToyQuality(), Exhaustive())
    with pytest.raises(HwflowError, match=r"10\^20 plans"):
        search(toy_problem(length=21), ToyQuality(), Exhaustive())


def test_its_settings_do_not_change_what_it_finds() -> None:
    assert Exhaustive(seed=3).settings() == Exhaustive(batch=5).settings() == {}
