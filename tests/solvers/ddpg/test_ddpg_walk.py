"""The walk of the agent: steps, wall, repair, state, rewards."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import e, log

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import ToyCost, ToyQuality, toy_problem

from hwflow.cost import Limits
from hwflow.costs.coarse import Coarse
from hwflow.costs.mid import Mid
from hwflow.edits.prune import prune
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.front import Trial
from hwflow.models import load
from hwflow.problem import Problem
from hwflow.reach import leanest_plan
from hwflow.solvers.ddpg.environment import EXECUTED, Walk
from hwflow.solvers.ddpg.rewards import Reward
from hwflow.solvers.ddpg.state import State
from hwflow.solvers.ddpg.wall import Wall
from hwflow.solvers.steps import steps_of
from hwflow.space import Plan
from hwflow.testing.toy import toy_problem as deep_problem

TIGHT = Limits(latency_s=1.0e-2)


class Asked:
    """An `evaluate` with the toy quality that keeps what it was asked for."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.plans: list[Plan] = []

    def __call__(self, plans: list[Plan]) -> list[Trial]:
        self.plans += plans
        return [self._trial(plan) for plan in plans]

    def _trial(self, plan: Plan) -> Trial:
        total = {name: float(v[0]) for name, v in self.problem.totals([plan]).items()}
        quality = ToyQuality().score(plan, self.problem.space.apply)
        return Trial(0, plan, total, None if self.problem.below.broken(total) else quality)


def walk_of(problem: Problem, **settings: object) -> tuple[Walk, Asked]:
    door = Asked(problem)
    reward = Reward.of("accuracy", problem, -0.07)
    return Walk(problem, steps_of(problem), door, reward, **settings), door  # type: ignore[arg-type]


def walked(walk: Walk, actions: list[float]) -> tuple[float, np.ndarray]:
    """Walk one episode; return its reward and the executed actions."""
    walk.reset()
    for action in actions:
        _, reward, done, _, info = walk.step(np.array([action], np.float32))
    assert done
    return reward, info[EXECUTED]


def test_steps_follow_the_layers_and_take_weights_before_what_they_write() -> None:
    names = [step.choice.name for step in steps_of(toy_problem(length=3))]
    assert names == [
        "weight_bits:conv0", "output_bits:conv0", "weight_bits:conv1", "output_bits:conv1",
        "weight_bits:conv2", "output_bits:conv2",
    ]  # fmt: skip


def test_a_choice_of_one_option_is_no_step() -> None:
    assert steps_of(toy_problem(options=(8,))) == ()


def test_actions_are_shared_out_equally_and_ranks_come_back() -> None:
    step = steps_of(toy_problem())[0]
    assert [step.rank(a) for a in (0.0, 0.33, 0.34, 0.66, 0.67, 1.0)] == [0, 0, 1, 1, 2, 2]
    assert all(step.rank(step.action(rank)) == rank for rank in range(step.options))


def test_options_run_from_lean_to_rich() -> None:
    step = steps_of(toy_problem(options=(8, 2, 4)))[0]
    assert [step.choice.options[index] for index in step.order] == [2, 4, 8]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=12, max_size=12), st.floats(0.0, 1.0))
def test_the_wall_lets_no_plan_through_that_breaks_a_limit(
    actions: list[float], share: float
) -> None:
    space = toy_problem().space
    lean, full = toy_problem().totals([(0,) * len(space), space.default])["latency_s"].tolist()
    problem = toy_problem(Limits(latency_s=(lean + share * (full - lean)) * 1.0000001))
    walk, door = walk_of(problem)
    walked(walk, actions)
    assert not problem.below.broken(problem.costs(door.plans)[0].total)


def test_the_wall_leaves_alone_what_fits() -> None:
    problem = toy_problem(Limits(latency_s=1.0))
    walk, door = walk_of(problem)
    _, executed = walked(walk, [1.0] * 12)
    assert door.plans == [problem.space.default]
    assert executed.max() == executed.min() == 1.0


def test_the_wall_gives_the_richest_option_that_is_allowed() -> None:
    problem = toy_problem(TIGHT)
    steps = steps_of(problem)
    wall = Wall(problem, steps)
    plan = problem.space.default
    for number, step in enumerate(steps):
        rank = wall.clip(plan, number, step.options - 1)
        richer = [r for r in range(rank + 1, step.options) if wall._allows(plan, number, r)]
        assert not richer
        plan = (*plan[: step.place], step.option(rank), *plan[step.place + 1 :])
    assert wall.meets(plan)


def test_executed_actions_are_those_of_the_clipped_options() -> None:
    problem = toy_problem(TIGHT)
    walk, door = walk_of(problem)
    _, executed = walked(walk, [1.0] * 12)
    steps = steps_of(problem)
    ranks = [step.rank((float(a) + 1) / 2) for step, a in zip(steps, executed[:, 0], strict=True)]
    plan = list(problem.space.default)
    for step, rank in zip(steps, ranks, strict=True):
        plan[step.place] = step.option(rank)
    assert tuple(plan) == door.plans[0] != problem.space.default


def test_the_repair_of_haq_lowers_from_the_last_step_on() -> None:
    problem = toy_problem(TIGHT)
    steps = steps_of(problem)
    wall = Wall(problem, steps)
    lowered = wall.lower(problem.space.default)
    assert wall.meets(lowered)
    drops = [problem.space.default[s.place] - lowered[s.place] for s in steps]
    assert all(later >= earlier for earlier, later in pairwise(drops))
    assert max(drops) - min(drops) <= 1


def test_a_repaired_episode_stores_what_was_carried_out() -> None:
    problem = toy_problem(TIGHT)
    walk, door = walk_of(problem, repair="backwards")
    _, executed = walked(walk, [1.0] * 12)
    assert not problem.below.broken(problem.costs(door.plans)[0].total)
    assert executed.min() < 1.0


def test_without_repair_a_plan_beyond_limits_is_worth_the_least_seen() -> None:
    problem = toy_problem(TIGHT)
    walk, _ = walk_of(problem, repair="none")
    good, _ = walked(walk, [-1.0] * 12)
    beyond, _ = walked(walk, [1.0] * 12)
    assert beyond == good


def test_the_environment_keeps_the_rules_of_gymnasium() -> None:
    walk, _ = walk_of(deep_problem(Mid()))
    check_env(walk, skip_render_check=True)


def test_nothing_leaks_from_one_episode_into_the_next() -> None:
    walk, _ = walk_of(toy_problem(TIGHT))
    first = [walk.reset()[0], *(walk.step(np.array([0.3], np.float32))[0] for _ in range(12))]
    second = [walk.reset()[0], *(walk.step(np.array([0.3], np.float32))[0] for _ in range(12))]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_state_tells_what_was_saved_and_what_is_left() -> None:
    problem = toy_problem()
    state = State(problem, steps_of(problem))
    start = state.of(problem.space.default, 0, 1.0)
    leaner = tuple(0 if place < 6 else 2 for place in range(12))
    later = state.of(leaner, 11, 0.0)
    latency = 10 + 3  # after what no level needs: shares of latency here, saved, left
    assert start[latency + 1] == pytest.approx(0)
    assert later[latency + 1] == pytest.approx(1 - _share(problem, leaner, "latency_s"))
    assert start[latency + 2] == pytest.approx(1)
    assert later[latency + 2] < start[latency + 2]


def test_the_state_tells_bits_of_a_weight_from_those_of_a_tensor() -> None:
    problem = toy_problem(length=3)
    steps = steps_of(problem)
    state = State(problem, steps, hardware=False)
    seen = [state.of(problem.space.default, number, 1.0)[9] for number in range(len(steps))]
    assert seen == [1.0, 0.0] * 3


def _share(problem: Problem, plan: Plan, name: str) -> float:
    totals = problem.totals([plan, problem.space.default])[name]
    return float(totals[0] / totals[1])


@pytest.fixture(scope="module")
def branches() -> Problem:
    """A residual network with branches that can be left out, of bottlenecks: groups inside."""
    workload = extract(load("torchvision:resnet50", input_shape=(3, 32, 32)))
    space = prune(workload, (0.25, 0.5), branches=True)
    return Problem(space, "eyeriss", Coarse(), Limits(), ("accuracy",))


def test_entries_are_those_of_the_layers_by_name_once_a_branch_is_left_out(
    branches: Problem,
) -> None:
    steps, space = steps_of(branches), branches.space
    first = next(step for step in steps if 0.0 in step.choice.options)
    plan = space.canonical(
        (*space.default[: first.place], first.option(0), *space.default[first.place + 1 :])
    )
    left = {layer.name: layer.values for layer in branches.costs([plan])[0].layers}
    state = State(branches, steps)
    cost = state._cost(plan)
    for step in steps:
        names = [space.workload.layers[place].name for place in step.layers]
        expected = sum(left[name]["bit_ops"] for name in names if name in left)
        assert state._at(cost, step.layers, "bit_ops") == expected
    assert state._at(cost, first.layers[:1], "bit_ops") == 0


def test_the_wall_judges_a_branch_that_stays_by_its_leanest_groups(branches: Problem) -> None:
    """The leanest plan leaves the branch out; groups inside must not count in full then."""
    steps, space = steps_of(branches), branches.space
    lean = leanest_plan(replace(branches, below=Limits(params=1.0)))
    number = next(n for n, step in enumerate(steps) if 0.0 in step.choice.options)
    stays, kept = steps[number], list(lean)
    kept[stays.place] = stays.option(1)
    for step in steps[number + 1 :]:
        if step.choice.only_if and step.choice.only_if[0] == stays.choice.name:
            kept[step.place] = step.option(0)
    needed = branches.totals([space.canonical(kept)])["params"][0]
    wall = Wall(replace(branches, below=Limits(params=float(needed))), steps)
    decided = {step.place: lean[step.place] for step in steps[:number]}
    plan = tuple(decided.get(place, index) for place, index in enumerate(space.default))
    assert wall.clip(plan, number, 1) == 1


def test_hardware_entries_come_from_the_level_and_can_be_left_out() -> None:
    problem = replace(deep_problem(Mid()), below=Limits())
    steps = steps_of(problem)
    with_them, without = State(problem, steps), State(problem, steps, hardware=False)
    assert with_them.size == without.size + 3 * 3 + 3
    plan = problem.space.default
    seen = with_them.of(plan, 0, 1.0)
    assert np.array_equal(seen[: without.size], without.of(plan, 0, 1.0))
    utilisation = seen[-3]
    assert 0 < utilisation <= 1


def test_the_derivative_is_the_latency_that_one_option_less_saves() -> None:
    problem = toy_problem()
    steps = steps_of(problem)
    plan = problem.space.default
    leaner = (1, *plan[1:])
    saved = 1 - _share(problem, leaner, "latency_s")
    assert State(problem, steps).of(plan, 0, 1.0)[-1] == pytest.approx(saved * len(steps))


def test_rewards_follow_their_formulas() -> None:
    problem = toy_problem(TIGHT)
    trial = Trial(0, problem.space.default, {"latency_s": 2e-2}, 0.9)
    value = {
        kind: Reward.of(kind, problem, -0.07)(trial)
        for kind in ("accuracy", "points", "product", "log")
    }
    assert value["accuracy"] == 0.9
    assert value["points"] == pytest.approx(0.1 * 90)
    assert value["product"] == pytest.approx(0.9 * 2**-0.07)
    assert value["log"] == pytest.approx(-0.1 * log(2e7))
    tiny = Trial(0, problem.space.default, {"latency_s": 0.0}, 0.9)
    assert Reward.of("log", problem, -0.07)(tiny) == pytest.approx(-0.1 * log(e))


def test_an_unevaluated_trial_has_no_reward() -> None:
    problem = toy_problem(TIGHT)
    assert Reward.of("accuracy", problem, -0.07)(Trial(0, (), {"latency_s": 1.0}, None)) is None


def test_an_unknown_reward_is_refused_with_the_known_ones() -> None:
    with pytest.raises(HwflowError, match="accuracy"):
        Reward.of("speed", toy_problem(), -0.07)  # type: ignore[arg-type]


def test_choices_that_change_nothing_have_a_state_too() -> None:
    problem = Problem(toy_problem().space, "eyeriss", ToyCost())
    steps = tuple(replace(step, layers=()) for step in steps_of(problem))
    assert np.isfinite(State(problem, steps).of(problem.space.default, 0, 1.0)).all()
