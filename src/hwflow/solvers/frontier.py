"""The whole frontier of a program with one cost: the least score for every budget, in one pass.

A dynamic program over the sites (Dudzinski and Walukiewicz, EJOR 28(1), 1987, for the
multiple-choice knapsack problem) on a grid of costs of step w:

    f_i(c) = min over the options j of site i of f_{i-1}(c - ceil((b_ij - min_j b_ij) / w)) + a_ij

Each cell keeps the true cost and score of its choice, so whatever is returned is a real choice
within its budget. Rounding up costs less than w per site, so the answer for a budget B is no worse
than the best for B - n w, n being the number of sites: :attr:`Frontier.resolution`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwflow.cost import Floats, Ints
from hwflow.errors import HwflowError, InfeasibleError
from hwflow.solvers.program import Answer, OneOfEach

CELLS = 1 << 17


@dataclass(frozen=True, eq=False)
class Frontier:
    """Choices of ever larger cost and smaller score."""

    name: str
    """Of the cost."""
    costs: Floats
    scores: Floats
    options: Ints
    """Shape (choices, sites)."""
    resolution: float
    """The answer for a budget is no worse than the best for one smaller by this."""

    def __len__(self) -> int:
        return len(self.costs)

    def at(self, budget: float) -> Answer:
        """Return the best choice found within a budget; its bound is unknown, so -inf.

        Raises InfeasibleError with the least cost when there is none.
        """
        index = int(np.searchsorted(self.costs, budget, side="right")) - 1
        if index < 0:
            raise InfeasibleError(
                f"No choice keeps {self.name} <= {budget:.6g}: the least is {self.costs[0]:.6g}. "
                "Raise the budget."
            )
        chosen = tuple(self.options[index].tolist())
        cost = {self.name: float(self.costs[index])}
        return Answer(chosen, float(self.scores[index]), cost, -np.inf, "frontier")


def frontier(program: OneOfEach, name: str = "", cells: int = CELLS) -> Frontier:
    """Return the frontier of the score over one cost, whatever the budgets of the program.

    Takes time and memory in proportion to sites x `cells`. `name` may be left out where there is
    one cost. Raises HwflowError for a program with joint costs, or with no cost of that name.
    """
    named = name or next(iter(program.costs), "")
    if named not in program.costs or program.joint:
        raise HwflowError(
            "A frontier needs a cost that adds up over the sites, not a joint one. "
            f"Costs: {', '.join(program.costs) or 'none'}."
        )
    alone = OneOfEach(program.scores, {named: program.costs[named]}, {named: np.finfo(float).max})
    kept = alone.kept()
    scores = [np.asarray(t, np.float64)[k] for t, k in zip(alone.scores, kept, strict=True)]
    costs = [np.asarray(t, np.float64)[k] for t, k in zip(alone.costs[named], kept, strict=True)]
    step = _step(scores, costs, cells)
    moves = [np.ceil((cost - cost.min()) / step).astype(np.int64) for cost in costs]
    best, cost, taken = _walked(scores, costs, moves)
    ends = _pareto(cost, best)
    positions = _traced(ends, moves, taken)
    options = np.stack([k[p] for k, p in zip(kept, positions, strict=True)], axis=1)
    return Frontier(named, cost[ends], best[ends], options, len(scores) * step)


def _step(scores: list[Floats], costs: list[Floats], cells: int) -> float:
    """Return the step of the grid: it reaches from the cheapest choice to that of least score."""
    reach = sum(float(c[np.argmin(s)] - c.min()) for s, c in zip(scores, costs, strict=True))
    return reach / max(1, cells) or 1.0


def _walked(
    scores: list[Floats], costs: list[Floats], moves: list[Ints]
) -> tuple[Floats, Floats, list[Ints]]:
    """Return score and true cost of each cell, and the option that each site took to get there."""
    best, cost = np.zeros(1), np.zeros(1)
    taken: list[Ints] = []
    for score, own, move in zip(scores, costs, moves, strict=True):
        reached, after = len(best), len(best) + int(move.max())
        new, total = np.full(after, np.inf), np.full(after, np.inf)
        option = np.zeros(after, np.int64)
        for number, (a, b, shift) in enumerate(zip(score, own, move, strict=True)):
            there = slice(int(shift), int(shift) + reached)
            gained = best + a
            better = gained < new[there]
            np.copyto(new[there], gained, where=better)
            np.copyto(total[there], cost + b, where=better)
            option[there][better] = number
        best, cost = new, total
        taken.append(option)
    return best, cost, taken


def _pareto(cost: Floats, score: Floats) -> Ints:
    """Return the cells that no other beats, by cost."""
    order = np.lexsort((score, cost))
    order = order[np.isfinite(score[order])]
    before = np.minimum.accumulate(np.concatenate([[np.inf], score[order][:-1]]))
    return order[score[order] < before]


def _traced(ends: Ints, moves: list[Ints], taken: list[Ints]) -> list[Ints]:
    """Return the option of each site on the way to each end."""
    cells, found = ends.copy(), []
    for move, option in zip(reversed(moves), reversed(taken), strict=True):
        chosen = option[cells]
        cells = cells - move[chosen]
        found.append(chosen)
    return found[::-1]
