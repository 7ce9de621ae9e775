"""Going through the plans of a small space."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from hwflow.space import Plan, Space

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
