"""What each option of each choice loses: the table that several solvers are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwflow.cost import Floats
from hwflow.errors import HwflowError
from hwflow.space import Space

Losses = Sequence[Sequence[float] | Floats]
"""A row for each choice, in the space's order, and in it a figure for each option."""


def checked(space: Space, losses: Losses) -> list[Sequence[float] | Floats]:
    """Return the table; HwflowError unless every option of every choice has a finite loss."""
    sizes = [len(choice.options) for choice in space.choices]
    given = [len(row) for row in losses]
    if given != sizes:
        raise HwflowError(
            f"The table of losses has {len(given)} rows of {sum(given)} numbers where {sum(sizes)} "
            f"are needed: one for every option of the {len(sizes)} choices, a row for each choice."
        )
    if not all(np.isfinite(np.asarray(row, np.float64)).all() for row in losses):
        raise HwflowError("The table holds numbers that are not finite. Measure it again.")
    return list(losses)


def expected(losses: Losses, plan: Sequence[int]) -> float:
    """Return what a plan loses if the losses of its options add up."""
    return float(sum(row[option] for row, option in zip(losses, plan, strict=True)))
