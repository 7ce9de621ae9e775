"""Compiled: costs and lower bounds where several buffers lie between DRAM and the array.

Levels are numbered from DRAM (0) inward, buffers 1 to L, the array L + 1. The cut of a level is the
number of its tiles along each loop, over the whole layer; ``group`` its products over the loops
that do not index weights, inputs, outputs. A state at level m knows all cuts from the array out to
m: ``value`` holds the rows of :mod:`hwflow.costs.fine.layout_deep` so far, ``each`` what one more
move of a tensor into m adds to them. What a tensor pays on its way into m depends on the next cut
outward alone: the trips of m's cut, those of the next for the one tensor that stays, and where the
loops between do not index the tensor, whatever it pays further out.
"""

# Numba infers the types of kernels at their first call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hwflow.costs.fine.kernels import (
    I,
    O,
    W,
    inputs_moved,
    jit,
    keys,
    less,
)  # fmt: skip
from hwflow.costs.fine.layout import IDLE, WHOLE_MAPS
from hwflow.costs.fine.shape import C, G, K, N, P, Q, R, S

MOST = 1024
"""Trips of a group that the tables tell apart; more count as so many."""

BLOCK = 12
"""Points of a front that are first bounded together."""


class Deep(NamedTuple):
    """A machine and a layer; made by `layout_deep.deep`."""

    dims: Any
    geo: Any
    tab: Any
    sca: Any
    coef: Any
    """Rows x levels 1 to L + 1 x tensors: what one element moved into a level adds to a row."""
    const: Any
    steps: Any
    room: Any
    """Bits of an element in each buffer, 0 where it is not held; buffers x tensors."""
    cap: Any
    ends: Any


class Fronts(NamedTuple):
    """Least rows of all fills up to each buffer, over tiles of any size; buffers first."""

    front: Any
    """(buffers, 3, MOST, 1 + rows): points of (trips of a group or fewer, least rows)."""
    counts: Any
    least: Any
    """(buffers, 3, MOST + 1, rows): least rows of tiles with so many trips or more."""
    exact: Any
    """Likewise of tiles with exactly so many trips."""


@jit
def price(sca, steps, value, compute, ends):
    """Return (energy, cycles) of the rows of a mapping."""
    time, fill = compute, 0.0
    for row in range(1, len(steps)):
        if steps[row] == 3:
            fill = max(fill, value[row])
            continue
        time += fill
        fill = 0.0
        if steps[row] == 2:
            fill = value[row]
        else:
            time = max(time, value[row])
    time += fill + ends
    return value[0] + sca[IDLE] * time, time


@jit
def judged(sca, steps, value, compute, ends):
    """Return the keys of the rows of a mapping, or of lower bounds of them."""
    energy, cycles = price(sca, steps, value, compute, ends)
    return keys(sca, energy, cycles)


@jit
def elements(dims, geo, tensor, tiles_p, tiles_q):
    """Return the elements of a tensor that come into a buffer when each of its tiles comes once."""
    if tensor == I:
        return inputs_moved(dims, geo, tiles_p, tiles_q)
    if tensor == W:
        return float(dims[G]) * dims[K] * dims[C] * dims[R] * dims[S]
    return float(dims[G]) * dims[N] * dims[K] * dims[P] * dims[Q]


@jit
def pixels(dims, geo, p, q):
    """Return the input pixels under so many outputs and the whole kernel."""
    rows = (p - 1) * geo[0] + (dims[R] - 1) * geo[2] + 1
    return rows * ((q - 1) * geo[1] + (dims[S] - 1) * geo[3] + 1)


@jit
def left(dims, geo, room, cap, groups, n, k, c, p, q):
    """Return the bits that a tile leaves free in a buffer of `cap` bits, `room` per element."""
    weights = float(groups) * k * c * dims[R] * dims[S] * room[W]
    inputs = float(groups) * n * c * pixels(dims, geo, p, q) * room[I]
    return cap - weights - inputs - float(groups) * n * k * p * q * room[O]


@jit
def fewest_c(dims, geo, room, cap, groups, n, k, p, q, unit, trips):
    """Return the fewest trips of C with tiles of whole units that fit, 0 if none does."""
    free = cap - float(groups) * n * k * p * q * room[O]
    weights = dims[R] * dims[S] * float(k) * room[W]
    each = groups * (weights + float(n) * pixels(dims, geo, p, q) * room[I])
    return fewest(free, each, dims[C], unit, trips)


@jit
def fewest_k(dims, geo, room, cap, groups, n, c, p, q, unit, trips):
    """Return the fewest trips of K with tiles of whole units that fit, 0 if none does."""
    free = cap - float(groups) * n * c * pixels(dims, geo, p, q) * room[I]
    weights = dims[R] * dims[S] * float(c) * room[W]
    each = groups * (weights + float(n) * p * q * room[O])
    return fewest(free, each, dims[K], unit, trips)


@jit
def fewest(free, each, whole, unit, trips):
    """Return the fewest trips of tiles of whole units, `each` bits per element, in free bits."""
    if free < 0:
        return 0
    if each * whole <= free:
        return 1
    times = int(free / each) // unit
    return 0 if times == 0 else -(-trips // times)


@jit
def splits(trips, sizes, counts):
    """List the outer trips there are over `trips`, and the fewest inner trips of each."""
    found = 0
    inner = trips
    while inner >= 1:
        outer = -(-trips // inner)
        inner = -(-trips // outer)
        counts[found], sizes[found] = outer, inner
        found += 1
        inner -= 1
    return found


@jit
def slots(trips):
    """Return how many splits of so many trips there may be."""
    return 2 * int(np.sqrt(trips)) + 3


@jit
def add_stays(value, each, group, tensor, times, out):
    """Write the rows when `tensor` moves `times` and the others once for each of their trips."""
    for row in range(len(value)):
        out[row] = value[row]
        for other in range(3):
            out[row] += each[row, other] * (times if other == tensor else group[other])


@jit
def raised(out, rows):
    """Raise rows to lower bounds given elsewhere."""
    for row in range(len(out)):
        out[row] = max(out[row], rows[row])


@jit
def corner_rows(least, group, tensor, out):
    """Write the least rows of fills out from a buffer when `tensor` passes straight through it.

    Then both groups that index it have as many trips there as further in.
    """
    out[:] = 0.0
    for other in range(3):
        if other != tensor:
            raised(out, least[other, min(int(group[other]), MOST)])


@jit
def outward(
    sca, steps, points, counts, least, value, each, group, most, scalars, rows, extra, best,
    any_is_enough,
):  # fmt: skip
    """Return keys that no choice of the cuts from one buffer outward can be below.

    `points`, `counts` and `least` are that buffer's of `Fronts`, `group` the trips into the level
    inside it, or the fewest of a set, `most` the most. Keys not below `best` may be returned as
    infinite; with `any_is_enough` the first below it are.
    """
    compute, ends = scalars[0], scalars[1]
    goal = best[0], best[1]
    low = np.inf, np.inf
    for tensor in range(3):
        add_stays(value, each, group, tensor, 1.0, rows)
        front = points[tensor]
        count = counts[tensor]
        while count > 0 and front[count - 1, 0] > most[tensor]:
            count -= 1
        if count == 0:
            return np.inf, np.inf
        at_one(rows, each, tensor, front, 0, count - 1, extra)
        here = judged(sca, steps, extra, compute, ends)
        if less(here[0], here[1], goal[0], goal[1]):
            low, goal = along(
                sca, steps, rows, each, tensor, front, count, extra, compute, ends, low, goal,
                any_is_enough,
            )  # fmt: skip
            if any_is_enough and low[0] < np.inf:
                return low
        corner_rows(least, group, tensor, extra)
        for row in range(len(extra)):
            extra[row] += rows[row]
        here = judged(sca, steps, extra, compute, ends)
        if less(here[0], here[1], goal[0], goal[1]):
            low, goal = here, here
            if any_is_enough:
                return low
    return low


@jit
def along(
    sca, steps, rows, each, tensor, front, count, extra, compute, ends, low, goal, any_is_enough
):
    """Look along a front for keys below the goal; return the lowest and the new goal."""
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        at_one(rows, each, tensor, front, start, stop - 1, extra)
        here = judged(sca, steps, extra, compute, ends)
        if not less(here[0], here[1], goal[0], goal[1]):
            continue
        for place in range(start, stop):
            at_one(rows, each, tensor, front, place, place, extra)
            here = judged(sca, steps, extra, compute, ends)
            if less(here[0], here[1], goal[0], goal[1]):
                low, goal = here, here
                if any_is_enough:
                    return low, goal
    return low, goal


@jit
def at_one(rows, each, tensor, front, start, stop, out):
    """Write the rows for the trips of one point of a front and the least rows of another."""
    times = front[start, 0] - 1
    for row in range(len(rows)):
        out[row] = rows[row] + each[row, tensor] * times + front[stop, 1 + row]


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


@jit
def note(table, trips, rows):
    """Lower the rows kept for so many trips."""
    at = min(int(trips), MOST)
    for row in range(len(rows)):
        table[at, row] = min(table[at, row], rows[row])


@jit
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
