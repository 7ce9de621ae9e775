"""The agents: Stable-Baselines3's DDPG, TD3 and SAC with the exploration of AMC.

Warm-up counts episodes: random actions until then. Afterwards the deterministic agents add noise
from a normal distribution truncated to the allowed actions, whose width shrinks with every episode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import truncnorm
from stable_baselines3 import DDPG, SAC, TD3
from stable_baselines3.common.logger import Logger

from hwflow.solvers.ddpg import AgentName
from hwflow.solvers.ddpg.environment import Walk
from hwflow.solvers.ddpg.replay import EpisodeReplay

STALE = 5
"""Episodes in a row without a new plan after which one is walked at random."""


@dataclass(frozen=True)
class Exploration:
    """How an agent tries out what it does not yet believe in."""

    warmup: int
    """Episodes of random actions."""
    sigma: float
    """Width of the noise on actions in [0, 1] after the warm-up."""
    decay: float
    """Factor on the width with every later episode."""

    def width(self, episode: int) -> float:
        """Return the width of the noise in an episode, on actions in [-1, 1]."""
        return float(2 * self.sigma * self.decay ** max(0, episode - self.warmup))


def learner(
    name: AgentName,
    walk: Walk,
    exploring: Exploration,
    *,
    seed: int,
    hidden: tuple[int, ...],
    actor_rate: float,
    critic_rate: float,
    replay: int,
    batch: int,
    tau: float,
    discount: float,
    first: Sequence[Sequence[float]] = (),
) -> Any:
    """Return an agent for a walk; `replay` counts steps kept, rates are those of Adam.

    `first` are the actions, in [0, 1], of the episodes before the warm-up.
    """
    kind = {"ddpg": DDPG, "td3": TD3, "sac": SAC}[name]
    made = _exploring(kind, walk, exploring, seed, first)
    agent = made(
        "MlpPolicy", walk, learning_rate=critic_rate, buffer_size=replay, batch_size=batch,
        learning_starts=(len(first) + exploring.warmup) * len(walk.steps), tau=tau, gamma=discount,
        train_freq=(1, "episode"), gradient_steps=-1, replay_buffer_class=EpisodeReplay,
        policy_kwargs={"net_arch": list(hidden)}, seed=seed, device="cpu",
    )  # fmt: skip
    agent.rates = (actor_rate, critic_rate)
    agent.set_logger(Logger(None, []))  # its own logger would write a folder for every run
    return agent


def untaught(agent: Any) -> bool:
    """Tell whether an agent has learnt nothing: every walk was random, or along given plans."""
    return bool(agent._n_updates == 0)


def _exploring(
    kind: Any, walk: Walk, exploring: Exploration, seed: int, first: Sequence[Sequence[float]]
) -> Callable[..., Any]:
    """Return an agent class with AMC's exploration and a rate of its own for the actor."""

    class Exploring(kind):  # type: ignore[misc]  # the class comes as an argument
        rates = (0.0, 0.0)

        def _setup_model(self) -> None:
            super()._setup_model()
            self._draws = np.random.default_rng(seed)

        def _update_learning_rate(self, optimizers: Any) -> None:
            super()._update_learning_rate(optimizers)
            for group in self.actor.optimizer.param_groups:
                group["lr"] = self.rates[0]

        def _sample_action(self, *args: Any, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
            episode = self._episode_num - len(first)
            if episode < 0:
                led = np.array([[2 * first[episode][walk.number] - 1]], np.float32)
                return led, led
            if episode < exploring.warmup or walk.stale >= STALE:
                action = self._draws.uniform(-1.0, 1.0, (1, 1)).astype(np.float32)
                return action, action
            action, _ = self.predict(self._last_obs, deterministic=kind is not SAC)
            if kind is not SAC:
                action = _noisy(action, exploring.width(episode), self._draws)
            return action, action

    return Exploring


def _noisy(action: np.ndarray, width: float, draws: np.random.Generator) -> np.ndarray:
    """Return actions drawn around `action`, from a normal distribution cut off at -1 and 1."""
    if width < 1e-6:
        return action
    low, high = (-1 - action) / width, (1 - action) / width
    drawn = truncnorm.rvs(low, high, loc=action, scale=width, random_state=draws)
    return np.clip(np.asarray(drawn, np.float32).reshape(action.shape), -1.0, 1.0)
