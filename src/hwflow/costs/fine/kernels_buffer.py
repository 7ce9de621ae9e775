"""Compiled: buffer tiles. The relaxed pass gives bounds, a visit the best tile of an inner tile."""

# Numba infers the types of kernels at their first call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, type-arg"

from __future__ import annotations

import numpy as np

from hwflow.costs.fine.kernels import (
    LCOMPUTE,
    LD,
    LE,
    LENDS,
    LR,
    LTAPS,
    LTK,
    LW,
    I,
    O,
    W,
    corner,
    finish,
    inputs_moved,
    jit,
    keys,
    less,
    moved,
    rest,
    room,
)  # fmt: skip
from hwflow.costs.fine.layout import BUFFER, ROOM, WHOLE_MAPS
from hwflow.costs.fine.shape import C, G, K, N, P, Q, R, S

WINDOW = 7
"""Figures of a buffer tile over N P Q: trips, inputs from DRAM, room for inputs and for outputs in
elements of one channel and one kernel, and its sizes."""

FRONT = 512
"""Trips of a group that the front tells apart; more count as so many."""


@jit
def elements_of(dims):
    """Return elements of weights, inputs that come once (unused) and outputs."""
    return (
        float(dims[G]) * dims[K] * dims[C] * dims[R] * dims[S],
        0.0,
        float(dims[G]) * dims[N] * dims[K] * dims[P] * dims[Q],
    )


@jit
def splits(trips, sizes, counts):
    """List the DRAM trips n there are and the fewest inner trips of each; return how many."""
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
def split_lists(trips, whole_maps):
    """Return `splits` of the loops N P Q K: arrays (4, most) of inner and outer trips, lengths.

    With `whole_maps` P and Q are not split.
    """
    most = 2
    for t in trips:
        most = max(most, 2 * int(np.sqrt(t)) + 3)
    inner, outer = np.empty((4, most), np.int64), np.empty((4, most), np.int64)
    length = np.empty(4, np.int64)
    for index in range(4):
        length[index] = splits(trips[index], inner[index], outer[index])
    if whole_maps > 0:
        length[1], length[2] = 1, 1
    return inner, outer, length


@jit
def windows(dims, geo, sca, a, t):
    """List buffer tiles over N P Q that may be best: rows of WINDOW figures.

    Tiles are multiples of `a`, `t` over the layer. One that moves no less, and takes no less room
    for inputs and outputs, than another is left out.
    """
    inner, outer, length = split_lists((t[N], t[P], t[Q], 1), sca[WHOLE_MAPS])
    found, count = np.empty((64, WINDOW)), 0
    for x in range(length[0]):
        n = min(inner[0, x] * a[N], dims[N])
        for y in range(length[1]):
            p = min(inner[1, y] * a[P], dims[P])
            rows = (p - 1) * geo[0] + (dims[R] - 1) * geo[2] + 1
            for z in range(length[2]):
                q = min(inner[2, z] * a[Q], dims[Q])
                columns = (q - 1) * geo[1] + (dims[S] - 1) * geo[3] + 1
                trips = outer[0, x] * outer[1, y] * outer[2, z]
                inputs = inputs_moved(dims, geo, outer[1, y], outer[2, z])
                count = add_window(
                    found,
                    count,
                    (
                        float(trips),
                        inputs,
                        n * rows * columns,
                        float(n * p * q),
                        float(n),
                        float(p),
                        float(q),
                    ),
                )
                if count == len(found):
                    bigger = np.empty((2 * count, WINDOW))
                    bigger[:count] = found
                    found = bigger
    return found[:count]


@jit
def add_window(found, count, row):
    """Enter a tile unless another is as good in all respects; drop those it beats."""
    for k in range(count - 1, -1, -1):
        other = found[k]
        if other[0] <= row[0] and other[1] <= row[1] and other[2] <= row[2] and other[3] <= row[3]:
            return count
    kept = 0
    for k in range(count):
        other = found[k]
        if row[0] > other[0] or row[1] > other[1] or row[2] > other[2] or row[3] > other[3]:
            if kept < k:
                found[kept] = other
            kept += 1
    for column in range(WINDOW):
        found[kept, column] = row[column]
    return kept + 1


@jit
def channels_trips(tab, sca, dims, groups, k, pixels, outputs, unit, trips):
    """Return DRAM trips of C with the largest tile of whole units that fits, 0 if none does."""
    left = sca[BUFFER] - float(groups) * k * outputs * tab[ROOM, O]
    each = float(groups) * (k * dims[R] * dims[S] * tab[ROOM, W] + pixels * tab[ROOM, I])
    if left < 0:
        return 0
    if each * dims[C] <= left:
        return 1
    times = int(left / each) // unit
    return 0 if times == 0 else -(-trips // times)


@jit
def kernels_trips(tab, sca, dims, groups, c, pixels, outputs, unit, trips):
    """Return DRAM trips of K likewise, beside a tile of `c` channels."""
    left = sca[BUFFER] - float(groups) * c * pixels * tab[ROOM, I]
    each = float(groups) * (c * dims[R] * dims[S] * tab[ROOM, W] + outputs * tab[ROOM, O])
    if left < 0:
        return 0
    if each * dims[K] <= left:
        return 1
    times = int(left / each) // unit
    return 0 if times == 0 else -(-trips // times)


@jit
def relax(dims, geo, tab, sca):
    """Return the fronts, shape (3, FRONT, 5), and their lengths.

    For each stationary tensor: points of (trips of its loops in DRAM, least energy, DRAM bits, port
    reads, port writes of DRAM transfers with so many trips or fewer), over unit-granular tiles.
    """
    least = np.full((3, FRONT + 1, 4), np.inf)
    elements = elements_of(dims)
    for row in windows(dims, geo, sca, np.ones(8, np.int64), dims):
        trips_m, inputs, pixels, outputs = int(row[0]), row[1], row[2], row[3]
        outer = kernels_trips(tab, sca, dims, 1, 1, pixels, outputs, 1, dims[K])
        last = dims[C] + 1
        while 0 < outer <= dims[K] and last > 1:
            k = -(-dims[K] // outer)
            trips_c = channels_trips(tab, sca, dims, 1, k, pixels, outputs, 1, dims[C])
            if 0 < trips_c < last:
                last = trips_c
                note(least, tab, elements, inputs, trips_m, outer, trips_c)
            outer = dims[K] + 1 if k == 1 else -(-dims[K] // (k - 1))
    return fronts(least)


@jit
def note(least, tab, elements, inputs, trips_m, trips_k, trips_c):
    """Enter one buffer tile into the table of least transfers."""
    at = (min(trips_m, FRONT), min(trips_k, FRONT), min(trips_c, FRONT))
    for tensor in range(3):
        e, r, w, d = moved(tab, elements, inputs, trips_m, trips_k, trips_c, tensor)
        for group in range(3):
            row = least[group, at[group]]
            row[0], row[1] = min(row[0], e), min(row[1], d)
            row[2], row[3] = min(row[2], r), min(row[3], w)


@jit
def fronts(least):
    """Keep, per group, the points where something falls below all points of fewer trips."""
    front, counts = np.empty((3, FRONT, 5)), np.zeros(3, np.int64)
    for group in range(3):
        low = np.full(4, np.inf)
        for trips in range(1, FRONT + 1):
            falls = False
            for column in range(4):
                if least[group, trips, column] < low[column] * (1 - 1e-12):
                    low[column], falls = least[group, trips, column], True
            if falls:
                place = counts[group]
                front[group, place, 0] = trips
                front[group, place, 1:] = low
                counts[group] += 1
    return front, counts


@jit
def enter(sca, energy, cycles, best, found, tile, inner_stay, outer_stay):
    """Keep a mapping if it is the best so far."""
    first, second = keys(sca, energy, cycles)
    if less(first, second, best[0], best[1]):
        best[0], best[1], best[2], best[3] = first, second, energy, cycles
        for d in range(5):
            found[d] = tile[d]
        found[5], found[6], found[7] = inner_stay, outer_stay, 1


@jit
def corners(dims, geo, tab, sca, leaf, a, t, groups, tensor, best, found):
    """Compare the mappings whose stationary tensor stays through DRAM's loops too."""
    if tensor < 0 or (tensor != O and leaf[LTAPS] > 1):
        return
    tile = (
        min(a[N], dims[N]), min(a[K], dims[K]), min(a[C], dims[C]), min(a[P], dims[P]),
        min(a[Q], dims[Q]),
    )  # fmt: skip
    if tensor != W:
        if sca[WHOLE_MAPS] == 0 or t[P] * t[Q] == 1:
            inputs = inputs_moved(dims, geo, t[P], t[Q]) * (leaf[LTK] if tensor == O else 1.0)
            e, c = corner(dims, tab, sca, leaf, tensor, inputs)
            enter(sca, e, c, best, found, tile, tensor, tensor)
        return
    taps = dims[R] * dims[S]
    inner, outer, length = split_lists((1, t[P], t[Q], 1), sca[WHOLE_MAPS])
    for y in range(length[1]):
        p = min(inner[1, y] * a[P], dims[P])
        rows = (p - 1) * geo[0] + (dims[R] - 1) * geo[2] + 1
        for z in range(length[2]):
            q = min(inner[2, z] * a[Q], dims[Q])
            columns = (q - 1) * geo[1] + (dims[S] - 1) * geo[3] + 1
            if room(tab, sca, groups, tile[0], tile[1], tile[2], rows, columns, taps, p, q) >= 0:
                inputs = inputs_moved(dims, geo, outer[1, y], outer[2, z]) * leaf[LTK]
                e, c = corner(dims, tab, sca, leaf, W, inputs)
                enter(sca, e, c, best, found, (tile[0], tile[1], tile[2], p, q), W, W)


@jit
def cheapest(tab, sca, leaf, array, elements, inputs, trips, tensor):
    """Return (energy, cycles, tensor that stays in the buffer) at the best order of DRAM's loops.

    `trips` are those of N P Q, K and C in DRAM, `array` what the others' moves to the array cost.
    """
    row = max(tensor, 0)
    times = float(trips[row]) if tensor >= 0 else 0.0
    energy, cycles, kept = np.inf, np.inf, 0
    first, second = np.inf, np.inf
    for stay in range(3):
        e0, r0, w0, d0 = moved(tab, elements, inputs, trips[0], trips[1], trips[2], stay)
        e, c = finish(
            sca, leaf[LCOMPUTE], leaf[LENDS],
            array[0] + leaf[LE + row] * times + e0, array[1] + leaf[LR + row] * times + r0,
            array[2] + leaf[LW + row] * times + w0, array[3] + leaf[LD + row] * times + d0,
        )  # fmt: skip
        one, two = keys(sca, e, c)
        if less(one, two, first, second):
            first, second, energy, cycles, kept = one, two, e, c, stay
    return energy, cycles, kept


@jit
def fits_buffer(dims, geo, tab, sca, a, groups):
    """Tell whether an array tile, clipped at the layer, fits the buffer."""
    n, k, c = min(a[N], dims[N]), min(a[K], dims[K]), min(a[C], dims[C])
    p, q = min(a[P], dims[P]), min(a[Q], dims[Q])
    rows = (p - 1) * geo[0] + (dims[R] - 1) * geo[2] + 1
    columns = (q - 1) * geo[1] + (dims[S] - 1) * geo[3] + 1
    return room(tab, sca, groups, n, k, c, rows, columns, dims[R] * dims[S], p, q) >= 0


@jit
def visit(dims, tab, sca, leaf, a, t, groups, tensor, listed, best, found):
    """Search all buffer tiles that are multiples of the array tile `a`, `t` trips over the layer.

    `listed` are its windows, `tensor` stays in the PEs. Updates `best` (keys, energy, cycles) and
    `found` (tile N K C P Q, what stays in the PEs, what stays in the buffer, a flag).
    """
    least_k, least_c = min(a[K], dims[K]), min(a[C], dims[C])
    elements, array = elements_of(dims), rest(leaf, tensor)
    for row in listed:
        trips_m, inputs, pixels, outputs = int(row[0]), row[1], row[2], row[3]
        low_c = channels_trips(tab, sca, dims, groups, least_k, pixels, outputs, a[C], t[C])
        outer = kernels_trips(tab, sca, dims, groups, least_c, pixels, outputs, a[K], t[K])
        if low_c == 0 or outer == 0:
            continue
        at = (trips_m, outer, low_c)
        e, c, _ = cheapest(tab, sca, leaf, array, elements, inputs, at, tensor)
        first, second = keys(sca, e, c)
        if not less(first, second, best[0], best[1]):
            continue
        last = t[C] + 1
        while outer <= t[K] and last > 1:
            inner = -(-t[K] // outer)
            k = min(inner * a[K], dims[K])
            trips_c = channels_trips(tab, sca, dims, groups, k, pixels, outputs, a[C], t[C])
            if 0 < trips_c < last:
                last = trips_c
                at = (trips_m, outer, trips_c)
                e, c, stay = cheapest(tab, sca, leaf, array, elements, inputs, at, tensor)
                size = min(-(-t[C] // trips_c) * a[C], dims[C])
                tile = (int(row[4]), k, size, int(row[5]), int(row[6]))
                enter(sca, e, c, best, found, tile, tensor, stay)
            outer = t[K] + 1 if inner == 1 else -(-t[K] // (inner - 1))
