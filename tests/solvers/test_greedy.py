"""Greedy descent and uniform plans: the simplest baselines."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy import ToyQuality, toy_problem

from hwflow.cost import Limits
from hwflow.costs.coarse import Coarse
from hwflow.edits.prune import prune
from hwflow.errors import InfeasibleError
from hwflow.extract import extract
from hwflow.loop import search
from hwflow.models import load
from hwflow.problem import Problem
from hwflow.solvers.exhaustive import Exhaustive
from hwflow.solvers.greedy import Greedy
from hwflow.solvers.random import Random
from hwflow.solvers.uniform import Uniform
from hwflow.space import Plan
from hwflow.study import Study

TIGHT = Limits(latency_s=1.2e-2)


def best(problem: Problem, solver: object, evaluations: int | None = None) -> float:
    front = search(problem, ToyQuality(), solver, evaluations=evaluations)  # type: ignore[arg-type]
    return max(trial.quality or 0.0 for trial in front)


def test_greedy_comes_near_the_best_plan_with_few_evaluations() -> None:
    problem = toy_problem(TIGHT, length=3)
    optimum = best(problem, Exhaustive())
    assert best(problem, Greedy(), evaluations=60) >= optimum - 0.02


def test_greedy_beats_random_search_at_equal_evaluations() -> None:
    problem = toy_problem(TIGHT)
    assert best(problem, Greedy(), 60) > best(problem, Random(seed=0), 60)


class Steady:
    """A quality that each choice made leaner raises by `gain`; keeps what it was asked for."""

    name = "steady"
    repeatable = True

    def __init__(self, gain: float) -> None:
        self.gain = gain
        self.asked: list[Plan] = []

    def score(self, plan: Plan, build: object) -> float:
        self.asked.append(plan)
        return 0.5 + self.gain * plan.count(0)

    def digest(self) -> str:
        return f"steady {self.gain}"


@pytest.mark.parametrize("gain", [0.0, 0.002])
def test_of_steps_that_lose_nothing_the_one_that_saves_most_is_made(gain: float) -> None:
    workload = extract(load("cifar:resnet8", input_shape=(1, 8, 8)))
    space = prune(workload, (0.5,))
    problem = Problem(space, "eyeriss", Coarse(), Limits(), ("accuracy", "macs"))
    quality = Steady(gain)
    search(problem, quality, Greedy())
    singles = quality.asked[1 : 1 + len(space)]
    assert [plan.count(0) for plan in singles] == [1] * len(space)
    first = singles[problem.totals(singles)["macs"].argmin()].index(0)
    assert all(plan[first] == 0 for plan in quality.asked[1 + len(space) :])


def test_greedy_probes_the_original_network_beyond_the_limits(tmp_path: Path) -> None:
    problem = toy_problem(TIGHT)
    search(problem, ToyQuality(), Greedy(), tmp_path / "run", evaluations=40)
    with Study.read(tmp_path / "run") as study:
        original = study[problem.space.default]
    assert original.quality is not None
    assert original.infeasible


def test_greedy_ends_at_a_plan_that_no_step_makes_cheaper(tmp_path: Path) -> None:
    problem = toy_problem(length=2)
    front = search(problem, ToyQuality(), Greedy(), tmp_path / "run")
    cheapest = min(float(t.total["energy_j"]) for t in front)
    totals = problem.totals([(0,) * len(problem.space)])
    assert cheapest == pytest.approx(float(totals["energy_j"][0]))


def test_greedy_resumes_to_the_same_trials(tmp_path: Path) -> None:
    problem = toy_problem(TIGHT, length=3)
    noisy = ToyQuality(noise=0.01)
    search(problem, noisy, Greedy(), tmp_path / "whole", evaluations=30)
    search(problem, noisy, Greedy(), tmp_path / "parts", evaluations=17)
    search(problem, noisy, Greedy(), tmp_path / "parts", evaluations=30)
    with Study.read(tmp_path / "whole") as whole, Study.read(tmp_path / "parts") as parts:
        assert [(t.plan, t.quality) for t in whole.trials()] == [
            (t.plan, t.quality) for t in parts.trials()
        ]


def test_uniform_asks_for_every_uniform_plan_from_rich_to_lean(tmp_path: Path) -> None:
    problem = toy_problem(length=2)
    search(problem, ToyQuality(), Uniform(), tmp_path / "run")
    with Study.read(tmp_path / "run") as study:
        plans = [trial.plan for trial in study.trials()]
    assert plans == [(2,) * 4, (1,) * 4, (0,) * 4]


def test_uniform_keeps_limits() -> None:
    front = search(toy_problem(TIGHT), ToyQuality(), Uniform())
    assert all(trial.total["latency_s"] <= 1.2e-2 for trial in front)
    with pytest.raises(InfeasibleError):
        search(toy_problem(Limits(latency_s=1e-6)), ToyQuality(), Uniform())
