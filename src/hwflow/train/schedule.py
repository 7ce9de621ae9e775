"""Learning rates: up in the warm-up, then down to zero in a line or half a cosine."""

from __future__ import annotations

from math import cos, pi
from typing import Literal, get_args

from hwflow.errors import HwflowError, unknown_name

Schedule = Literal["linear", "cosine"]
"""cosine: SGDR without restarts (Loshchilov and Hutter, arXiv 1608.03983)."""


def check_schedule(lr: float, warmup: float, schedule: str) -> None:
    """Raise HwflowError for a rate or a share outside its range, or an unknown schedule."""
    if not 0 < lr < float("inf"):
        raise HwflowError(f"The learning rate must be above zero, not {lr}.")
    if not 0 <= warmup < 1:
        raise HwflowError(f"warmup is a share of the steps in [0, 1), not {warmup}.")
    if schedule not in get_args(Schedule):
        raise HwflowError(unknown_name("schedule", schedule, get_args(Schedule)))


def share_of_peak(step: int, steps: int, warmup: float, schedule: Schedule = "linear") -> float:
    """Return the share of the peak rate: up in `warmup` * steps, then down towards zero."""
    rising = max(1, round(warmup * steps))
    if step < rising and steps > 1:
        return (step + 1) / rising
    left = (steps - step) / max(1, steps - rising + 1)
    return left if schedule == "linear" else (1 - cos(pi * left)) / 2
