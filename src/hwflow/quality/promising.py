"""Which replacement operations are worth training for a machine. Does not import torch.

HURRICANE (Zhang et al., arXiv 1910.11609, section 3.1) profiles all operators on the target first
and keeps those that give much capacity for their latency:

    score = (alpha * FLOPs + beta * params) / latency

FLOPs and parameters are taken as shares of the largest among a site's options, so that alpha and
beta weigh things of one size; with machine-dependent latency the same network keeps other operators
on other machines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite

from hwflow.errors import HwflowError


@dataclass(frozen=True)
class OptionCost:
    """What an option costs at its site, on the target."""

    macs: float
    """Multiply-accumulates, half of the FLOPs."""
    params: float
    latency_s: float

    def __post_init__(self) -> None:
        figures = (self.macs, self.params, self.latency_s)
        if not all(isfinite(figure) and figure >= 0 for figure in figures):
            raise HwflowError(
                f"The cost of an option is finite and not below 0, not {figures} (macs, params, "
                "latency_s). Leave out options that cannot be costed."
            )


Costs = Mapping[str, OptionCost]
"""By name of the option; those that cannot be costed are left out."""


def promising(
    options: Sequence[str],
    costs: Costs,
    keep: int = 12,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    teacher: str = "keep",
    always: Sequence[str] = ("keep", "skip"),
) -> tuple[str, ...]:
    """Return the options of a site that are worth training, in their order.

    These are the `keep` of the best score and all that no other beats in both latency and capacity
    (alpha * FLOPs + beta * params), after :func:`faster` has dropped what the target runs no faster
    than `teacher`; beside them those in `always` that exist. Options without costs are dropped.
    Raises HwflowError for a negative `keep` or weights that are negative or both 0.
    """
    if keep < 0 or alpha < 0 or beta < 0 or not alpha + beta > 0:
        raise HwflowError(
            "keep, alpha and beta are 0 or more and not both of alpha and beta are 0, not "
            f"{keep}, {alpha} and {beta}."
        )
    rivals = [name for name in faster(options, costs, teacher) if name not in always]
    capacity = _capacities(rivals, costs, alpha, beta)
    scores = {name: _score(capacity[name], costs[name].latency_s) for name in rivals}
    best = sorted(rivals, key=lambda name: -scores[name])[:keep]
    chosen = {*best, *_front(rivals, costs, capacity)}
    return tuple(name for name in options if name in chosen or name in always)


def faster(options: Sequence[str], costs: Costs, teacher: str = "keep") -> tuple[str, ...]:
    """Return the options that the target runs faster than the teacher's own layers, and these.

    What is as slow or slower loses on both counts, as the teacher's own layers lose no accuracy.
    Where the costs do not hold `teacher`, all options with costs are returned.
    """
    most = costs[teacher].latency_s if teacher in costs else inf
    return tuple(
        name for name in options
        if name == teacher or (name in costs and costs[name].latency_s < most)
    )  # fmt: skip


def _capacities(names: Sequence[str], costs: Costs, alpha: float, beta: float) -> dict[str, float]:
    """Return alpha * FLOPs + beta * params, each as a share of the largest."""
    macs = max((costs[name].macs for name in names), default=0) or 1
    params = max((costs[name].params for name in names), default=0) or 1
    return {n: alpha * costs[n].macs / macs + beta * costs[n].params / params for n in names}


def _score(capacity: float, latency: float) -> float:
    return capacity / latency if latency > 0 else inf


def _front(names: Sequence[str], costs: Costs, capacity: Mapping[str, float]) -> list[str]:
    """Return those that no other equals or beats in latency and capacity and beats in one."""
    order = sorted(names, key=lambda name: (costs[name].latency_s, -capacity[name]))
    found: list[str] = []
    best = (-inf, inf)  # the largest capacity so far, and the latency at which it was reached
    for name in order:
        now = (capacity[name], costs[name].latency_s)
        if now[0] > best[0]:
            best = now
            found.append(name)
        elif now == best:
            found.append(name)
    return found
