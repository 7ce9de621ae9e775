"""Going through the plans of a small space, and thinning out plans that stand in an order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TypeVar

import numpy as np

from hwflow.space import Plan, Space

Item = TypeVar("Item")

ENUMERABLE = 100_000
"""Spaces of up to so many plans are gone through as a whole."""


def distinct_plans(space: Space) -> Iterator[Plan]:
    """Yield every canonical plan of a space once, in lexical order of the first of its forms."""
    ranges = [range(len(choice.options)) for choice in space.choices]
    if all(choice.only_if is None for choice in space.choices):
        yield from product(*ranges)
        return
    seen: set[Plan] = set()
    for plan in map(space.canonical, product(*ranges)):
        if plan not in seen:
            seen.add(plan)
            yield plan


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return `count` of the items, evenly spread, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, count)]
