"""Compiled: unrollings and scratchpad tiles where several buffers lie outside the array."""

# Numba infers the types of kernels at their first call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numpy as np

from hwflow.costs.fine.kernels import I, O, W, fan_inputs, jit, least_spans, less
from hwflow.costs.fine.kernels_array import choices, grow, largest, most_in_pe, set_steps
from hwflow.costs.fine.kernels_chain import Found, all_chains, room_for
from hwflow.costs.fine.kernels_deep import fill_fronts, outward
from hwflow.costs.fine.layout import (
    FULL,
    HOP,
    LANES,
    MAX_LEAVES,
    MAX_VISITS,
    PADDED,
    STAYS,
    STEP,
    WHOLE_S,
)  # fmt: skip
from hwflow.costs.fine.shape import C, G, K, N, P, Q, R, S

TILES_PER_VISIT = 2000
"""Buffer tiles that count as much as one visit of an inner tile against the limit of visits."""


@jit
def inner(d, w, s, u, lo, hi, fan_i):
    """Set the state at the array from trips between `lo` and `hi`; `u` for tensors that stream."""
    at = len(d.cap) + 1
    dims, geo = d.dims, d.geo
    at_lo, at_hi = (lo, hi) if d.tab[PADDED, I] > 0 else (u, u)
    rows = least_spans(dims[P], dims[R], geo[0], geo[2], at_lo[P], at_hi[P], at_lo[R], at_hi[R])
    columns = least_spans(dims[Q], dims[S], geo[1], geo[3], at_lo[Q], at_hi[Q], at_lo[S], at_hi[S])
    depth = np.ceil(u[C] * u[R] * u[S] / d.sca[LANES])
    size = (
        float(dims[G]) * dims[K] * dims[C] * dims[R] * dims[S],
        float(dims[G]) * dims[N] * dims[C] * rows * columns,
        float(dims[G]) * dims[N] * dims[K] * dims[P] * dims[Q],
    )
    fan = (float(s[N] * s[P] * s[Q]), fan_i, float(s[C] * s[R] * s[S]))
    streamed = (u[N] * u[P] * u[Q], u[K], depth)
    w.group[at, W], w.group[at, I] = lo[N] * lo[P] * lo[Q], lo[K]
    w.group[at, O] = lo[C] * lo[R] * lo[S]
    w.value[at] = d.const
    for tensor in range(3):
        stays = d.tab[STAYS, tensor] > 0
        for row in range(len(d.const)):
            moved = d.coef[row, at - 1, tensor] * size[tensor]
            if row == 0:
                moved += size[tensor] * fan[tensor] * d.tab[HOP, tensor]
            w.each[at, row, tensor] = moved * stays
            if not stays:
                times = w.group[at, tensor] if d.tab[PADDED, tensor] > 0 else streamed[tensor]
                w.value[at, row] += moved * times
    w.scalars[0] = u[N] * u[K] * u[P] * u[Q] * u[G] * depth * d.sca[STEP]


@jit
def end_cycles(d, s, a):
    """Return cycles of the first load and the last store: one array tile's way in and out."""
    tile = np.empty((3, 8))
    for tensor in range(3):
        for x in range(8):
            size = s[x] * a[x] if d.tab[PADDED, tensor] > 0 else s[x]
            tile[tensor, x] = min(size, d.dims[x])
    w, i, o = tile[0], tile[1], tile[2]
    rows = (i[P] - 1) * d.geo[0] + (i[R] - 1) * d.geo[2] + 1
    columns = (i[Q] - 1) * d.geo[1] + (i[S] - 1) * d.geo[3] + 1
    return (
        w[G] * w[K] * w[C] * w[R] * w[S] * d.ends[W]
        + i[G] * i[N] * i[C] * rows * columns * d.ends[I]
        + o[G] * o[N] * o[K] * o[P] * o[Q] * d.ends[O]
    )


@jit
def bound(d, fronts, w, s, a, u, lo, hi, whole, most, best):
    """Return keys that no mapping of an inner tile (`whole`), or of a set of them, can be below."""
    fan, ends = float(s[K]), 0.0
    if whole:
        fan = fan_inputs(d.dims, d.geo, s, lo if d.tab[PADDED, I] > 0 else u)
        ends = end_cycles(d, s, a)
    inner(d, w, s, u, lo, hi, fan)
    w.scalars[1] = ends
    at = len(d.cap) + 1
    most[W], most[I], most[O] = hi[N] * hi[P] * hi[Q], hi[K], hi[C] * hi[R] * hi[S]
    return outward(
        d.sca, d.steps, fronts.front[at - 2], fronts.counts[at - 2], fronts.least[at - 2],
        w.value[at], w.each[at], w.group[at], most, w.scalars, w.rows[0], w.rows[1], best, False,
    )  # fmt: skip


@jit
def look(d, fronts, w, s, a, u, lo, hi, most, found, winner):
    """Search all chains of an inner tile; keep it in `winner` when it gives the best mapping."""
    for x in range(8):
        lo[x] = -(-u[x] // a[x])
        hi[x] = lo[x]
    bound(d, fronts, w, s, a, u, lo, hi, True, most, found.best)
    at = len(d.cap) + 1
    for x in range(5):
        w.cut[at, x] = int(lo[x])
        w.tile[at, x] = a[x] * s[x]
    w.scalars[2] = min(s[G], d.dims[G])
    found.flag[0] = 0
    all_chains(d, fronts, w, found)
    if found.flag[0] == 1:
        winner[0], winner[1] = s, a


@jit
def search(d, spatial, order, start):
    """Search the mapspace exhaustively with admissible pruning.

    `spatial` are the unrollings, `order` the loops that may be tiled in a PE, `start` an
    incumbent's keys. Returns (best keys, energy, cycles), the winner (unrolling, tile), the tiles
    of each level and what stays there, counts (leaves, visits) and the keys of the lower bound.
    """
    w = room_for(d)
    found = Found(
        np.array([start[0], start[1], np.inf, np.inf]), w.tile.copy(), w.stay.copy(),
        np.zeros(1, np.int64),
    )  # fmt: skip
    best = found.best
    winner = np.zeros((2, 8), np.int64)
    tally = np.zeros(3, np.int64)
    low = np.array([np.inf, np.inf])
    most_pe = most_in_pe(d.dims, d.geo, d.tab, d.sca, order)
    fronts = fill_fronts(d)
    if most_pe[0] == 0 or np.min(fronts.counts) == 0:
        return best, winner, found.tile, found.stay, tally, low
    w.tally[1] = int(d.sca[MAX_VISITS]) * TILES_PER_VISIT
    u, lo, hi, most = np.empty(8), np.empty(8), np.empty(8), np.empty(3)
    ones = np.ones(8, np.int64)
    ranks = np.empty((len(spatial), 2))
    for index in range(len(spatial)):
        set_steps(d.dims, spatial[index], most_pe, u, lo, hi)
        ranks[index] = bound(d, fronts, w, spatial[index], ones, u, lo, hi, False, most, best)
    ranked = np.argsort(ranks[:, 0])
    store, stored = np.empty((1024, 9), np.int32), np.empty((1024, 2))
    record = np.array([np.inf, np.inf])
    kept = 0
    depth = len(order)
    sizes = np.empty((depth + 1, 512), np.int64)
    length, at = np.zeros(depth + 1, np.int64), np.zeros(depth + 1, np.int64)
    a = np.ones(8, np.int64)
    for index in ranked:
        if not less(ranks[index, 0], ranks[index, 1], best[0], best[1]):
            continue
        if tally[0] > d.sca[MAX_LEAVES] or spent(d, w, tally):
            lower(low, ranks[index])
            break
        s = spatial[index]
        set_steps(d.dims, s, most_pe, u, lo, hi)
        a[:] = 1
        level = 0
        at[0] = -1
        while level >= 0:
            if level < depth and at[level] < 0:
                x = order[level]
                top = largest(d.tab, d.sca, d.geo, a, x, min(most_pe[x], int(u[x])))
                whole = d.sca[WHOLE_S] > 0 and x == S
                length[level] = choices(int(u[x]), top, d.sca[FULL] > 0, whole, sizes[level])
                at[level] = 0
            if level == depth or at[level] >= length[level]:
                if level < depth:
                    x = order[level]
                    a[x] = 1
                    lo[x], hi[x] = -(-u[x] // min(most_pe[x], u[x])), u[x]
                level -= 1
                if level >= 0:
                    at[level] += 1
                continue
            x = order[level]
            a[x] = sizes[level, at[level]]
            lo[x] = -(-u[x] // a[x])
            hi[x] = lo[x]
            tally[0] += 1
            last = level == depth - 1
            keys_ = bound(d, fronts, w, s, a, u, lo, hi, last, most, best)
            if not less(keys_[0], keys_[1], best[0], best[1]):
                at[level] += 1
                continue
            if not last:
                level += 1
                at[level] = -1
                continue
            if less(keys_[0], keys_[1], record[0], record[1]) and not spent(d, w, tally):
                record[0], record[1] = keys_
                tally[1] += 1
                look(d, fronts, w, s, a, u, lo, hi, most, found, winner)
                if spent(d, w, tally):
                    lower(low, record)
            else:
                if kept == len(store):
                    store, stored = grow(store, stored)
                store[kept, :8] = a
                store[kept, 8] = index
                stored[kept, 0], stored[kept, 1] = keys_
                kept += 1
            at[level] += 1
    for item in np.argsort(stored[:kept, 0]):
        if not less(stored[item, 0], stored[item, 1], best[0], best[1]):
            continue
        if not spent(d, w, tally):
            s = spatial[store[item, 8]]
            set_steps(d.dims, s, most_pe, u, lo, hi)
            a[:] = store[item, :8]
            tally[1] += 1
            look(d, fronts, w, s, a, u, lo, hi, most, found, winner)
        if spent(d, w, tally):
            lower(low, stored[item])
    tally[2] = w.tally[0]
    if not less(low[0], low[1], best[0], best[1]):
        low[0], low[1] = best[0], best[1]
    return best, winner, found.tile, found.stay, tally, low


@jit
def spent(d, w, tally):
    """Tell whether the limit of visits, or of tiles tried in them, is reached."""
    return tally[1] > d.sca[MAX_VISITS] or w.tally[0] > w.tally[1]


@jit
def lower(low, keys_):
    """Lower the bound of what was left out."""
    if less(keys_[0], keys_[1], low[0], low[1]):
        low[0], low[1] = keys_[0], keys_[1]
