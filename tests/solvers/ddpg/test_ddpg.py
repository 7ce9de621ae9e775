"""The agent: learns, repeats itself, resumes, and leaves the world as it was."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import ToyQuality, toy_problem

from hwflow.cost import Limits
from hwflow.errors import HwflowError
from hwflow.loop import Progress, search
from hwflow.solvers.ddpg import DDPG
from hwflow.solvers.ddpg.environment import EXECUTED, Walk
from hwflow.solvers.ddpg.learner import Exploration, learner
from hwflow.solvers.ddpg.replay import EpisodeReplay
from hwflow.solvers.ddpg.rewards import Reward
from hwflow.solvers.steps import steps_of
from hwflow.testing import check_solver

SMALL = {"hidden": (16, 16), "warmup": 4, "batch": 8}
TIGHT = Limits(latency_s=1.2e-2)


def small(seed: int = 0, **settings: object) -> DDPG:
    return DDPG(seed=seed, **{**SMALL, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize("agent", ["ddpg", "td3", "sac"])
def test_it_keeps_the_rules_for_solvers(agent: str) -> None:
    check_solver(lambda seed: small(seed, agent=agent), evaluations=12)


def test_a_stopped_search_goes_on_to_the_same_front(tmp_path: Path) -> None:
    problem = toy_problem(TIGHT, length=3)
    whole = search(problem, ToyQuality(noise=0.01), small(3), tmp_path / "a", evaluations=16)
    search(problem, ToyQuality(noise=0.01), small(3), tmp_path / "b", evaluations=7)
    gone_on = search(problem, ToyQuality(noise=0.01), small(3), tmp_path / "b", evaluations=16)
    assert [(t.plan, t.quality) for t in gone_on.trials] == [
        (t.plan, t.quality) for t in whole.trials
    ]


def test_an_agent_of_another_generation_does_not_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = toy_problem(TIGHT, length=3)
    search(problem, ToyQuality(), small(3), tmp_path / "a", evaluations=12)
    monkeypatch.setattr("hwflow.solvers.ddpg.GENERATION", 0)
    with pytest.raises(HwflowError, match="solver"):
        search(problem, ToyQuality(), small(3), tmp_path / "a", evaluations=14)


def test_it_keeps_limits_without_wasted_plans(tmp_path: Path) -> None:
    problem = toy_problem(TIGHT, length=3)
    front = search(problem, ToyQuality(), small(), tmp_path / "run", evaluations=15)
    assert all(trial.total["latency_s"] <= 1.2e-2 for trial in front.trials)


@pytest.mark.filterwarnings("ignore:The agent has learnt nothing")
def test_it_writes_nothing_beside_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    search(toy_problem(length=2), ToyQuality(), small(), evaluations=6)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.filterwarnings("ignore:The agent has learnt nothing")
def test_generators_and_threads_are_left_as_they_were() -> None:
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    search(toy_problem(length=2), ToyQuality(), small(), evaluations=6)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert torch.get_num_threads() == 2


def test_learning_moves_the_agent_towards_what_is_rewarded() -> None:
    """Rich options are worth more here; the agent's actions must grow."""
    problem = toy_problem(length=2)
    steps = steps_of(problem)
    walk = Walk(problem, steps, _door(problem), Reward.of("accuracy", problem, -0.07))
    agent = _agent(walk, warmup=40)
    before = _mean_action(agent, walk)
    agent.learn(160 * len(steps), log_interval=None)
    assert _mean_action(agent, walk) > max(before, 0.2)


def _door(problem):  # type: ignore[no-untyped-def]
    from test_ddpg_walk import Asked

    return Asked(problem)


def _agent(walk: Walk, warmup: int):  # type: ignore[no-untyped-def]
    return learner(
        "ddpg", walk, Exploration(warmup, 0.3, 0.97), seed=0, hidden=(32, 32), actor_rate=1e-3,
        critic_rate=3e-3, replay=2000, batch=32, tau=0.02, discount=1.0,
    )  # fmt: skip


def _mean_action(agent, walk: Walk) -> float:  # type: ignore[no-untyped-def]
    state, _ = walk.reset()
    chosen = []
    for _ in walk.steps:
        action, _ = agent.predict(state, deterministic=True)
        chosen.append(float(action[0]))
        state, *_ = walk.step(action)
    return float(np.mean(chosen))


def test_rates_of_actor_and_critic_are_those_asked_for() -> None:
    problem = toy_problem(length=2)
    walk = Walk(problem, steps_of(problem), _door(problem), Reward.of("accuracy", problem, -0.07))
    agent = _agent(walk, warmup=2)
    agent.learn(4 * len(walk.steps), log_interval=None)
    assert agent.actor.optimizer.param_groups[0]["lr"] == 1e-3
    assert agent.critic.optimizer.param_groups[0]["lr"] == 3e-3


def test_the_buffer_holds_an_episode_back_and_rewards_every_step() -> None:
    walk_space = _agent(_walk(), warmup=2)
    buffer = EpisodeReplay(20, walk_space.observation_space, walk_space.action_space, "cpu")
    state = np.zeros((1, *walk_space.observation_space.shape), np.float32)
    for index in range(3):
        done = index == 2
        executed = np.array([[-0.5], [0.0], [0.5]], np.float32)
        info = {EXECUTED: executed} if done else {}
        buffer.add(state, state, np.ones((1, 1)), np.array([0.7 * done]), np.array([done]), [info])
        assert buffer.size() == (3 if done else 0)
    assert buffer.actions[:3, 0, 0].tolist() == [-0.5, 0.0, 0.5]
    assert buffer.rewards[:3, 0] == pytest.approx([0.7] * 3)
    assert buffer.dones[:3, 0].tolist() == [0.0, 0.0, 1.0]


def _walk() -> Walk:
    problem = toy_problem(length=2)
    return Walk(problem, steps_of(problem), _door(problem), Reward.of("accuracy", problem, -0.07))


def test_sampled_rewards_are_less_their_moving_average() -> None:
    agent = _agent(_walk(), warmup=2)
    agent.learn(3 * len(agent.env.envs[0].unwrapped.steps), log_interval=None)
    np.random.seed(0)
    agent.replay_buffer._baseline = None
    first = agent.replay_buffer.sample(16).rewards
    assert float(first.mean()) == pytest.approx(0, abs=1e-6)


def test_the_moving_average_keeps_half_of_itself() -> None:
    agent = _agent(_walk(), warmup=2)
    agent.learn(3 * len(agent.env.envs[0].unwrapped.steps), log_interval=None)
    buffer = agent.replay_buffer
    buffer._baseline = 4.0
    rewards = buffer.sample(16).rewards
    mean = float(rewards.mean()) + buffer._baseline
    assert buffer._baseline == pytest.approx((4.0 + mean) / 2)


def test_noise_narrows_after_the_warm_up() -> None:
    exploring = Exploration(warmup=10, sigma=0.5, decay=0.95)
    assert exploring.width(3) == exploring.width(10) == 1.0
    assert exploring.width(11) == pytest.approx(0.95)
    assert exploring.width(200) < 1e-4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"warmup": -1}, "warmup must be 0 or more"),
        ({"tau": 2.0}, "tau lies from 0 to 1"),
        ({"sigma": -1.0}, "sigma is a width"),
        ({"sigma": nan}, "sigma is a width"),
        ({"sigma": inf}, "sigma is a width"),
        ({"step_price": nan}, "step_price is 0 or more"),
        ({"exponent": nan}, "exponent is a number"),
        ({"actor_rate": 0.0}, "actor_rate is a learning rate above 0"),
        ({"critic_rate": nan}, "critic_rate is a learning rate above 0"),
        ({"critic_rate": inf}, "critic_rate is a learning rate above 0"),
        ({"hidden": (64, 0)}, r"each 1 or more, not \(64, 0\)"),
        ({"hidden": ()}, "each 1 or more"),
        ({"seed": -1}, "seed is a whole number from 0"),
        ({"seed": 2**32}, "seed is a whole number from 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(HwflowError, match=words):
        DDPG(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["agent", "repair", "reward"])
def test_unknown_names_are_refused_with_the_known_ones(key: str) -> None:
    with pytest.raises(HwflowError, match=f"Unknown {key} 'nonsense'.*Known"):
        small(**{key: "nonsense"})


def test_a_run_within_its_warm_up_says_that_nothing_was_learnt() -> None:
    problem = toy_problem(length=3)
    with pytest.warns(UserWarning, match=r"learnt nothing: it learns after 100 episodes.*warmup"):
        search(problem, ToyQuality(), DDPG(hidden=(8, 8)), evaluations=8)
    search(problem, ToyQuality(), small(), evaluations=9)  # silent


def test_a_run_that_is_interrupted_says_nothing_of_it() -> None:
    def stop(progress: Progress) -> None:
        if progress.evaluated == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(toy_problem(length=3), ToyQuality(), small(), evaluations=9, on_trial=stop)


def test_its_settings_are_all_that_decides() -> None:
    plain = small(5, step_price=0.1).settings()
    assert plain["seed"] == 5
    assert set(plain) == set(asdict(small(5))) - {"keep", "losses"} | {"generation"}
    assert plain["hidden"] == [16, 16]
