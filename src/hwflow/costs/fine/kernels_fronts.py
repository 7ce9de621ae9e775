"""Compiled: the least that fills up to each buffer cost, over tiles of any size."""

# Numba infers the types of kernels at their first call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numpy as np

from hwflow.costs.fine.kernels import I, O, W, jit
from hwflow.costs.fine.kernels_deep import (
    MOST,
    Fronts,
    elements,
    fewest_c,
    fewest_k,
    lean,
    left,
    splits,
)
from hwflow.costs.fine.layout import WHOLE_MAPS
from hwflow.costs.fine.shape import C, K, N, P, Q


@jit
def fill_fronts(d):
    """Return the `Fronts` of all buffers; counts of 0 where a buffer cannot hold any tile."""
    buffers, rows = len(d.cap), len(d.const)
    front = np.empty((buffers, 3, MOST, 1 + rows))
    counts = np.zeros((buffers, 3), np.int64)
    least = np.full((buffers, 3, MOST + 1, rows), np.inf)
    exact = np.full((buffers, 3, MOST + 1, rows), np.inf)
    found = Fronts(front, counts, least, exact)
    for level in range(buffers):
        survey(d, found, level)
        for group in range(3):
            counts[level, group] = steps_down(exact[level, group], front[level, group])
            accumulate(exact[level, group], least[level, group], front, counts, level, group)
    return found


@jit
def accumulate(exact, least, front, counts, level, group):
    """Fill `least` from the exact rows, and raise those to the least of as many trips or fewer."""
    rows = exact.shape[1]
    least[MOST] = exact[MOST]
    for trips in range(MOST - 1, -1, -1):
        for row in range(rows):
            least[trips, row] = min(exact[trips, row], least[trips + 1, row])
    low = np.full(rows, np.inf)
    for trips in range(1, MOST + 1):
        for row in range(rows):
            low[row] = min(low[row], exact[trips, row])
            exact[trips, row] = max(low[row], least[trips, row])


@jit
def steps_down(exact, points):
    """Keep the points where a row falls below those of all fewer trips; return how many."""
    rows = exact.shape[1]
    low = np.full(rows, np.inf)
    count = 0
    for trips in range(1, MOST + 1):
        falls = False
        for row in range(rows):
            if exact[trips, row] < low[row] * (1 - 1e-12):
                low[row], falls = exact[trips, row], True
        if falls and count < MOST:
            points[count, 0] = trips
            points[count, 1:] = low
            count += 1
    return count


@jit
def survey(d, fronts, level):
    """Enter the least rows of the fills up to a buffer for tiles of every size.

    For each tile along N P Q and K the fewest trips of C, and along N P Q and C those of K.
    """
    dims, geo, room, cap = d.dims, d.geo, d.room[level], d.cap[level]
    lists = np.empty((5, 2, 2 * int(np.sqrt(np.max(d.dims))) + 3), np.int64)
    length = np.empty(5, np.int64)
    for x in range(5):
        length[x] = splits(d.dims[x], lists[x, 0], lists[x, 1])
    if d.sca[WHOLE_MAPS] > 0:
        length[P], length[Q] = 1, 1
    rows = len(d.const)
    each, group = np.empty((rows, 3)), np.empty(3)
    out = np.empty(rows)
    for x in range(length[N]):
        n = lists[N, 0, x]
        for y in range(length[P]):
            p = lists[P, 0, y]
            for z in range(length[Q]):
                q = lists[Q, 0, z]
                if left(dims, geo, room, cap, 1, n, 1, 1, p, q) < 0:
                    continue
                group[W] = lists[N, 1, x] * lists[P, 1, y] * lists[Q, 1, z]
                for tensor in range(3):
                    count = elements(dims, geo, tensor, lists[P, 1, y], lists[Q, 1, z])
                    for row in range(rows):
                        each[row, tensor] = d.coef[row, level, tensor] * count
                for v in range(length[K]):
                    k = lists[K, 0, v]
                    trips = fewest_c(dims, geo, room, cap, 1, n, k, p, q, 1, dims[C])
                    if trips > 0:
                        group[I], group[O] = lists[K, 1, v], trips
                        least_rows(fronts, level, each, group, out)
                        note(fronts.exact[level, W], group[W], out)
                        note(fronts.exact[level, I], group[I], out)
                for v in range(length[C]):
                    c = lists[C, 0, v]
                    trips = fewest_k(dims, geo, room, cap, 1, n, c, p, q, 1, dims[K])
                    if trips > 0:
                        group[I], group[O] = trips, lists[C, 1, v]
                        least_rows(fronts, level, each, group, out)
                        note(fronts.exact[level, O], group[O], out)


@lean
def note(table, trips, rows):
    """Lower the rows kept for so many trips."""
    at = min(int(trips), MOST)
    for row in range(len(rows)):
        table[at, row] = min(table[at, row], rows[row])


@lean
def least_rows(fronts, level, each, group, out):
    """Write, row by row, the least that fills up to a buffer cost with a given tile there."""
    for row in range(len(out)):
        once = each[row, W] * group[W] + each[row, I] * group[I] + each[row, O] * group[O]
        best = np.inf
        for tensor in range(3):
            others = once - each[row, tensor] * group[tensor]
            if level == 0:
                best = min(best, others + each[row, tensor])
                continue
            points = fronts.front[level - 1, tensor]
            for place in range(fronts.counts[level - 1, tensor]):
                here = each[row, tensor] * points[place, 0] + points[place, 1 + row]
                best = min(best, others + here)
            outer = 0.0
            for group_2 in range(3):
                if group_2 != tensor:
                    at = min(int(group[group_2]), MOST)
                    outer = max(outer, fronts.least[level - 1, group_2, at, row])
            best = min(best, others + each[row, tensor] + outer)
        out[row] = best
