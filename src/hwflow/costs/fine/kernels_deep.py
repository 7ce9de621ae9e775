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
from numba import njit

from hwflow.costs.fine.kernels import (
    I,
    O,
    W,
    inputs_moved,
    keys,
    less,
)  # fmt: skip
from hwflow.costs.fine.layout import IDLE
from hwflow.costs.fine.shape import C, G, K, N, P, Q, R, S

_OPTIONS: Any = {
    "error_model": "numpy",
    "nogil": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,
}
lean = njit(**_OPTIONS)
"""For kernels that allocate nothing: counting references took half of the time of the search."""

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


@lean
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


@lean
def judged(sca, steps, value, compute, ends):
    """Return the keys of the rows of a mapping, or of lower bounds of them."""
    energy, cycles = price(sca, steps, value, compute, ends)
    return keys(sca, energy, cycles)


@lean
def elements(dims, geo, tensor, tiles_p, tiles_q):
    """Return the elements of a tensor that come into a buffer when each of its tiles comes once."""
    if tensor == I:
        return inputs_moved(dims, geo, tiles_p, tiles_q)
    if tensor == W:
        return float(dims[G]) * dims[K] * dims[C] * dims[R] * dims[S]
    return float(dims[G]) * dims[N] * dims[K] * dims[P] * dims[Q]


@lean
def pixels(dims, geo, p, q):
    """Return the input pixels under so many outputs and the whole kernel."""
    rows = (p - 1) * geo[0] + (dims[R] - 1) * geo[2] + 1
    return rows * ((q - 1) * geo[1] + (dims[S] - 1) * geo[3] + 1)


@lean
def left(dims, geo, room, cap, groups, n, k, c, p, q):
    """Return the bits that a tile leaves free in a buffer of `cap` bits, `room` per element."""
    weights = float(groups) * k * c * dims[R] * dims[S] * room[W]
    inputs = float(groups) * n * c * pixels(dims, geo, p, q) * room[I]
    return cap - weights - inputs - float(groups) * n * k * p * q * room[O]


@lean
def fewest_c(dims, geo, room, cap, groups, n, k, p, q, unit, trips):
    """Return the fewest trips of C with tiles of whole units that fit, 0 if none does."""
    free = cap - float(groups) * n * k * p * q * room[O]
    weights = dims[R] * dims[S] * float(k) * room[W]
    each = groups * (weights + float(n) * pixels(dims, geo, p, q) * room[I])
    return fewest(free, each, dims[C], unit, trips)


@lean
def fewest_k(dims, geo, room, cap, groups, n, c, p, q, unit, trips):
    """Return the fewest trips of K with tiles of whole units that fit, 0 if none does."""
    free = cap - float(groups) * n * c * pixels(dims, geo, p, q) * room[I]
    weights = dims[R] * dims[S] * float(c) * room[W]
    each = groups * (weights + float(n) * p * q * room[O])
    return fewest(free, each, dims[K], unit, trips)


@lean
def fewest(free, each, whole, unit, trips):
    """Return the fewest trips of tiles of whole units, `each` bits per element, in free bits."""
    if free < 0:
        return 0
    if each * whole <= free:
        return 1
    times = int(free / each) // unit
    return 0 if times == 0 else -(-trips // times)


@lean
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


@lean
def slots(trips):
    """Return how many splits of so many trips there may be."""
    return 2 * int(np.sqrt(trips)) + 3


@lean
def add_stays(value, each, group, tensor, times, out):
    """Write the rows when `tensor` moves `times` and the others once for each of their trips."""
    for row in range(len(value)):
        out[row] = value[row]
        for other in range(3):
            out[row] += each[row, other] * (times if other == tensor else group[other])


@lean
def copied(rows, out):
    """Copy a vector; a slice assignment would allocate."""
    for row in range(len(rows)):
        out[row] = rows[row]


@lean
def raised(out, rows):
    """Raise rows to lower bounds given elsewhere."""
    for row in range(len(out)):
        out[row] = max(out[row], rows[row])


@lean
def corner_rows(least, group, tensor, out):
    """Write the least rows of fills out from a buffer when `tensor` passes straight through it.

    Then both groups that index it have as many trips there as further in.
    """
    out[:] = 0.0
    for other in range(3):
        if other != tensor:
            raised(out, least[other, min(int(group[other]), MOST)])


@lean
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


@lean
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


@lean
def at_one(rows, each, tensor, front, start, stop, out):
    """Write the rows for the trips of one point of a front and the least rows of another."""
    times = front[start, 0] - 1
    for row in range(len(rows)):
        out[row] = rows[row] + each[row, tensor] * times + front[stop, 1 + row]
