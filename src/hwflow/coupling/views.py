"""Where channels go when a tensor is only addressed differently."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from hwflow.coupling.units import Ids, Lane, Units
from hwflow.workload import Shape

Block = tuple[range, range]
"""Neighbouring axes of the input, and those of the output that hold the same elements."""


def blocks(before: Shape, after: Shape) -> Iterator[Block]:
    """Yield the smallest runs of axes that a reshape maps onto each other, in order."""
    i = j = 0
    while i < len(before) and j < len(after):
        first, second = i, j
        left, right = before[i], after[j]
        i, j = i + 1, j + 1
        while left != right:
            if left < right:
                left, i = left * before[i], i + 1
            else:
                right, j = right * after[j], j + 1
        last = i == len(before) or j == len(after)
        if last or (prod(before[i:]) == 1 and prod(after[j:]) == 1):
            yield range(first, len(before)), range(second, len(after))
            return
        yield range(first, i), range(second, j)


def reshaped(units: Units, lane: Lane, before: Shape, after: Shape) -> Lane | None:
    """Return the channels after a reshape; None when they have no axis of their own there.

    Where the channel axis becomes several (the groups of a channel shuffle), what is kept must
    stay a rectangle: the channels are joined along all these axes but the longest.
    """
    found = next((b for b in blocks(before, after) if lane.axis in b[0]), None)
    if found is None or not found[1]:
        return None
    left, right = found
    shape = [before[axis] for axis in left]
    ones = [len(lane) if axis == lane.axis else 1 for axis in left]
    spread = np.broadcast_to(lane.ids.reshape(ones), shape)
    return _one_axis(units, spread.reshape([after[axis] for axis in right]), right.start)


def _one_axis(units: Units, ids: Ids, start: int) -> Lane:
    """Return the channels along the one axis they vary on, joined along the others."""
    varying = [
        axis for axis in range(ids.ndim) if not (ids == np.take(ids, [0], axis=axis)).all()
    ] or [int(np.argmax(ids.shape))]
    chosen = max(varying, key=lambda axis: (ids.shape[axis], axis))
    rows = np.moveaxis(ids, chosen, -1).reshape(-1, ids.shape[chosen])
    if len(varying) > 1:
        for row in rows[1:]:
            units.join(rows[0], row)
    return Lane(start + chosen, rows[0])


def broadcast_axis(axis: int, rank: int, out_rank: int) -> int:
    """Return an operand's axis as one of the result: shapes are aligned at their ends."""
    return axis + out_rank - rank
