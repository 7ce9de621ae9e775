"""One run of an agent: its own random numbers and one thread, which is fastest for its networks."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from hwflow.problem import Problem
from hwflow.running import seeded
from hwflow.solvers import Evaluate
from hwflow.solvers.ddpg.environment import Walk
from hwflow.solvers.ddpg.learner import Exploration, learner, untaught
from hwflow.solvers.ddpg.memory import load_agent, save_agent
from hwflow.solvers.ddpg.rewards import Reward
from hwflow.solvers.steps import actions, steps_of

if TYPE_CHECKING:
    from hwflow.solvers.ddpg import DDPG

EPISODES = 10**9
"""More than any search walks; `evaluate` ends the run."""

UNTAUGHT = (
    "The agent has learnt nothing: it learns after {} episodes, which are random or along plans "
    "given first, and the search was over by then. Go on with more evaluations, or set a shorter "
    "warmup and search into another folder."
)
"""What is said of a run without an update."""


def walk_on(solver: DDPG, problem: Problem, evaluate: Evaluate) -> None:
    """Let the agent of a solver walk over a problem until `evaluate` ends the run."""
    reward = Reward.of(solver.reward, problem, solver.exponent, solver.step_price)
    steps = steps_of(problem)
    evaluate([problem.space.default])
    if not steps:
        return
    with _apart(solver.seed):
        walk = Walk(
            problem, steps, evaluate, reward, repair=solver.repair, hardware=solver.hardware,
            losses=solver.losses,
        )  # fmt: skip
        agent = learner(
            solver.agent, walk, Exploration(solver.warmup, solver.sigma, solver.decay),
            seed=solver.seed, hidden=solver.hidden, actor_rate=solver.actor_rate,
            critic_rate=solver.critic_rate, replay=solver.replay_episodes * len(steps),
            batch=solver.batch, tau=solver.tau, discount=solver.discount,
            first=[actions(steps, problem.space.canonical(plan)) for plan in solver.first],
        )  # fmt: skip
        if solver.start is not None:
            load_agent(agent, solver.start)
        try:
            agent.learn(EPISODES * len(steps), log_interval=None)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException:  # so `evaluate` ends the run
            if untaught(agent) and (solver.start is None or solver.warmup):
                warnings.warn(UNTAUGHT.format(solver.warmup + len(solver.first)), stacklevel=2)
            raise
        finally:
            if solver.keep is not None:
                save_agent(agent, solver.keep)


@contextmanager
def _apart(seed: int) -> Iterator[None]:
    """Keep the generators of Python, NumPy and torch, and torch's threads, as they were."""
    kept, threads = (random.getstate(), np.random.get_state()), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with seeded(seed):
            yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(kept[0])
        np.random.set_state(kept[1])
