"""Rewards: what an episode is worth, from the trial of its plan.

======== ========================================= ==========================================
accuracy quality                                   under hard limits (AMC)
points   10 quality                                0.1 x its points (HAQ's code)
product  quality (T / T*)^w                        T* the limit, w < 0 (MnasNet, CVPR 2019)
log      -(1 - quality) log(T)                     AMC's reward without a limit
======== ========================================= ==========================================

T is the first limited metric, else the first cost objective; the logarithm takes it in nanoseconds,
picojoules, bytes or counts, so that it is positive. Where the length of fine-tuning is a choice, it
may have a price: a share of it is taken off, that of the plan's steps in the longest.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, log
from typing import Literal, get_args

from hwflow.cost import METRICS
from hwflow.errors import HwflowError, unknown_name
from hwflow.front import Trial
from hwflow.problem import Problem
from hwflow.space import Space

RewardName = Literal["accuracy", "points", "product", "log"]

POINTS = 10.0
"""HAQ's reward is 0.1 x (accuracy - the original's) in percent, so 10 times that in shares. The
original's is left out: the moving average takes off what all rewards have in common."""

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
    prices: tuple[tuple[int, tuple[float, ...]], ...] = ()
    """Places of a plan whose options have a price, and the price of each option."""

    @classmethod
    def of(
        cls, kind: RewardName, problem: Problem, exponent: float, step_price: float = 0.0
    ) -> Reward:
        """Return the reward for a problem; `step_price` is that of the longest fine-tuning.

        Raises HwflowError for an unknown kind, and for a price where no length is to be chosen.
        """
        if kind not in get_args(RewardName):
            raise HwflowError(unknown_name("reward", kind, get_args(RewardName)))
        limits = dict(problem.below.items())
        totals = problem.totals([problem.space.default])
        names = [*limits, *problem.cost_names, "bit_ops", *totals]
        metric = next(name for name in names if name in totals)
        start = float(totals[metric][0])
        prices = _prices(problem.space, step_price) if step_price else ()
        return cls(kind, metric, limits.get(metric, start), exponent, prices)

    def __call__(self, trial: Trial) -> float | None:
        """Return the reward of a trial, None where limits kept it from being evaluated."""
        if trial.quality is None:
            return None
        spent = sum(by_option[trial.plan[place]] for place, by_option in self.prices)
        return self._worth(trial, trial.quality) - spent

    def _worth(self, trial: Trial, quality: float) -> float:
        if self.kind == "accuracy":
            return quality
        if self.kind == "points":
            return POINTS * quality
        cost = float(trial.total[self.metric])
        if self.kind == "product":
            return quality * float((cost / self.limit) ** self.exponent)
        units = SMALL_UNITS.get(METRICS[self.metric].unit, 1.0)
        return -(1 - quality) * log(max(cost * units, e))


def _prices(space: Space, price: float) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """Return what each option of the fine-tuning costs: its share of the longest, times `price`."""
    lengths: list[tuple[int, tuple[float, ...]]] = []
    start = 0
    for part in space.parts:
        if part.kind == "finetune":
            for place, choice in enumerate(part.choices, start):
                steps = [float(option) for option in choice.options]
                lengths.append((place, tuple(price * n / max(*steps, 1.0) for n in steps)))
        start += len(part.choices)
    if not lengths:
        raise HwflowError(
            "step_price is the price of fine-tuning steps, and this space has none to choose. Add "
            "hwflow.finetune(...) to it, or leave step_price at 0."
        )
    return tuple(lengths)
