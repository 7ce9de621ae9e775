"""Compiled: unrollings and scratchpad tiles where several buffers lie outside the array."""

# Numba infers the types of kernels at their first call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hwflow.costs.fine.kernels import I, O, W, fan_inputs, jit, least_spans, less
from hwflow.costs.fine.kernels_array import choices, largest, most_in_pe, set_steps
from hwflow.costs.fine.kernels_chain import all_chains
from hwflow.costs.fine.kernels_deep import copied, lean, outward
from hwflow.costs.fine.kernels_fronts import fill_fronts
from hwflow.costs.fine.kernels_search import grow
from hwflow.costs.fine.kernels_state import Found, room_for
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


@lean
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
    copied(d.const, w.value[at])
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


@lean
def extent(d, s, a, tensor, x):
    """Return what one array pass covers of a tensor along a loop; of one that streams, a step."""
    return min(s[x] * (a[x] if d.tab[PADDED, tensor] > 0 else 1), d.dims[x])


@lean
def end_cycles(d, s, a):
    """Return cycles of the first load and the last store: one array tile's way in and out."""
    weights = float(extent(d, s, a, W, G)) * extent(d, s, a, W, K) * extent(d, s, a, W, C)
    weights *= extent(d, s, a, W, R) * extent(d, s, a, W, S)
    outputs = float(extent(d, s, a, O, G)) * extent(d, s, a, O, N) * extent(d, s, a, O, K)
    outputs *= extent(d, s, a, O, P) * extent(d, s, a, O, Q)
    inputs = float(extent(d, s, a, I, G)) * extent(d, s, a, I, N) * extent(d, s, a, I, C)
    for axis in range(2):
        p, r = extent(d, s, a, I, P + axis), extent(d, s, a, I, R + axis)
        inputs *= (p - 1) * d.geo[axis] + (r - 1) * d.geo[2 + axis] + 1
    return weights * d.ends[W] + inputs * d.ends[I] + outputs * d.ends[O]


@lean
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


class Leaves(NamedTuple):
    """Arrays of the walk over scratchpad tiles, and the arguments that it shares."""

    order: Any
    most_pe: Any
    sizes: Any
    length: Any
    at: Any
    a: Any
    u: Any
    lo: Any
    hi: Any
    most: Any
    record: Any
    """Keys of the leaf of lowest bound so far."""
    low: Any
    """Keys that bound what was left out."""
    tally: Any
    """Leaves, visits, buffer tiles."""


@jit
def walk_of(order, most_pe):
    """Return the arrays of a walk."""
    depth = len(order)
    return Leaves(
        order, most_pe, np.empty((depth, 512), np.int64), np.zeros(depth, np.int64),
        np.zeros(depth, np.int64), np.ones(8, np.int64), np.empty(8), np.empty(8), np.empty(8),
        np.empty(3), np.array([np.inf, np.inf]), np.array([np.inf, np.inf]),
        np.zeros(3, np.int64),
    )  # fmt: skip


@lean
def enter(d, f, level):
    """List the tiles to try along the loop of a level of the walk."""
    x = f.order[level]
    top = largest(d.tab, d.sca, d.geo, f.a, x, min(f.most_pe[x], int(f.u[x])))
    whole = d.sca[WHOLE_S] > 0 and x == S
    f.length[level] = choices(int(f.u[x]), top, d.sca[FULL] > 0, whole, f.sizes[level])
    f.at[level] = 0


@lean
def leave(f, level):
    """Undo the choice of a level of the walk."""
    x = f.order[level]
    f.a[x] = 1
    f.lo[x], f.hi[x] = -(-f.u[x] // min(f.most_pe[x], f.u[x])), f.u[x]


@lean
def take(d, fronts, w, f, s, level, best):
    """Take the next tile of a level of the walk; return the keys that bound it."""
    x = f.order[level]
    f.a[x] = f.sizes[level, f.at[level]]
    f.lo[x] = -(-f.u[x] // f.a[x])
    f.hi[x] = f.lo[x]
    f.at[level] += 1
    f.tally[0] += 1
    last = level == len(f.order) - 1
    return bound(d, fronts, w, s, f.a, f.u, f.lo, f.hi, last, f.most, best)


@jit
def visit(d, fronts, w, f, s, keys_, found, winner):
    """Search the chains of the inner tile at hand; note its bound if that was cut short."""
    f.tally[1] += 1
    look(d, fronts, w, s, f.a, f.u, f.lo, f.hi, f.most, found, winner)
    if spent(d, w, f, found.best):
        lower(f.low, keys_)


@jit
def scan(d, fronts, w, f, s, index, found, winner, store, stored, kept):
    """Bound the scratchpad tiles of one unrolling, visit those of record-low bound, store others.

    Returns the store, its keys, how many it has, and whether the search is over.
    """
    best, depth = found.best, len(f.order)
    set_steps(d.dims, s, f.most_pe, f.u, f.lo, f.hi)
    f.a[:] = 1
    level = 0
    enter(d, f, 0)
    while level >= 0:
        if spent(d, w, f, best):
            return store, stored, kept, True
        if f.at[level] >= f.length[level]:
            leave(f, level)
            level -= 1
            continue
        keys_ = take(d, fronts, w, f, s, level, best)
        if not less(keys_[0], keys_[1], best[0], best[1]):
            continue
        if level < depth - 1:
            level += 1
            enter(d, f, level)
        elif less(keys_[0], keys_[1], f.record[0], f.record[1]):
            f.record[0], f.record[1] = keys_
            visit(d, fronts, w, f, s, keys_, found, winner)
        else:
            if kept == len(store):
                store, stored = grow(store, stored)
            store[kept, :8] = f.a
            store[kept, 8] = index
            stored[kept, 0], stored[kept, 1] = keys_
            kept += 1
    return store, stored, kept, False


@jit
def ranked(d, fronts, w, f, spatial, best):
    """Return the bounds of all unrollings, shape (n, 2)."""
    ones, ranks = np.ones(8, np.int64), np.empty((len(spatial), 2))
    for index in range(len(spatial)):
        set_steps(d.dims, spatial[index], f.most_pe, f.u, f.lo, f.hi)
        ranks[index] = bound(
            d, fronts, w, spatial[index], ones, f.u, f.lo, f.hi, False, f.most, best
        )
    return ranks


@jit
def search(d, spatial, order, start, stop):
    """Search the mapspace exhaustively with admissible pruning.

    `spatial` are the unrollings, `order` the loops that may be tiled in a PE, `start` an
    incumbent's keys, `stop` a flag that ends the search. Returns (best keys, energy, cycles), the
    winner (unrolling, tile), the tiles of each level and what stays there, counts (leaves, visits,
    buffer tiles) and the keys of the lower bound.
    """
    w = room_for(d, stop)
    found = Found(
        np.array([start[0], start[1], np.inf, np.inf]), w.tile.copy(), w.stay.copy(),
        np.zeros(1, np.int64),
    )  # fmt: skip
    best, winner = found.best, np.zeros((2, 8), np.int64)
    f = walk_of(order, most_in_pe(d.dims, d.geo, d.tab, d.sca, order))
    fronts = fill_fronts(d)
    if f.most_pe[0] == 0 or np.min(fronts.counts) == 0:
        return best, winner, found.tile, found.stay, f.tally, f.low
    w.tally[1] = int(d.sca[MAX_VISITS]) * TILES_PER_VISIT
    ranks = ranked(d, fronts, w, f, spatial, best)
    store, stored, kept = np.empty((1024, 9), np.int32), np.empty((1024, 2)), 0
    for index in np.argsort(ranks[:, 0]):
        if not less(ranks[index, 0], ranks[index, 1], best[0], best[1]):
            continue
        store, stored, kept, over = scan(
            d, fronts, w, f, spatial[index], index, found, winner, store, stored, kept
        )
        if over:
            lower(f.low, ranks[index])
            break
    for item in np.argsort(stored[:kept, 0]):
        if not less(stored[item, 0], stored[item, 1], best[0], best[1]):
            continue
        if spent(d, w, f, best):
            lower(f.low, stored[item])
            break
        s = spatial[store[item, 8]]
        set_steps(d.dims, s, f.most_pe, f.u, f.lo, f.hi)
        f.a[:] = store[item, :8]
        visit(d, fronts, w, f, s, stored[item], found, winner)
    f.tally[2] = w.tally[0]
    if not less(f.low[0], f.low[1], best[0], best[1]):
        f.low[0], f.low[1] = best[0], best[1]
    return best, winner, found.tile, found.stay, f.tally, f.low


@lean
def spent(d, w, f, best):
    """Tell whether a mapping is found and a limit reached: of time, leaves, visits, or tiles."""
    return best[0] < np.inf and (
        w.stop[0] != 0
        or f.tally[0] > d.sca[MAX_LEAVES]
        or f.tally[1] > d.sca[MAX_VISITS]
        or w.tally[0] > w.tally[1]
    )


@lean
def lower(low, keys_):
    """Lower the bound of what was left out."""
    if less(keys_[0], keys_[1], low[0], low[1]):
        low[0], low[1] = keys_[0], keys_[1]
