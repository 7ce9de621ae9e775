"""The environment of the agent: one episode walks over the choices and ends with an evaluation.

Actions lie in [-1, 1], as Stable-Baselines3 wants them; -1 is the leanest option, 1 the richest.
Rewards are 0 but for the last step's, which :mod:`~hwflow.solvers.ddpg.replay` gives to all.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from hwflow.problem import Problem
from hwflow.solvers import Evaluate
from hwflow.solvers.ddpg.ratio import Losses, Ratio
from hwflow.solvers.ddpg.rewards import Reward
from hwflow.solvers.ddpg.state import State, ranks
from hwflow.solvers.ddpg.wall import Repair, Wall
from hwflow.solvers.steps import Step
from hwflow.space import Plan

EXECUTED = "executed_action"
"""Key of the information that holds the actions of an episode as they were carried out."""

Vector = NDArray[np.float32]


class Walk(gymnasium.Env[Vector, Vector]):
    """A walk over the choices of a problem."""

    def __init__(
        self,
        problem: Problem,
        steps: tuple[Step, ...],
        evaluate: Evaluate,
        reward: Reward,
        *,
        repair: Repair = "wall",
        hardware: bool = True,
        losses: Losses = (),
    ) -> None:
        """Make the environment; `evaluate` is called once at the end of each episode.

        `losses` are what options lose, for the repair "ratio".
        """
        self.steps = steps
        self.stale = 0
        """Episodes in a row, up to now, whose plan had been asked for before."""
        self._problem = problem
        self._evaluate = evaluate
        self._reward = reward
        self._repair = repair
        self._state = State(problem, steps, hardware)
        self._wall = Wall(problem, steps)
        self._ratio = Ratio(problem, steps, losses)
        self._asked: set[Plan] = set()
        self._worst: float | None = None
        self._begin()
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = gymnasium.spaces.Box(-1.0, 2.0, (self._state.size,), np.float32)

    @property
    def number(self) -> int:
        """Which step comes next."""
        return self._number

    def _begin(self) -> None:
        self._plan = self._problem.space.default
        self._number = 0
        self._last = 1.0
        self._actions: list[float] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vector, dict[str, Any]]:
        """Begin an episode at the default plan; nothing is kept of the one before."""
        super().reset(seed=seed)
        self._begin()
        return self._observed(), {}

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Decide one choice. The last step evaluates the plan; its information has the actions."""
        step = self.steps[self._number]
        share = (float(action[0]) + 1) / 2
        wanted = step.rank(share)
        rank = wanted if self._repair != "wall" else self._clipped(wanted)
        self._last = share if rank == wanted else step.action(rank)
        self._actions.append(self._last)
        place, option = step.place, step.option(rank)
        self._plan = (*self._plan[:place], option, *self._plan[place + 1 :])
        self._number += 1
        if self._number < len(self.steps):
            return self._observed(), 0.0, False, False, {}
        worth = self._finish()
        executed = np.array(self._actions, np.float32)[:, None] * 2 - 1
        return np.zeros_like(self._observed()), worth, True, False, {EXECUTED: executed}

    def _clipped(self, wanted: int) -> int:
        return self._wall.clip(self._plan, self._number, wanted)

    def _observed(self) -> Vector:
        number = min(self._number, len(self.steps) - 1)
        return self._state.of(self._plan, number, self._last).astype(np.float32)

    def _finish(self) -> float:
        """Evaluate the plan; a plan beyond the limits is worth the least seen so far."""
        plan = self._problem.space.canonical(self._plan)
        if self._repair in ("backwards", "ratio"):
            plan = self._repaired(plan)
        self.stale = self.stale + 1 if plan in self._asked else 0
        self._asked.add(plan)
        worth = self._reward(self._evaluate([plan])[0])
        if worth is None:
            return 0.0 if self._worst is None else self._worst
        self._worst = worth if self._worst is None else min(worth, self._worst)
        return worth

    def _repaired(self, plan: Plan) -> Plan:
        """Lower the plan until it meets the limits; its actions become what was carried out."""
        start = self._ratio.lower(plan) if self._repair == "ratio" else plan
        lowered = self._wall.lower(start)  # where no move alone saves anything, all have to
        before = ranks(self.steps, self._plan)
        for index, (step, rank) in enumerate(
            zip(self.steps, ranks(self.steps, lowered), strict=True)
        ):
            if rank != before[index]:
                self._actions[index] = step.action(rank)
        return lowered
