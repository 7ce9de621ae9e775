"""A choice that costs nothing on paper: how long to train. The agent's last step, at a price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from toy import ToyCost, ToyQuality, toy_problem

from hwflow.cost import Limits
from hwflow.design import Design
from hwflow.errors import HwflowError
from hwflow.front import Trial
from hwflow.loop import search
from hwflow.network import Network
from hwflow.problem import Problem
from hwflow.solvers import Solver
from hwflow.solvers.ddpg import DDPG
from hwflow.solvers.ddpg.environment import Walk
from hwflow.solvers.ddpg.rewards import Reward
from hwflow.solvers.ddpg.state import State
from hwflow.solvers.ddpg.wall import Wall
from hwflow.solvers.greedy import Greedy
from hwflow.solvers.milp import MILP
from hwflow.solvers.nsga2 import NSGA2
from hwflow.solvers.random import Random
from hwflow.solvers.steps import steps_of
from hwflow.solvers.uniform import Uniform
from hwflow.space import Choice, Plan, Space, Value

TIGHT = Limits(latency_s=1.2e-2)
LENGTHS = (0, 50, 200)


@dataclass(frozen=True)
class Trained:
    """Training as an edit, without any."""

    def on_paper(self, design: Design) -> Design:
        return design

    def in_network(self, network: Network) -> Network:
        return network


@dataclass(frozen=True)
class LengthPart:
    """How long to train."""

    kind = "finetune"
    choices: tuple[Choice, ...] = (Choice("finetune:steps", LENGTHS),)

    def edit(self, values: Mapping[str, Value]) -> Trained:
        return Trained()


def problem_of(below: Limits = TIGHT, length: int = 3) -> Problem:
    """Return the problem in miniature with the length of training as one more choice."""
    toy = toy_problem(length=length).space
    return Problem(Space(toy.workload, (LengthPart(), *toy.parts)), "eyeriss", ToyCost(), below)


def small(seed: int = 0, **settings: object) -> DDPG:
    return DDPG(seed=seed, hidden=(16, 16), warmup=4, batch=8, **settings)  # type: ignore[arg-type]


def test_the_length_is_the_last_step_and_the_only_free_one() -> None:
    *others, last = steps_of(problem_of())
    assert last.choice.name == "finetune:steps"
    assert [last.choice.options[index] for index in last.order] == list(LENGTHS)
    assert last.layers == ()
    assert last.free
    assert not any(step.free or not step.layers for step in others)


def test_the_agent_sees_the_last_step_as_a_kind_of_its_own() -> None:
    problem = problem_of()
    steps = steps_of(problem)
    state = State(problem, steps)
    rows = [state.of(problem.space.default, number, 1.0) for number in range(len(steps))]
    kinds = [row[1] for row in rows]
    assert np.isfinite(rows).all()
    assert kinds[-1] > max(kinds[:-1]) > 0


def test_kinds_keep_the_numbers_that_earlier_agents_learnt() -> None:
    problem = toy_problem()
    assert State(problem, steps_of(problem)).of(problem.space.default, 0, 1.0)[1] == 0.8


def test_limits_leave_the_length_alone() -> None:
    default = problem_of(Limits())
    whole = float(default.totals([default.space.default])["latency_s"][0])
    problem = problem_of(Limits(latency_s=whole / 2))
    steps = steps_of(problem)
    wall = Wall(problem, steps)
    richest = (*problem.space.default[:-1], len(LENGTHS) - 1)
    lowered = wall.lower(richest)
    assert lowered[:-1] != richest[:-1]
    assert lowered[-1] == len(LENGTHS) - 1
    assert wall.meets(lowered)
    assert wall.clip(lowered, len(steps) - 1, 2) == 2


def test_a_price_makes_long_training_worth_less_in_proportion() -> None:
    problem = problem_of()
    free, priced = (Reward.of("accuracy", problem, -0.07, price) for price in (0.0, 0.1))
    plans = [(*problem.space.default[:-1], option) for option in range(len(LENGTHS))]
    trials = [Trial(0, plan, {"latency_s": 1e-2}, 0.9) for plan in plans]
    assert [free(trial) for trial in trials] == [0.9] * 3
    assert [priced(trial) for trial in trials] == pytest.approx([0.9, 0.875, 0.8])
    product = Reward.of("product", problem, -0.07, 0.1)(trials[2])
    assert product == pytest.approx(0.9 * (1e-2 / 1.2e-2) ** -0.07 - 0.1)


def test_a_price_that_cannot_be_paid_is_refused() -> None:
    with pytest.raises(HwflowError, match="this space has none to choose"):
        Reward.of("accuracy", toy_problem(), -0.07, 0.1)
    with pytest.raises(HwflowError, match="step_price is 0 or more"):
        DDPG(step_price=-0.1)


def test_runs_from_before_there_was_a_price_go_on() -> None:
    assert "step_price" not in DDPG().settings()
    assert DDPG(step_price=0.1).settings()["step_price"] == 0.1


def test_the_walk_pays_for_the_training_it_asks_for() -> None:
    problem = problem_of(Limits())
    steps = steps_of(problem)

    def evaluate(plans: Sequence[Plan]) -> list[Trial]:
        return [Trial(0, plan, {"latency_s": 1.0}, 0.9) for plan in plans]

    walk = Walk(problem, steps, evaluate, Reward.of("accuracy", problem, -0.07, 0.2))  # type: ignore[arg-type]
    worth = []
    for last in (-1.0, 0.0, 1.0):
        walk.reset()
        ends = [walk.step(np.array([a], np.float32)) for a in [1.0] * (len(steps) - 1) + [last]]
        worth.append(ends[-1][1])
    assert worth == pytest.approx([0.9, 0.85, 0.7])


@pytest.mark.filterwarnings("ignore:The agent has learnt nothing")
def test_a_stopped_search_with_a_price_goes_on_to_the_same_trials(tmp_path: Path) -> None:
    solver, quality = small(3, step_price=0.05), ToyQuality(noise=0.01)
    whole = search(problem_of(), quality, solver, tmp_path / "a", evaluations=14)
    search(problem_of(), quality, solver, tmp_path / "b", evaluations=6)
    gone_on = search(problem_of(), quality, solver, tmp_path / "b", evaluations=14)
    assert [(t.plan, t.quality) for t in gone_on.trials] == [
        (t.plan, t.quality) for t in whole.trials
    ]


@pytest.mark.parametrize("solver", [
    Random(seed=0), NSGA2(seed=0, population=10), MILP(), Uniform(), small(),
])  # fmt: skip
def test_every_solver_finds_that_training_helps_and_costs_nothing(solver: Solver) -> None:
    front = search(problem_of(), ToyQuality(), solver, evaluations=40)
    best = front.pick("most accurate")
    assert best.plan[-1] > 0
    assert best.total["latency_s"] <= 1.2e-2


def test_greedy_only_ever_saves_so_that_it_never_trains() -> None:
    front = search(problem_of(), ToyQuality(), Greedy(), evaluations=40)
    assert {trial.plan[-1] for trial in front} == {0}
