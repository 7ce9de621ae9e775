"""A repair that gives up first what loses least for the excess it takes away.

HAQ lowers the bits of a plan from the last layer backwards, one by one, until the budget holds.
That spends accuracy where layers stand last, and on engines whose cost is a staircase of the bits
it spends some for nothing. Here every move is priced: lower one choice by any number of ranks, or
two choices of one layer together (an engine as fast as its wider operand allows gains from both
only), and the move with the most excess saved per score lost is made, until the limits are met.

What an option loses is told by a table, as sensitivities give; without one, of bits b it is 4^-b
(the noise power of a uniform quantizer, up to a factor), of anything else its distance from the
richest option.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hwflow.cost import Floats
from hwflow.problem import Problem
from hwflow.solvers.losses import checked
from hwflow.solvers.steps import Step
from hwflow.space import Plan

Move = tuple[tuple[int, int], ...]
"""Numbers of steps, and the rank that each is lowered to."""

Losses = tuple[tuple[float, ...], ...]
"""What each option loses, in the order of a space's choices; 0 for none."""

LEAST_LOSS = 1e-9
"""What a move loses at least, so that ratios are finite."""

LEAST_GAIN = 1e-12


class Ratio:
    """Lowers plans to the limits of a problem by the best ratio of saving to loss."""

    def __init__(self, problem: Problem, steps: Sequence[Step], losses: Losses = ()) -> None:
        """Raises HwflowError where `losses` do not fit the choices of the problem."""
        self._problem = problem
        self._steps = steps
        self._limits = dict(problem.below.items())
        self._losses = _losses(problem, steps, losses)
        self._near = [
            [i for i, other in enumerate(steps) if set(step.layers) & set(other.layers)]
            for step in steps
        ]
        self._savings: dict[tuple[Move, tuple[int, ...]], Floats] = {}

    def lower(self, plan: Plan) -> Plan:
        """Return the plan after the fewest best moves that meet the limits, or can be made."""
        ranks = [step.order.index(plan[step.place]) for step in self._steps]
        while True:
            plan = self._plan(plan, ranks)
            excess = np.maximum(self._shares([plan])[0] - 1, 0)
            if not excess.any():
                return plan
            move = self._best(plan, ranks, excess)
            if move is None:
                return plan
            for number, rank in move:
                ranks[number] = rank

    def _best(self, plan: Plan, ranks: list[int], excess: Floats) -> Move | None:
        """Return the move of the best ratio; None where none takes any excess away."""
        moves = list(self._moves(ranks))
        if not moves:
            return None
        saved = self._saved(plan, ranks, moves)
        gains = np.minimum(saved, excess)[:, excess > 0].sum(axis=1)
        lost = np.array([self._lost(ranks, move) for move in moves])
        ratios = np.where(gains > LEAST_GAIN, gains / np.maximum(lost, LEAST_LOSS), -1.0)
        best = int(np.argmax(ratios))
        return moves[best] if ratios[best] > 0 else None

    def _moves(self, ranks: Sequence[int]) -> Iterator[Move]:
        for number, step in enumerate(self._steps):
            if step.free:
                continue
            yield from (((number, rank),) for rank in range(ranks[number]))
            for other in self._near[number]:
                if other > number and not self._steps[other].free:
                    least = min(ranks[number], ranks[other])
                    yield from (((number, rank), (other, rank)) for rank in range(least))

    def _saved(self, plan: Plan, ranks: Sequence[int], moves: Sequence[Move]) -> Floats:
        """Return what moves save of each limited metric, in shares of its limit.

        A saving hangs on the choices of the layers that a move changes, so that it is known again
        where these are as they were. Where costs do not add up over layers that is a guess, which
        only the order of the moves hangs on.
        """
        keys = [(move, self._around(ranks, move)) for move in moves]
        fresh = [key for key in keys if key not in self._savings]
        if fresh:
            plans = [self._plan(plan, _lowered(ranks, move)) for move, _ in fresh]
            shares = self._shares([plan, *plans])
            self._savings |= dict(zip(fresh, shares[0] - shares[1:], strict=True))
        return np.array([self._savings[key] for key in keys])

    def _around(self, ranks: Sequence[int], move: Move) -> tuple[int, ...]:
        return tuple(ranks[i] for number, _ in move for i in self._near[number])

    def _shares(self, plans: Sequence[Plan]) -> Floats:
        """Return limited metrics as shares of their limits, of shape (plans, limits)."""
        totals = self._problem.totals(plans)
        columns = [np.asarray(totals[name]) / limit for name, limit in self._limits.items()]
        return np.stack(columns, axis=1) if columns else np.zeros((len(plans), 0))

    def _lost(self, ranks: Sequence[int], move: Move) -> float:
        return float(sum(self._losses[n][rank] - self._losses[n][ranks[n]] for n, rank in move))

    def _plan(self, plan: Plan, ranks: Sequence[int]) -> Plan:
        found = list(plan)
        for step, rank in zip(self._steps, ranks, strict=True):
            found[step.place] = step.option(rank)
        return self._problem.space.canonical(found)


def _losses(problem: Problem, steps: Sequence[Step], losses: Losses) -> list[Floats]:
    """Return the loss of each rank of each step."""
    if losses:
        table = checked(problem.space, losses)
        return [np.array([table[s.place][option] for option in s.order]) for s in steps]
    return [_proxy(step) for step in steps]


def _proxy(step: Step) -> Floats:
    if "bits:" in step.choice.name:
        bits = [float(step.choice.options[option]) for option in step.order]
        return np.array([4.0**-value for value in bits])
    return np.linspace(1.0, 0.0, step.options)


def _lowered(ranks: Sequence[int], move: Move) -> list[int]:
    found = list(ranks)
    for number, rank in move:
        found[number] = rank
    return found
