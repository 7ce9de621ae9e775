"""Channels as numbers, joined where they can only be removed together (a union-find)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
"""One number per channel."""


@dataclass(frozen=True, eq=False)
class Lane:
    """The channels of one tensor: the axis they lie on and a number for each."""

    axis: int
    ids: Ids

    def __len__(self) -> int:
        return len(self.ids)

    def on(self, axis: int) -> Lane:
        """Return the same channels on another axis."""
        return Lane(axis, self.ids)


class Units:
    """Numbers for channels. Joined numbers are one unit; a fixed unit is never removed."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._why: dict[int, str] = {}

    def fresh(self, count: int) -> Ids:
        """Return `count` new numbers, each a unit of its own."""
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def find(self, number: int) -> int:
        """Return the least number of its unit, which stands for it."""
        parent = self._parent
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    def join(self, left: Ids, right: Ids) -> None:
        """Join two rows of numbers element by element."""
        for a, b in zip(left.tolist(), right.tolist(), strict=True):
            low, high = sorted((self.find(a), self.find(b)))
            if low != high:
                self._parent[high] = low
                why = self._why.pop(high, None)
                if why is not None:
                    self._why.setdefault(low, why)

    def fix(self, ids: Ids, why: str) -> None:
        """Say that these are never removed; the first reason stands."""
        for number in ids.tolist():
            self._why.setdefault(self.find(number), why)

    def roots(self, ids: Ids) -> Ids:
        """Return what stands for each number."""
        return np.array([self.find(number) for number in ids.tolist()], np.int64)

    def why(self, root: int) -> str | None:
        """Return why a unit is never removed, None when it may be."""
        return self._why.get(root)
