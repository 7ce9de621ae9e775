"""Compiled: all chains of buffer tiles for one inner tile, from the array outward."""

# Numba infers the types of kernels at their first call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numpy as np

from hwflow.costs.fine.kernels import I, O, W, jit, less
from hwflow.costs.fine.kernels_deep import (
    MOST,
    add_stays,
    copied,
    fewest_c,
    judged,
    lean,
    left,
    outward,
    raised,
    splits,
)
from hwflow.costs.fine.kernels_state import choices_at, close, closed, step_out
from hwflow.costs.fine.layout import WHOLE_MAPS
from hwflow.costs.fine.shape import C, K, N, P, Q


@lean
def hopeful(d, fronts, w, level, trips_k, trips_c, best):
    """Tell whether tiles of the next buffer outward may belong to a mapping below the best.

    Known are its cuts along N P Q, and the fewest trips of K and C it may have.
    """
    outer = level - 1
    return by_tables(
        d.sca, d.steps, fronts.exact[outer - 1, W], fronts.least[outer - 1], w.value[level],
        w.each[level], w.group[level], w.group[outer, W], trips_k, trips_c, w.scalars, w.rows[0],
        w.rows[1], best,
    )  # fmt: skip


@lean
def by_tables(
    sca, steps, exact, least, value, each, group, trips_m, trips_k, trips_c, scalars, rows, known,
    best,
):  # fmt: skip
    """Tell, as `hopeful`, by the least rows of a buffer and of all outside it."""
    fewest_trips = (trips_m, float(trips_k), float(trips_c))
    at_m = min(int(trips_m), MOST)
    for tensor in range(3):
        copied(exact[at_m], known)
        raised(known, least[I, min(trips_k, MOST)])
        raised(known, least[O, min(trips_c, MOST)])
        add_stays(value, each, group, tensor, fewest_trips[tensor], rows)
        if promising(sca, steps, rows, known, scalars, best):
            return True
    for tensor in range(3):
        if tensor != W and trips_m != group[W]:
            continue
        copied(exact[at_m], known)
        for other in range(1, 3):
            if tensor != other:
                raised(known, least[other, min(int(group[other]), MOST)])
        add_stays(value, each, group, tensor, 1.0, rows)
        if promising(sca, steps, rows, known, scalars, best):
            return True
    return False


@lean
def promising(sca, steps, rows, known, scalars, best):
    """Tell whether the sum of two vectors of rows is below the best."""
    for row in range(len(rows)):
        rows[row] += known[row]
    first, second = judged(sca, steps, rows, scalars[0], scalars[1])
    return less(first, second, best[0], best[1])


@lean
def reachable(d, fronts, w, level, low_k, high_k, low_c, best):
    """Tell, like `hopeful` but by the fronts of the buffers further out, for tiles of a buffer.

    Known are its cuts along N P Q; K has between `low_k` and `high_k` trips, C at least `low_c`.
    """
    outer = level - 1
    whole_k, whole_c = w.group[level, I], w.group[level, O]
    if from_here(d, fronts, w, level, low_k, high_k, low_c, best):
        return True
    if high_k == whole_k and from_here(d, fronts, w, level, whole_k, whole_k, whole_c, best):
        return True
    if w.group[outer, W] < w.group[level, W]:
        return False
    if from_here(d, fronts, w, level, low_k, high_k, whole_c, best):
        return True
    return high_k == whole_k and from_here(d, fronts, w, level, whole_k, whole_k, low_c, best)


@lean
def may_improve(d, fronts, w, level, most, best):
    """Tell whether a buffer's state, with at most so many trips, may lead to a better mapping."""
    if level == 1:
        copied(best, w.goal)
        keys_ = closed(
            d.sca, d.steps, w.value[1], w.each[1], w.group[1], w.scalars, w.rows[0], w.stays[0],
            w.goal,
        )  # fmt: skip
        return keys_[0] < np.inf
    keys_ = outward(
        d.sca, d.steps, fronts.front[level - 2], fronts.counts[level - 2], fronts.least[level - 2],
        w.value[level], w.each[level], w.group[level], most, w.scalars, w.rows[0], w.rows[1], best,
        True,
    )  # fmt: skip
    return less(keys_[0], keys_[1], best[0], best[1])


@lean
def from_here(d, fronts, w, level, low_k, high_k, low_c, best):
    """Tell whether a buffer may be in a better mapping with so many trips of K, and of C or more.

    Equal trips on both sides of a level's loops count as no loops there.
    """
    outer = level - 1
    w.group[outer, I], w.group[outer, O] = low_k, low_c
    most = w.most
    most[W], most[I], most[O] = w.group[outer, W], high_k, w.group[level, O]
    stays = w.stays[outer]
    for index in range(choices_at(d, w, level, stays)):
        step_out(d, w, level, stays[index])
        if may_improve(d, fronts, w, outer, most, best):
            return True
    return False


@lean
def begin(d, w, level):
    """List the splits of every loop for the next buffer outward, and stand before the first."""
    outer = level - 1
    for x in range(5):
        w.length[outer, x] = splits(w.cut[level, x], w.sizes[outer, x], w.counts[outer, x])
    if d.sca[WHOLE_MAPS] > 0:
        w.length[outer, P], w.length[outer, Q] = 1, 1
    w.at[outer, 0] = 0
    w.at[outer, 1] = w.length[outer, K]
    w.at[outer, 2] = w.length[outer, C]
    w.at[outer, 3] = w.stays[outer, 3]


@lean
def choose(d, w, level, x, index):
    """Take a split of a loop for the next buffer outward."""
    outer = level - 1
    w.cut[outer, x] = w.counts[outer, x, index]
    w.tile[outer, x] = w.sizes[outer, x, index] * w.tile[level, x]


@lean
def size(d, w, level, x):
    """Return the tile of a level along a loop, clipped at the layer."""
    return min(w.tile[level, x], d.dims[x])


@lean
def set_lows(d, w, level):
    """Set the fewest trips of K and of C, each beside the least of the other; False if none fit."""
    outer, groups = level - 1, w.scalars[2]
    n, p, q = size(d, w, outer, N), size(d, w, outer, P), size(d, w, outer, Q)
    k, c = size(d, w, level, K), size(d, w, level, C)
    if left(d.dims, d.geo, d.room[outer - 1], d.cap[outer - 1], groups, n, k, c, p, q) < 0:
        return False
    w.low[outer, 1] = max(1, fewest_c(
        d.dims, d.geo, d.room[outer - 1], d.cap[outer - 1], groups, n, k, p, q, w.tile[level, C],
        w.cut[level, C],
    ))  # fmt: skip
    for index in range(w.length[outer, K]):
        w.low[outer, 0] = w.counts[outer, K, index]
        most = min(w.sizes[outer, K, index] * w.tile[level, K], d.dims[K])
        if left(d.dims, d.geo, d.room[outer - 1], d.cap[outer - 1], groups, n, most, c, p, q) >= 0:
            break
    return True


@lean
def next_pixels(d, fronts, w, level, best):
    """Go to the next splits along N P Q that may belong to a better mapping; False at the end."""
    outer = level - 1
    rows, columns = w.length[outer, P], w.length[outer, Q]
    while w.at[outer, 0] < w.length[outer, N] * rows * columns:
        index = w.at[outer, 0]
        w.at[outer, 0] += 1
        choose(d, w, level, N, index // (rows * columns))
        choose(d, w, level, P, index // columns % rows)
        choose(d, w, level, Q, index % columns)
        w.group[outer, W] = w.cut[outer, N] * w.cut[outer, P] * w.cut[outer, Q]
        if not set_lows(d, w, level):
            continue
        low_k, low_c = w.low[outer, 0], w.low[outer, 1]
        if hopeful(d, fronts, w, level, low_k, low_c, best) and reachable(
            d, fronts, w, level, low_k, w.cut[level, K], low_c, best
        ):
            w.at[outer, 1] = 0
            return True
    return False


@lean
def next_outputs(d, fronts, w, level, best):
    """Go to the next split along K that may belong to a better mapping; False at the end."""
    outer = level - 1
    n, p, q = size(d, w, outer, N), size(d, w, outer, P), size(d, w, outer, Q)
    while w.at[outer, 1] < w.length[outer, K]:
        index = w.at[outer, 1]
        w.at[outer, 1] += 1
        if w.counts[outer, K, index] < w.low[outer, 0]:
            continue
        if (w.stop[0] != 0 or w.tally[0] > w.tally[1]) and best[0] < np.inf:
            continue
        choose(d, w, level, K, index)
        k, unit = size(d, w, outer, K), w.tile[level, C]
        low_c = fewest_c(
            d.dims, d.geo, d.room[outer - 1], d.cap[outer - 1], w.scalars[2], n, k, p, q, unit,
            w.cut[level, C],
        )  # fmt: skip
        if low_c == 0:
            continue
        trips = w.cut[outer, K]
        if hopeful(d, fronts, w, level, trips, low_c, best) and (
            outer == 1 or reachable(d, fronts, w, level, trips, trips, low_c, best)
        ):
            w.group[outer, I] = trips
            w.low[outer, 1] = low_c
            w.at[outer, 2] = 0
            return True
    return False


@lean
def next_inputs(d, w, level):
    """Go to the next split along C that fits; False at the end.

    Next to DRAM the fewest trips are best, unless a tensor passes straight through uncut C.
    """
    outer = level - 1
    straight = w.group[level, I] == w.group[outer, I] or w.group[level, W] == w.group[outer, W]
    while w.at[outer, 2] < w.length[outer, C]:
        index = w.at[outer, 2]
        w.at[outer, 2] += 1
        trips = w.counts[outer, C, index]
        if trips < w.low[outer, 1]:
            continue
        if outer == 1 and not (straight and trips == w.cut[level, C]):
            before = w.counts[outer, C, index - 1] if index > 0 else 0
            if before >= w.low[outer, 1]:
                continue
        w.tally[0] += 1
        choose(d, w, level, C, index)
        w.group[outer, O] = w.cut[outer, C]
        w.stays[outer, 3] = choices_at(d, w, level, w.stays[outer])
        w.at[outer, 3] = 0
        return True
    return False


@lean
def next_stay(d, fronts, w, level, best):
    """Let the next tensor stay and set the state of the buffer; False when none may be better."""
    outer = level - 1
    while w.at[outer, 3] < w.stays[outer, 3]:
        tensor = w.stays[outer, w.at[outer, 3]]
        w.at[outer, 3] += 1
        step_out(d, w, level, tensor)
        if outer == 1:
            return True
        if may_improve(d, fronts, w, outer, w.group[outer], best):
            return True
    return False


@lean
def advance(d, fronts, w, level, best):
    """Go to the next state of the next buffer outward; False at the end."""
    while True:
        if next_stay(d, fronts, w, level, best):
            return True
        if next_inputs(d, w, level) or next_outputs(d, fronts, w, level, best):
            continue
        if not next_pixels(d, fronts, w, level, best):
            return False


@jit
def all_chains(d, fronts, w, found):
    """Try all cuts of all buffers, from the array's state outward."""
    array = len(d.cap) + 1
    level = array
    begin(d, w, level)
    while level <= array:
        if not advance(d, fronts, w, level, found.best):
            level += 1
        elif level == 2:
            close(d, w, found)
        else:
            level -= 1
            begin(d, w, level)
