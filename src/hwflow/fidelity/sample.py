"""Plans to compare levels on, and how far each lies from the network that nobody changed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import islice

import numpy as np

from hwflow.cost import Floats
from hwflow.errors import HwflowError
from hwflow.solvers.random import shuffled_plans
from hwflow.space import Choice, Plan, Space


def sampled(space: Space, count: int, seed: int = 0) -> list[Plan]:
    """Return the uniform plans and random others, each option with equal chance; none twice.

    Fewer than `count` where the space has no more. Raises HwflowError for a space with fewer than
    two plans, or a count below two.
    """
    if count < 2:
        raise HwflowError(f"{count} plans cannot be compared. Ask for 2 or more, such as 500.")
    uniform = space.uniform()[:count]
    drawn = shuffled_plans(space, random.Random(seed))
    plans = list(dict.fromkeys([*uniform, *islice(drawn, count)]))[:count]
    if len(plans) < 2:
        raise HwflowError("The space has one plan only: nothing to compare. Allow more options.")
    return plans


def changes(space: Space, plans: Sequence[Plan]) -> Floats:
    """Return how much each plan changes the network, 0 (nothing) to 1, shape (plans,).

    The mean over all choices of the steps between the option taken and the one that changes least,
    as a share of the most that there are. A definition of ours: it stands in for the accuracy,
    which would need data, and knows nothing of cost.
    """
    taken = np.asarray(plans, np.float64).reshape(len(plans), len(space))
    steps = [_steps(choice, taken[:, column]) for column, choice in enumerate(space.choices)]
    return np.mean(steps, axis=0)  # type: ignore[no-any-return]  # numpy's mean is untyped


def _steps(choice: Choice, taken: Floats) -> Floats:
    away = np.abs(taken - choice.default)
    if not choice.ordered:
        return (away > 0).astype(np.float64)
    return away / max(choice.default, len(choice.options) - 1 - choice.default, 1)
