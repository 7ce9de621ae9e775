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
from hwflow.costs.fine.layout import BUFFER, ROOM, STAYS, WHOLE_MAPS
from hwflow.costs.fine.shape import C, G, K, N, P, Q, R, S

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
def channels_trips(tab, sca, dims, groups, n, k, rows, columns, p, q, unit, trips):
    """Return DRAM trips of C with the largest tile of whole units that fits, 0 if none does."""
    left = sca[BUFFER] - float(groups) * n * k * p * q * tab[ROOM, O]
    taps = dims[R] * dims[S]
    each = float(groups) * (k * taps * tab[ROOM, W] + n * rows * columns * tab[ROOM, 1])
    if left < 0:
        return 0
    if each * dims[C] <= left:
        return 1
    times = int(left / each) // unit
    return 0 if times == 0 else -(-trips // times)


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
def relax(dims, geo, tab, sca):
    """Return the fronts, shape (3, FRONT, 5), and their lengths.

    For each stationary tensor: points of (trips of its loops in DRAM, least energy, DRAM bits, port
    reads, port writes of DRAM transfers with so many trips or fewer), over unit-granular tiles.
    """
    least = np.full((3, FRONT + 1, 4), np.inf)
    inner, outer, length = split_lists((dims[N], dims[P], dims[Q], dims[K]), sca[WHOLE_MAPS])
    elements = elements_of(dims)
    for x in range(length[0]):
        n = inner[0, x]
        for y in range(length[1]):
            p = inner[1, y]
            rows = (p - 1) * geo[0] + (dims[R] - 1) * geo[2] + 1
            for z in range(length[2]):
                q = inner[2, z]
                columns = (q - 1) * geo[1] + (dims[S] - 1) * geo[3] + 1
                if room(tab, sca, 1, n, 1, 1, rows, columns, dims[R] * dims[S], p, q) < 0:
                    continue
                inputs = inputs_moved(dims, geo, outer[1, y], outer[2, z])
                trips_m = outer[0, x] * outer[1, y] * outer[2, z]
                for v in range(length[3]):
                    trips_c = channels_trips(
                        tab, sca, dims, 1, n, inner[3, v], rows, columns, p, q, 1, dims[C]
                    )
                    if trips_c > 0:
                        note(least, tab, elements, inputs, trips_m, outer[3, v], trips_c)
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
def weigh(tab, sca, leaf, elements, inputs, trips, transfer, best, found, tile, outer_stay):
    """Compare a buffer tile under each tensor that may stay in the PEs with the best so far."""
    e0, r0, w0, d0 = transfer
    for tensor in range(-1, 3):
        if tensor >= 0 and tab[STAYS, tensor] == 0:
            continue
        energy, reads, writes, dram = rest(leaf, tensor)
        row = max(tensor, 0)
        times = float(trips[row]) if tensor >= 0 else 0.0
        e, c = finish(
            sca, leaf[LCOMPUTE], leaf[LENDS],
            energy + leaf[LE + row] * times + e0, reads + leaf[LR + row] * times + r0,
            writes + leaf[LW + row] * times + w0, dram + leaf[LD + row] * times + d0,
        )  # fmt: skip
        enter(sca, e, c, best, found, tile, tensor, outer_stay)


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
def corners(dims, geo, tab, sca, leaf, a, t, groups, best, found):
    """Compare the mappings whose stationary tensor stays through DRAM's loops too."""
    tile = (
        min(a[N], dims[N]), min(a[K], dims[K]), min(a[C], dims[C]), min(a[P], dims[P]),
        min(a[Q], dims[Q]),
    )  # fmt: skip
    here = inputs_moved(dims, geo, t[P], t[Q])
    split = sca[WHOLE_MAPS] > 0 and t[P] * t[Q] > 1
    for tensor in range(1, 3):
        if tab[STAYS, tensor] > 0 and not split and (tensor == O or leaf[LTAPS] == 1):
            inputs = here * (leaf[LTK] if tensor == O else 1.0)
            e, c = corner(dims, tab, sca, leaf, tensor, inputs)
            enter(sca, e, c, best, found, tile, tensor, tensor)
    if tab[STAYS, W] == 0 or leaf[LTAPS] > 1:
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
def visit(dims, geo, tab, sca, leaf, a, t, groups, best, found):
    """Search all buffer tiles that are multiples of the array tile `a`, `t` trips over the layer.

    Updates `best` (keys, energy, cycles) and `found` (tile N K C P Q, what stays in the PEs, what
    stays in the buffer, a flag).
    """
    taps = dims[R] * dims[S]
    least_k, least_c = min(a[K], dims[K]), min(a[C], dims[C])
    rows = (min(a[P], dims[P]) - 1) * geo[0] + (dims[R] - 1) * geo[2] + 1
    columns = (min(a[Q], dims[Q]) - 1) * geo[1] + (dims[S] - 1) * geo[3] + 1
    if room(
        tab, sca, groups, min(a[N], dims[N]), least_k, least_c, rows, columns, taps,
        min(a[P], dims[P]), min(a[Q], dims[Q]),
    ) < 0:  # fmt: skip
        return
    corners(dims, geo, tab, sca, leaf, a, t, groups, best, found)
    elements = elements_of(dims)
    inner, outer, length = split_lists((t[N], t[P], t[Q], t[K]), sca[WHOLE_MAPS])
    for x in range(length[0]):
        n = min(inner[0, x] * a[N], dims[N])
        for y in range(length[1]):
            p = min(inner[1, y] * a[P], dims[P])
            rows = (p - 1) * geo[0] + (dims[R] - 1) * geo[2] + 1
            for z in range(length[2]):
                q = min(inner[2, z] * a[Q], dims[Q])
                columns = (q - 1) * geo[1] + (dims[S] - 1) * geo[3] + 1
                trips_m = outer[0, x] * outer[1, y] * outer[2, z]
                inputs = inputs_moved(dims, geo, outer[1, y], outer[2, z])
                low_k, low_c = most_room(
                    dims, tab, sca, groups, n, rows, columns, p, q, a, t, least_k, least_c
                )
                if low_k == 0 or not hopeful(
                    tab, sca, leaf, elements, inputs, trips_m, low_k, low_c, best
                ):
                    continue
                for v in range(length[3]):
                    if outer[3, v] < low_k:
                        continue
                    k = min(inner[3, v] * a[K], dims[K])
                    trips_c = channels_trips(
                        tab, sca, dims, groups, n, k, rows, columns, p, q, a[C], t[C]
                    )
                    if trips_c == 0:
                        continue
                    trips = (trips_m, outer[3, v], trips_c)
                    c = min(-(-t[C] // trips_c) * a[C], dims[C])
                    for stay in range(3):
                        transfer = moved(tab, elements, inputs, trips_m, trips[1], trips_c, stay)
                        weigh(
                            tab, sca, leaf, elements, inputs, trips, transfer, best, found,
                            (n, k, c, p, q), stay,
                        )  # fmt: skip


@jit
def most_room(dims, tab, sca, groups, n, rows, columns, p, q, a, t, least_k, least_c):
    """Return the fewest DRAM trips of K and of C that fit beside so many outputs, 0 if none."""
    taps = dims[R] * dims[S]
    pixels = float(n) * rows * columns * tab[ROOM, 1]
    per_k = groups * (least_c * taps * tab[ROOM, W] + float(n) * p * q * tab[ROOM, O])
    left = sca[BUFFER] - groups * least_c * pixels
    if left < per_k * least_k:
        return 0, 0
    low_k = 1
    if per_k * dims[K] > left:
        low_k = -(-t[K] // max(1, int(left / per_k) // a[K]))
    low_c = channels_trips(tab, sca, dims, groups, n, least_k, rows, columns, p, q, a[C], t[C])
    return low_k, max(1, low_c)


@jit
def hopeful(tab, sca, leaf, elements, inputs, trips_m, trips_k, trips_c, best):
    """Tell whether tiles of at least so many trips may be below the best so far."""
    for stay in range(3):
        e0, r0, w0, d0 = moved(tab, elements, inputs, trips_m, trips_k, trips_c, stay)
        for tensor in range(-1, 3):
            if tensor >= 0 and tab[STAYS, tensor] == 0:
                continue
            energy, reads, writes, dram = rest(leaf, tensor)
            row = max(tensor, 0)
            times = float((trips_m, trips_k, trips_c)[row]) if tensor >= 0 else 0.0
            e, c = finish(
                sca, leaf[LCOMPUTE], leaf[LENDS],
                energy + leaf[LE + row] * times + e0, reads + leaf[LR + row] * times + r0,
                writes + leaf[LW + row] * times + w0, dram + leaf[LD + row] * times + d0,
            )  # fmt: skip
            first, second = keys(sca, e, c)
            if less(first, second, best[0], best[1]):
                return True
    return False
