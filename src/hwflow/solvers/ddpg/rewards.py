"""Rewards: what an episode is worth, from the trial of its plan.

======== ========================================= ==========================================
accuracy quality                                   under hard limits (AMC, HAQ)
product  quality (T / T*)^w                        T* the limit, w < 0 (MnasNet, CVPR 2019)
log      -(1 - quality) log(T)                     AMC's reward without a limit
======== ========================================= ==========================================

T is the first limited metric, else the first cost objective; the logarithm takes it in nanoseconds,
picojoules, bytes or counts, so that it is positive.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, log
from typing import Literal, get_args

from hwflow.cost import METRICS
from hwflow.errors import HwflowError, unknown_name
from hwflow.front import Trial
from hwflow.problem import Problem

RewardName = Literal["accuracy", "product", "log"]

SMALL_UNITS = {"s": 1e9, "J": 1e12}
"""How many of the units that the logarithm is taken in make an SI unit; others are counts."""


@dataclass(frozen=True)
class Reward:
    """Turns trials into numbers; `exponent` is w of the product."""

    kind: RewardName
    metric: str
    limit: float
    """T*, the limit of the metric, or its value at the start where there is none."""
    exponent: float = -0.07

    @classmethod
    def of(cls, kind: RewardName, problem: Problem, exponent: float) -> Reward:
        """Return the reward for a problem; HwflowError for an unknown kind."""
        if kind not in get_args(RewardName):
            raise HwflowError(unknown_name("reward", kind, get_args(RewardName)))
        limits = dict(problem.below.items())
        totals = problem.totals([problem.space.default])
        names = [*limits, *problem.cost_names, "bit_ops", *totals]
        metric = next(name for name in names if name in totals)
        start = float(totals[metric][0])
        return cls(kind, metric, limits.get(metric, start), exponent)

    def __call__(self, trial: Trial) -> float | None:
        """Return the reward of a trial, None where limits kept it from being evaluated."""
        if trial.quality is None:
            return None
        if self.kind == "accuracy":
            return trial.quality
        cost = float(trial.total[self.metric])
        if self.kind == "product":
            return trial.quality * float((cost / self.limit) ** self.exponent)
        units = SMALL_UNITS.get(METRICS[self.metric].unit, 1.0)
        return -(1 - trial.quality) * log(max(cost * units, e))
