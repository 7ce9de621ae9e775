"""Compiled: states of a chain of buffer tiles, and what the whole chain costs."""

# Numba infers the types of kernels at their first call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hwflow.costs.fine.kernels import jit, less
from hwflow.costs.fine.kernels_deep import copied, elements, judged, lean, price, slots
from hwflow.costs.fine.layout import STAYS
from hwflow.costs.fine.shape import P, Q


class Work(NamedTuple):
    """The states of a chain, level by level; levels as in :mod:`kernels_deep`."""

    value: Any
    each: Any
    group: Any
    cut: Any
    tile: Any
    """Sizes in whole units of the next inner tile, before they are clipped at the layer."""
    stay: Any
    """What stays in the level inside while the loops of each level run, DRAM first."""
    sizes: Any
    counts: Any
    length: Any
    rows: Any
    """Room for two vectors of rows."""
    most: Any
    """Room for the most trips of each group."""
    goal: Any
    """Room for the best so far."""
    scalars: Any
    """Compute cycles, cycles of the first load and last store, groups of a tile."""
    tally: Any
    """Tiles of buffers tried, and how many may be."""
    stop: Any
    """1 when time is up."""
    at: Any
    """Where the choice of each level stands: splits along N P Q, along K, along C, what stays."""
    low: Any
    """Fewest trips of K and C beside the rest of each level's tile."""
    stays: Any
    """What may stay in the level inside, up to three tensors, and how many they are."""


class Found(NamedTuple):
    """The best mapping so far."""

    best: Any
    """Keys, energy, cycles."""
    tile: Any
    stay: Any
    flag: Any
    """1 where this was entered since it was last cleared."""


@jit
def room_for(d, stop):
    """Return the arrays of a chain."""
    levels, rows = len(d.cap) + 2, len(d.const)
    most = slots(np.max(d.dims))
    return Work(
        np.zeros((levels, rows)), np.zeros((levels, rows, 3)), np.ones((levels, 3)),
        np.ones((levels, 5), np.int64), np.ones((levels, 5), np.int64),
        np.zeros(levels, np.int64), np.ones((levels, 5, most), np.int64),
        np.ones((levels, 5, most), np.int64), np.zeros((levels, 5), np.int64),
        np.empty((2, rows)), np.empty(3), np.empty(4), np.zeros(3), np.zeros(2, np.int64), stop,
        np.zeros((levels, 4), np.int64), np.zeros((levels, 2), np.int64),
        np.zeros((levels, 4), np.int64),
    )  # fmt: skip


@lean
def moved_beside(inner, outer, tensor):
    """Tell whether loops between two cuts, of groups `inner` and `outer`, index the tensor."""
    moved = False
    for other in range(3):
        moved = moved or (other != tensor and inner[other] > outer[other])
    return moved


@lean
def step_out(d, w, level, tensor):
    """Set the state of the next level outward, whose cut is known, when `tensor` stays."""
    outer = level - 1
    w.stay[outer] = tensor
    pass_on(
        d.dims, d.geo, d.coef, outer, w.value[level], w.each[level], w.group[level],
        w.value[outer], w.each[outer], w.group[outer], w.cut[outer], tensor,
    )  # fmt: skip


@lean
def pass_on(
    dims, geo, coef, outer, value, each, group, next_value, next_each, next_group, cut, tensor
):
    """Fill the state of the next level outward from that of a level, as `step_out` says."""
    rows = len(value)
    copied(value, next_value)
    for other in range(3):
        count = elements(dims, geo, other, cut[P], cut[Q])
        for row in range(rows):
            next_each[row, other] = coef[row, outer - 1, other] * count
        if moved_beside(group, next_group, other):
            times = next_group[other] if other == tensor else group[other]
            for row in range(rows):
                next_value[row] += each[row, other] * times
        else:
            for row in range(rows):
                next_each[row, other] += each[row, other]


@lean
def choices_of(each, may, out):
    """List what gains by staying: tensors, or -1 where none does; return how many."""
    count = 0
    for tensor in range(3):
        gains = False
        for row in range(len(each)):
            gains = gains or each[row, tensor] > 0
        if gains and may[tensor] > 0:
            out[count] = tensor
            count += 1
    if count == 0:
        out[0] = -1
        count = 1
    return count


@lean
def choices_at(d, w, level, out):
    """List what may stay in a level while the loops around it run; return how many."""
    return choices_of(w.each[level], d.tab[STAYS] if level > len(d.cap) else ANY, out)


ANY = np.ones(3)


@jit
def close(d, w, found):
    """Compare the mappings of a whole chain with the best so far."""
    keys_ = closed(
        d.sca, d.steps, w.value[1], w.each[1], w.group[1], w.scalars, w.rows[0], w.stays[0],
        found.best,
    )  # fmt: skip
    if keys_[0] < np.inf:
        found.tile[:] = w.tile
        found.stay[:] = w.stay
        found.stay[0] = w.stays[0, 3]
        found.flag[0] = 1


@lean
def closed(sca, steps, value, each, group, scalars, rows, stays, best):
    """Try what may stay while DRAM's loops run; keep the best and say which it was in `stays`."""
    entered = np.inf, np.inf
    whole = (1.0, 1.0, 1.0)
    for index in range(choices_of(each, ANY, stays)):
        copied(value, rows)
        for other in range(3):
            times = 1.0
            if other != stays[index] and moved_beside(group, whole, other):
                times = group[other]
            for row in range(len(rows)):
                rows[row] += each[row, other] * times
        keys_ = judged(sca, steps, rows, scalars[0], scalars[1])
        if less(keys_[0], keys_[1], best[0], best[1]):
            best[2], best[3] = price(sca, steps, rows, scalars[0], scalars[1])
            best[0], best[1] = keys_
            stays[3] = stays[index]
            entered = keys_
    return entered
