"""Compiled: unrollings over the array, and scratchpad tiles."""

# Numba infers the types of kernels at their first call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, type-arg"

from __future__ import annotations

import numpy as np

from hwflow.costs.fine.kernels import I, O, W, jit
from hwflow.costs.fine.layout import PAD, PAD_CAP, PADDED, SHARED, WHOLE_S
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
def idle(dims, tab, tensor, d):
    """Tell whether a scratchpad tile along `d` is never better than 1 while a tensor stays.

    The tensor is reused over `d` whatever the tile, and smaller array tiles leave more choice in
    the buffer. Only the halo of inputs may make tiles of P and Q (R and S) worth their room.
    """
    halo = tab[PADDED, I] > 0
    if tensor == I:
        return d == K
    if tensor == O:
        return d == C or (d in (R, S) and (not halo or dims[d - R + P] == 1))
    if tensor == W:
        return d == N or (d in (P, Q) and (not halo or dims[d - P + R] == 1))
    return False


@jit
def tiled(dims, tab, sca, order, tensor, loops):
    """List the loops to tile in a PE while a tensor stays; return how many."""
    count = 0
    for d in order:
        if not idle(dims, tab, tensor, d) or (sca[WHOLE_S] > 0 and d == S):
            loops[count] = d
            count += 1
    return count
