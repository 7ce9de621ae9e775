"""Compiled: the search over stationary tensors, unrollings and scratchpad tiles.

A pair of a stationary tensor and an unrolling is an item. Items go by rising bound; below each, the
scratchpad tile is chosen loop by loop. Whole tiles with a record-low bound are visited at once, the
rest are stored and visited by rising bound, until no bound is below the best mapping.
"""

# Numba infers the types of kernels at their first call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, type-arg"

from __future__ import annotations

import numpy as np

from hwflow.costs.fine.kernels import LEAF, LENDS, end_cycles, fan_inputs, fill_leaf, jit, less
from hwflow.costs.fine.kernels_array import choices, largest, most_in_pe, set_steps, tiled
from hwflow.costs.fine.kernels_bound import PARTS, far_costs, joint, lower_hulls, unit_costs, whole
from hwflow.costs.fine.kernels_buffer import WINDOW, corners, fits_buffer, relax, visit, windows
from hwflow.costs.fine.layout import FULL, MAX_LEAVES, MAX_VISITS, PADDED, STAYS, WHOLE_S
from hwflow.costs.fine.shape import DIMS, C, G, K, N, P, Q, S

DIM_COUNT = len(DIMS)

SLOTS = 512
"""Lists of windows that are kept, by array tile."""

MOST_WINDOWS = 1_000_000
"""Windows kept at once; then the lists are made anew."""

LEAVES, VISITS, PROVEN = range(3)
"""Entries of the tally."""


@jit
def open_loops(loops, count, u, lo, hi, free):
    """Mark the loops to tile as free, and give the others one step for each trip."""
    free[:] = 0
    for k in range(count):
        free[loops[k]] = 1
    for d in range(DIM_COUNT):
        if free[d] == 0:
            lo[d] = u[d]


@jit
def stationary(tab):
    """Return the tensors that may stay in the PEs; -1 where none may."""
    count = 0
    kinds = np.empty(3, np.int64)
    for tensor in range(3):
        if tab[STAYS, tensor] > 0:
            kinds[count] = tensor
            count += 1
    if count == 0:
        kinds[0], count = -1, 1
    return kinds[:count]


@jit
def rank(dims, geo, tab, sca, spatial, kinds, most, relaxed, leaf):
    """Return loose bounds of all items, shape (stationary tensors x unrollings, 2).

    Every loop is taken at its fewest trips at once; :func:`joint` is tighter and slower.
    """
    u, lo, hi = np.empty(8), np.empty(8), np.empty(8)
    bounds = np.empty((len(kinds) * len(spatial), 2))
    for index in range(len(spatial)):
        s = spatial[index]
        set_steps(dims, s, most, u, lo, hi)
        fill_leaf(dims, geo, tab, sca, s, u, lo, hi, float(s[K]), 0.0, leaf)
        for kind in range(len(kinds)):
            bounds[kind * len(spatial) + index] = whole(
                dims, tab, sca, leaf, relaxed[0], relaxed[1], kinds[kind]
            )
    return bounds


@jit
def by_bound(bounds):
    """Return the order of rising bounds, the second key deciding between equals."""
    second = np.argsort(bounds[:, 1], kind="mergesort")
    return second[np.argsort(bounds[second, 0], kind="mergesort")]


@jit
def listed_windows(dims, geo, sca, tile, trips, slots, pool):
    """Return (start, end, pool): where the pool holds the windows of an array tile."""
    n, p, q = min(tile[N], dims[N]), min(tile[P], dims[P]), min(tile[Q], dims[Q])
    place = (n * 31 + p * 1009 + q) % SLOTS
    slot = slots[place]
    if slot[0] == n and slot[1] == p and slot[2] == q:
        return slot[3], slot[4], pool
    rows = windows(dims, geo, sca, tile, trips)
    if slots[SLOTS, 4] > MOST_WINDOWS:
        slots[:] = 0
    start = slots[SLOTS, 4]
    while start + len(rows) > len(pool):
        bigger = np.empty((2 * len(pool), WINDOW))
        bigger[:start] = pool[:start]
        pool = bigger
    end = start + len(rows)
    pool[start:end] = rows
    slot[0], slot[1], slot[2], slot[3], slot[4] = n, p, q, start, end
    slots[SLOTS, 4] = end
    return start, end, pool


@jit
def look(layer, s, a, u, tensor, leaf, best, found, winner, slots, pool):
    """Visit an inner tile; keep it in `winner` (unrolling, tile) when it gives the best mapping."""
    dims, geo, tab, sca = layer
    trips, tile = np.empty(8, np.int64), np.empty(8, np.int64)
    exact = np.empty(8)
    for d in range(8):
        trips[d] = -(-int(u[d]) // a[d])
        exact[d] = trips[d]
        tile[d] = a[d] * s[d]
    fan = fan_inputs(dims, geo, s, exact if tab[PADDED, 1] > 0 else u)
    ends = end_cycles(dims, geo, tab, sca, s, a)
    fill_leaf(dims, geo, tab, sca, s, u, exact, exact, fan, ends, leaf)
    found[7] = 0
    groups = min(s[G], dims[G])
    if fits_buffer(dims, geo, tab, sca, tile, groups):
        start, end, pool = listed_windows(dims, geo, sca, tile, trips, slots, pool)
        corners(dims, geo, tab, sca, leaf, tile, trips, groups, tensor, best, found)
        visit(dims, tab, sca, leaf, tile, trips, groups, tensor, pool[start:end], best, found)
    if found[7] == 1:
        winner[0], winner[1] = s, a
        winner[2, :7] = found[:7]
    return pool


@jit
def grow(store, keys_):
    """Double the space for stored leaves."""
    bigger = np.empty((2 * len(store), store.shape[1]), store.dtype)
    bigger[: len(store)] = store
    keys_2 = np.empty((2 * len(keys_), 2))
    keys_2[: len(keys_)] = keys_
    return bigger, keys_2


@jit
def spent(sca, stop, winner, tally):
    """Tell whether the search has to stop; never before it has a mapping."""
    over = tally[LEAVES] > sca[MAX_LEAVES] or tally[VISITS] > sca[MAX_VISITS]
    return winner[2, 7] == 1 and (over or stop[0] > 0)


@jit
def bound_tile(layer, s, tensor, most, relaxed, costs, work):
    """Return the bound of a whole or partly chosen tile; of a whole one its leaf is filled."""
    dims, geo, tab, sca = layer
    u, lo, hi, free, a, leaf = work
    for d in range(DIM_COUNT):
        if free[d] == 1:
            return joint(dims, geo, tab, sca, most, tensor, s, u, a, lo, hi, free, relaxed, costs)
    fan = fan_inputs(dims, geo, s, lo if tab[PADDED, 1] > 0 else u)
    ends = end_cycles(dims, geo, tab, sca, s, a)
    fill_leaf(dims, geo, tab, sca, s, u, lo, hi, fan, ends, leaf)
    return whole(dims, tab, sca, leaf, relaxed[0], relaxed[1], tensor)


@jit
def hopeless(layer, tensor, relaxed, leaf, ends, best):
    """Tell whether a tile is not below the best even with the ends of the smallest tile.

    Along the last loop, K or C, smaller tiles only move more.
    """
    dims, _, tab, sca = layer
    leaf[LENDS] = ends
    first, second = whole(dims, tab, sca, leaf, relaxed[0], relaxed[1], tensor)
    return not less(first, second, best[0], best[1])


@jit
def descend(layer, stop, s, index, tensor, loops, most, relaxed, costs, work, steps, state, kept):
    """Choose the tile of one item loop by loop; return what is kept and whether it was cut short.

    `steps` are (sizes, length, at) by depth, `state` (best, found, winner, tally, record), `kept`
    (stored leaves, their keys, how many, slots of windows, pool of windows).
    """
    dims, geo, tab, sca = layer
    u, lo, hi, free, a, leaf = work
    sizes, length, at = steps
    best, found, winner, tally, record = state
    store, stored, count, slots, pool = kept
    depth, level, ends = len(loops), 0, 0.0
    at[0] = -1
    while level >= 0:
        d = loops[level]
        if at[level] < 0:
            a[d] = 1
            top = largest(tab, sca, geo, a, d, min(most[d], int(u[d])))
            only = sca[WHOLE_S] > 0 and d == S
            length[level] = choices(int(u[d]), top, sca[FULL] > 0, only, sizes[level])
            if level == depth - 1:
                ends = end_cycles(dims, geo, tab, sca, s, a)
            at[level] = 0
        if at[level] >= length[level]:
            a[d], free[d] = 1, 1
            lo[d], hi[d] = -(-u[d] // min(most[d], u[d])), u[d]
            level -= 1
            if level >= 0:
                at[level] += 1
            continue
        if spent(sca, stop, winner, tally):
            return store, stored, count, pool, True
        a[d], free[d] = sizes[level, at[level]], 0
        lo[d] = -(-u[d] // a[d])
        hi[d] = lo[d]
        tally[LEAVES] += 1
        first, second = bound_tile(layer, s, tensor, most, relaxed, costs, work)
        if not less(first, second, best[0], best[1]):
            at[level] += 1
            smaller = level == depth - 1 and d in (K, C) and at[level] < length[level]
            if smaller and hopeless(layer, tensor, relaxed, leaf, ends, best):
                at[level] = length[level]
            continue
        if level < depth - 1:
            level += 1
            at[level] = -1
            continue
        if less(first, second, record[0], record[1]):
            record[0], record[1] = first, second
            tally[VISITS] += 1
            pool = look(layer, s, a, u, tensor, leaf, best, found, winner, slots, pool)
        else:
            if count == len(store):
                store, stored = grow(store, stored)
            store[count, :8] = a
            store[count, 8], store[count, 9] = index, tensor
            stored[count, 0], stored[count, 1] = first, second
            count += 1
        at[level] += 1
    return store, stored, count, pool, False


@jit
def lower(low, keys_):
    """Keep the lesser of two bounds."""
    if keys_[0] < low[0]:
        low[0], low[1] = keys_[0], keys_[1]


@jit
def beaten(keys_, best):
    """Tell whether a bound is not below the best, and whether those after it cannot be either."""
    if less(keys_[0], keys_[1], best[0], best[1]):
        return False, False
    return True, keys_[0] > best[0] * (1 + 1e-9)


@jit
def search(dims, geo, tab, sca, spatial, order, start, stop):
    """Search the mapspace exhaustively with admissible pruning.

    `order` are the loops that may be tiled in a PE, `start` keys of an incumbent; the search ends
    early once `stop[0]` is positive. Returns (best keys, energy, cycles), the winner (unrolling,
    tile, rest), the tally and the keys of the lower bound.
    """
    best = np.array([start[0], start[1], np.inf, np.inf])
    winner = np.zeros((3, 8), np.int64)
    tally = np.zeros(3, np.int64)
    low = np.array([np.inf, np.inf])
    most = most_in_pe(dims, geo, tab, sca, order)
    if most[0] == 0:
        return best, winner, tally, low
    front, counts = relax(dims, geo, tab, sca)
    if counts[0] == 0:
        return best, winner, tally, low
    hulls, hull_sizes = lower_hulls(front, counts)
    relaxed = (front, counts, hulls, hull_sizes)
    costs = (np.empty((PARTS, 3)), np.empty((PARTS, 3)), np.empty(PARTS), np.empty(PARTS))
    far_costs(dims, tab, costs[1])
    kinds = stationary(tab)
    layer = (dims, geo, tab, sca)
    a, leaf, loops = np.ones(8, np.int64), np.empty(LEAF), np.zeros(8, np.int64)
    bounds = rank(dims, geo, tab, sca, spatial, kinds, most, relaxed, leaf)
    work = (np.empty(8), np.empty(8), np.empty(8), np.zeros(8, np.int64), a, leaf)
    steps = (
        np.empty((8, most_sizes(dims)), np.int64), np.zeros(8, np.int64),
        np.zeros(8, np.int64),
    )  # fmt: skip
    state = (best, np.zeros(8, np.int64), winner, tally, np.array([np.inf, np.inf]))
    store, stored, count = np.empty((1024, 10), np.int32), np.empty((1024, 2)), 0
    slots, pool = np.zeros((SLOTS + 1, 5), np.int64), np.empty((1024, WINDOW))
    cut = False
    for item in by_bound(bounds):
        skipped, over = beaten(bounds[item], best)
        if over:
            break
        if skipped:
            continue
        index, tensor = item % len(spatial), kinds[item // len(spatial)]
        s = spatial[index]
        depth = tiled(dims, tab, sca, order, tensor, loops)
        set_steps(dims, s, most, work[0], work[1], work[2])
        open_loops(loops, depth, work[0], work[1], work[2], work[3])
        unit_costs(dims, tab, s, costs[0])
        a[:] = 1
        first, second = joint(
            dims, geo, tab, sca, most, tensor, s, work[0], a, work[1], work[2], work[3], relaxed,
            costs,
        )  # fmt: skip
        if not less(first, second, best[0], best[1]):
            continue
        store, stored, count, pool, cut = descend(
            layer, stop, s, index, tensor, loops[:depth], most, relaxed, costs, work, steps, state,
            (store, stored, count, slots, pool),
        )  # fmt: skip
        if cut:
            lower(low, bounds[item])
            break
    for item in by_bound(stored[:count]):
        skipped, over = beaten(stored[item], best)
        if over:
            break
        if skipped:
            continue
        if cut or spent(sca, stop, winner, tally):
            lower(low, stored[item])
            break
        s = spatial[store[item, 8]]
        set_steps(dims, s, most, work[0], work[1], work[2])
        a[:] = store[item, :8]
        tally[VISITS] += 1
        pool = look(layer, s, a, work[0], store[item, 9], leaf, best, state[1], winner, slots, pool)
    if low[0] >= best[0]:
        low[0], low[1] = best[0], best[1]
        tally[PROVEN] = 1
    return best, winner, tally, low


@jit
def most_sizes(dims):
    """Return how many sizes a tile can have along a loop: twice the root of the longest."""
    longest = 1
    for d in dims:
        longest = max(longest, d)
    return 2 * int(np.sqrt(longest)) + 3
