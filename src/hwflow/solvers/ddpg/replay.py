"""A replay buffer for rewards that come at the end of an episode (AMC, ECCV 2018).

It holds an episode back until its end, stores the actions as they were carried out instead of as
the agent wished them, and writes the final reward to every step. Sampled rewards are given less a
moving average of the batches' means, the baseline of AMC and HAQ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from hwflow.solvers.ddpg.environment import EXECUTED

DECAY = 0.5
"""Share that the moving average keeps of itself with every batch, as in AMC's and HAQ's code."""


class EpisodeReplay(ReplayBuffer):
    """Stores whole episodes of one environment."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        """Take what Stable-Baselines3's buffer takes."""
        super().__init__(*args, **settings)
        self._held: list[tuple[Any, ...]] = []
        self._baseline: float | None = None

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Hold a step back; at the end of the episode store all of them."""
        self._held.append((obs.copy(), next_obs.copy(), done.copy()))
        if not done[0]:
            return
        held, self._held = self._held, []
        for (before, after, ended), executed in zip(held, infos[0][EXECUTED], strict=True):
            super().add(before, after, executed[None, :], reward, ended, [{}])

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """Return a batch with rewards less their moving average."""
        batch = super().sample(batch_size, env)
        mean = float(batch.rewards.mean())
        kept = mean if self._baseline is None else self._baseline
        self._baseline = DECAY * kept + (1 - DECAY) * mean
        return batch._replace(rewards=batch.rewards - self._baseline)
