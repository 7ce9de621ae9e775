"""Compiled: unrollings over the array, scratchpad tiles, and the search over both."""

# Numba infers the types of kernels at their first call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, type-arg"

from __future__ import annotations

import numpy as np

from hwflow.costs.fine.kernels import (
    LEAF,
    I,
    O,
    W,
    bound,
    end_cycles,
    fan_inputs,
    fill_leaf,
    jit,
    less,
)  # fmt: skip
from hwflow.costs.fine.kernels_buffer import relax, visit
from hwflow.costs.fine.layout import (
    FULL,
    MAX_LEAVES,
    MAX_VISITS,
    PAD,
    PAD_CAP,
    PADDED,
    SHARED,
    WHOLE_S,
)  # fmt: skip
from hwflow.costs.fine.shape import C, K, N, P, Q, R, S

DIM_COUNT = 8


@jit
def axis_factors(dims, allowed, size):
    """List all factors along one axis: rows of eight, every one the fewest for its trips."""
    rows = np.ones((1, DIM_COUNT), np.int64)
    for d in range(DIM_COUNT):
        if not allowed[d]:
            continue
        grown = np.empty((len(rows) * size, DIM_COUNT), np.int64)
        count = 0
        for row in rows:
            used = 1
            for x in row:
                used *= x
            last = 0
            for f in range(1, min(size // used, dims[d]) + 1):
                trips = -(-dims[d] // f)
                if trips != last:
                    grown[count] = row
                    grown[count, d] = f
                    count += 1
                    last = trips
        rows = grown[:count].copy()
    return rows


@jit
def unrollings(dims, on_rows, on_cols, rows, cols):
    """List the distinct unrollings: PEs along each loop, shape (n, 8)."""
    first = axis_factors(dims, on_rows, rows)
    second = axis_factors(dims, on_cols, cols)
    radix = np.ones(DIM_COUNT, np.int64)
    for d in range(DIM_COUNT):
        most = (rows if on_rows[d] else 1) * (cols if on_cols[d] else 1)
        radix[d] = min(dims[d], most) + 1
    size = 64
    while size < 3 * len(first) * len(second):
        size *= 2
    keys = np.zeros(size, np.int64)
    found = np.empty((len(first) * len(second), DIM_COUNT), np.int64)
    count = 0
    for x in first:
        for y in second:
            key = 0
            for d in range(DIM_COUNT):
                pes = min(x[d] * y[d], dims[d])
                trips = -(-dims[d] // pes)
                found[count, d] = -(-dims[d] // trips)
                key = key * radix[d] + found[count, d]
            key += 1
            place = (key * 7919) % size
            while keys[place] not in (0, key):
                place = (place + 1) % size
            if keys[place] == 0:
                keys[place] = key
                count += 1
    return found[:count].copy()


@jit
def fits(tab, sca, geo, a):
    """Tell whether a tile of one PE fits its scratchpads."""
    rows = (a[P] - 1) * geo[0] + (a[R] - 1) * geo[2] + 1
    columns = (a[Q] - 1) * geo[1] + (a[S] - 1) * geo[3] + 1
    weights = float(a[K]) * a[C] * a[R] * a[S] * tab[PAD, W]
    inputs = float(a[N]) * a[C] * rows * columns * tab[PAD, I]
    outputs = float(a[N]) * a[K] * a[P] * a[Q] * tab[PAD, O]
    if sca[SHARED] > 0:
        cap = max(tab[PAD_CAP, W], tab[PAD_CAP, I], tab[PAD_CAP, O])
        return weights + inputs + outputs <= cap
    return weights <= tab[PAD_CAP, W] and inputs <= tab[PAD_CAP, I] and outputs <= tab[PAD_CAP, O]


@jit
def largest(tab, sca, geo, a, d, most):
    """Return the largest tile along `d` that fits beside the rest of `a`, 0 if none; by halves."""
    kept = a[d]
    low, high = 0, most
    while low < high:
        a[d] = (low + high + 1) // 2
        if fits(tab, sca, geo, a):
            low = a[d]
        else:
            high = a[d] - 1
    a[d] = kept
    return low


@jit
def list_sizes(steps, most, out):
    """List, falling, the smallest tile of each number of trips over `steps`; return how many."""
    found = 0
    trips = -(-steps // most)
    while True:
        size = -(-steps // trips)
        out[found] = size
        found += 1
        if size == 1:
            return found
        trips = -(-steps // (size - 1))


@jit
def choices(steps, most, full, whole, out):
    """List the tiles to try along a loop: all, or divisors and the two largest that fit."""
    found = list_sizes(steps, most, out)
    if whole and out[0] == steps:
        return 1
    if full:
        return found
    kept = 0
    for index in range(found):
        if index < 2 or steps % out[index] == 0:
            out[kept] = out[index]
            kept += 1
    return kept


@jit
def set_steps(dims, s, most, u, lo, hi):
    """Set steps of the PEs along each loop, and the trips there can be."""
    for d in range(DIM_COUNT):
        u[d] = -(-dims[d] // s[d])
        lo[d] = -(-u[d] // min(most[d], u[d]))
        hi[d] = u[d]


@jit
def rank(dims, geo, tab, sca, spatial, most, front, counts):
    """Return the bounds of all unrollings, shape (n, 2)."""
    u, lo, hi = np.empty(8), np.empty(8), np.empty(8)
    leaf = np.empty(LEAF)
    bounds = np.empty((len(spatial), 2))
    for index in range(len(spatial)):
        s = spatial[index]
        set_steps(dims, s, most, u, lo, hi)
        fill_leaf(dims, geo, tab, sca, s, u, lo, hi, float(s[K]), 0.0, leaf)
        bounds[index] = bound(dims, tab, sca, leaf, front, counts)
    return bounds


@jit
def most_in_pe(dims, geo, tab, sca, order):
    """Return the largest tile along each loop that fits alone; 0 in the first if nothing fits."""
    most, ones = np.ones(8, np.int64), np.ones(8, np.int64)
    if not fits(tab, sca, geo, ones):
        most[0] = 0
        return most
    for d in order:
        most[d] = largest(tab, sca, geo, ones, d, dims[d])
    return most


@jit
def array_tile(dims, geo, tab, sca, s, a, u, leaf):
    """Fill the leaf of a whole inner tile; return its trips and the array tile."""
    trips, tile = np.empty(8, np.int64), np.empty(8, np.int64)
    exact = np.empty(8)
    for d in range(8):
        steps = int(u[d])
        trips[d] = -(-steps // a[d])
        exact[d] = trips[d]
        tile[d] = a[d] * s[d]
    fan = fan_inputs(dims, geo, s, exact if tab[PADDED, I] > 0 else u)
    ends = end_cycles(dims, geo, tab, sca, s, a)
    fill_leaf(dims, geo, tab, sca, s, u, exact, exact, fan, ends, leaf)
    return trips, tile


@jit
def look(dims, geo, tab, sca, s, a, u, leaf, best, found, winner):
    """Visit an inner tile; keep it in `winner` (unrolling, tile) when it gives the best mapping."""
    trips, tile = array_tile(dims, geo, tab, sca, s, a, u, leaf)
    found[7] = 0
    visit(dims, geo, tab, sca, leaf, tile, trips, min(s[7], dims[7]), best, found)
    if found[7] == 1:
        winner[0], winner[1] = s, a
        winner[2, :7] = found[:7]


@jit
def grow(store, keys_):
    """Double the space for stored leaves."""
    bigger = np.empty((2 * len(store), store.shape[1]), store.dtype)
    bigger[: len(store)] = store
    keys_2 = np.empty((2 * len(keys_), 2))
    keys_2[: len(keys_)] = keys_
    return bigger, keys_2


@jit
def search(dims, geo, tab, sca, spatial, order, start):
    """Search the mapspace exhaustively with admissible pruning.

    `order` are the loops that may be tiled in a PE, `start` an incumbent's keys. Returns
    (best keys, energy, cycles), the winner (unrolling, tile, rest), counts (leaves, visits,
    proven) and the keys of the lower bound.
    """
    best = np.array([start[0], start[1], np.inf, np.inf])
    winner = np.zeros((3, 8), np.int64)
    tally = np.zeros(4, np.int64)
    low = np.array([np.inf, np.inf])
    most = most_in_pe(dims, geo, tab, sca, order)
    if most[0] == 0:
        return best, winner, tally, low
    front, counts = relax(dims, geo, tab, sca)
    if counts[0] == 0:
        return best, winner, tally, low
    bounds = rank(dims, geo, tab, sca, spatial, most, front, counts)
    ranked = np.argsort(bounds[:, 0])
    found = np.zeros(8, np.int64)
    u, lo, hi = np.empty(8), np.empty(8), np.empty(8)
    leaf = np.empty(LEAF)
    store, stored = np.empty((1024, 9), np.int32), np.empty((1024, 2))
    record = np.array([np.inf, np.inf])
    kept = 0
    depth = len(order)
    sizes = np.empty((depth + 1, 512), np.int64)
    length, at = np.zeros(depth + 1, np.int64), np.zeros(depth + 1, np.int64)
    a = np.ones(8, np.int64)
    out_of_budget = False
    for index in ranked:
        if not less(bounds[index, 0], bounds[index, 1], best[0], best[1]):
            if bounds[index, 0] > best[0] * (1 + 1e-9):
                break
            continue
        if tally[0] > sca[MAX_LEAVES] or tally[1] > sca[MAX_VISITS]:
            out_of_budget = True
            low[0], low[1] = bounds[index, 0], bounds[index, 1]
            break
        s = spatial[index]
        set_steps(dims, s, most, u, lo, hi)
        a[:] = 1
        level = 0
        at[0] = -1
        while level >= 0:
            if level < depth and at[level] < 0:
                d = order[level]
                top = largest(tab, sca, geo, a, d, min(most[d], int(u[d])))
                whole = sca[WHOLE_S] > 0 and d == S
                length[level] = choices(int(u[d]), top, sca[FULL] > 0, whole, sizes[level])
                at[level] = 0
            if level == depth or at[level] >= length[level]:
                if level < depth:
                    d = order[level]
                    a[d] = 1
                    lo[d], hi[d] = -(-u[d] // min(most[d], u[d])), u[d]
                level -= 1
                if level >= 0:
                    at[level] += 1
                continue
            d = order[level]
            a[d] = sizes[level, at[level]]
            lo[d] = -(-u[d] // a[d])
            hi[d] = lo[d]
            tally[0] += 1
            last = level == depth - 1
            if last:
                fan = fan_inputs(dims, geo, s, lo if tab[PADDED, I] > 0 else u)
                ends = end_cycles(dims, geo, tab, sca, s, a)
            else:
                fan, ends = float(s[K]), 0.0
            fill_leaf(dims, geo, tab, sca, s, u, lo, hi, fan, ends, leaf)
            first, second = bound(dims, tab, sca, leaf, front, counts)
            if not less(first, second, best[0], best[1]):
                at[level] += 1
                continue
            if not last:
                level += 1
                at[level] = -1
                continue
            if less(first, second, record[0], record[1]):
                record[0], record[1] = first, second
                tally[1] += 1
                look(dims, geo, tab, sca, s, a, u, leaf, best, found, winner)
            else:
                if kept == len(store):
                    store, stored = grow(store, stored)
                store[kept, :8] = a
                store[kept, 8] = index
                stored[kept, 0], stored[kept, 1] = first, second
                kept += 1
            at[level] += 1
    tally[2] = kept
    reached = np.argsort(stored[:kept, 0])
    if kept > 0 and out_of_budget and stored[reached[0], 0] < low[0]:
        low[0], low[1] = stored[reached[0], 0], stored[reached[0], 1]
    for item in reached:
        if not less(stored[item, 0], stored[item, 1], best[0], best[1]):
            if stored[item, 0] > best[0] * (1 + 1e-9):
                break
            continue
        if tally[1] > sca[MAX_VISITS]:
            if stored[item, 0] < low[0]:
                low[0], low[1] = stored[item, 0], stored[item, 1]
            return best, winner, tally, low
        s = spatial[store[item, 8]]
        set_steps(dims, s, most, u, lo, hi)
        a[:] = store[item, :8]
        tally[1] += 1
        look(dims, geo, tab, sca, s, a, u, leaf, best, found, winner)
    if not out_of_budget or low[0] >= best[0]:
        low[0], low[1] = best[0], best[1]
        tally[3] = 1
    return best, winner, tally, low
