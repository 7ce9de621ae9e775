"""Compiled: lower bounds for unrollings, partly chosen scratchpad tiles, and whole ones.

While one tensor stays in the PEs, the two others are traded against each other: a scratchpad that
holds more along the loops of one (x) has less room along the loops of the other (y). The bound
tries all trips of x, gives y what room is left, and takes what the stationary tensor and DRAM cost
at least from the lower convex hull of the front.
"""

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
    LW,
    I,
    O,
    W,
    corner,
    corner_inputs,
    end_cycles,
    finish,
    jit,
    keys,
    least_inputs,
    least_spans,
    less,
    rest,
    rows_moved,
)  # fmt: skip
from hwflow.costs.fine.kernels_array import largest
from hwflow.costs.fine.layout import (
    AD,
    AE,
    AR,
    AW,
    DB,
    DE,
    DR,
    DW,
    HOP,
    LANES,
    PAD,
    PAD_CAP,
    PADDED,
    SHARED,
    STEP,
)  # fmt: skip
from hwflow.costs.fine.shape import C, G, K, N, P, Q, R, S

PARTS = 4
"""What is summed before `finish`: energy, port reads, port writes, DRAM bits."""

SLACK = 1 - 1e-9
"""Room for rounding where a real number of trips is rounded up."""


@jit
def lower_hulls(front, counts):
    """Return the lower convex hulls of each part over trips, shape (3, PARTS, n, 2), and sizes."""
    most = 1
    for tensor in range(3):
        most = max(most, counts[tensor])
    hulls = np.empty((3, PARTS, most, 2))
    sizes = np.zeros((3, PARTS), np.int64)
    column = (1, 3, 4, 2)
    for tensor in range(3):
        for part in range(PARTS):
            hull, n = hulls[tensor, part], 0
            for k in range(counts[tensor]):
                x, y = front[tensor, k, 0], front[tensor, k, column[part]]
                while n > 0 and hull[n - 1, 1] >= y and hull[n - 1, 0] >= x:
                    n -= 1
                while n > 1 and (hull[n - 1, 1] - hull[n - 2, 1]) * (x - hull[n - 2, 0]) >= (
                    y - hull[n - 2, 1]
                ) * (hull[n - 1, 0] - hull[n - 2, 0]):
                    n -= 1
                hull[n, 0], hull[n, 1] = x, y
                n += 1
            sizes[tensor, part] = n
    return hulls, sizes


@jit
def least_on(hull, size, slope):
    """Return the least of slope x + y on a lower convex hull, by halves."""
    low, high = 0, size - 1
    while low < high:
        middle = (low + high) // 2
        here = slope * hull[middle, 0] + hull[middle, 1]
        if here <= slope * hull[middle + 1, 0] + hull[middle + 1, 1]:
            high = middle
        else:
            low = middle + 1
    return slope * hull[low, 0] + hull[low, 1]


@jit
def unit_costs(dims, tab, s, near):
    """Fill the parts of one move to the array: of all weights and outputs, of one input."""
    sizes = (
        float(dims[G]) * dims[K] * dims[C] * dims[R] * dims[S],
        1.0,
        float(dims[G]) * dims[N] * dims[K] * dims[P] * dims[Q],
    )
    fans = (float(s[N] * s[P] * s[Q]), float(s[K]), float(s[C] * s[R] * s[S]))
    for tensor in range(3):
        size = sizes[tensor]
        near[0, tensor] = size * (tab[AE, tensor] + fans[tensor] * tab[HOP, tensor])
        near[1, tensor] = size * tab[AR, tensor]
        near[2, tensor] = size * tab[AW, tensor]
        near[3, tensor] = size * tab[AD, tensor]


@jit
def far_costs(dims, tab, far):
    """Fill the parts of one move between DRAM and buffer: of all weights and outputs, one input."""
    sizes = (
        float(dims[G]) * dims[K] * dims[C] * dims[R] * dims[S],
        1.0,
        float(dims[G]) * dims[N] * dims[K] * dims[P] * dims[Q],
    )
    for tensor in range(3):
        size = sizes[tensor]
        far[0, tensor] = size * tab[DE, tensor]
        far[1, tensor] = size * tab[DR, tensor] if tensor == O else 0.0
        far[2, tensor] = size * tab[DW, tensor]
        far[3, tensor] = size * tab[DB, tensor]


@jit
def least_size(dims, geo, tab, u, lo, hi):
    """Return the fewest inputs that go to the array in one move, halos included."""
    at_lo, at_hi = (lo, hi) if tab[PADDED, I] > 0 else (u, u)
    rows = least_spans(dims[P], dims[R], geo[0], geo[2], at_lo[P], at_hi[P], at_lo[R], at_hi[R])
    columns = least_spans(dims[Q], dims[S], geo[1], geo[3], at_lo[Q], at_hi[Q], at_lo[S], at_hi[S])
    return float(dims[G]) * dims[N] * dims[C] * rows * columns


@jit
def least_from_dram(dims, geo, tensor, lo, hi):
    """Return the fewest inputs of one move from DRAM in a corner where a tensor stays."""
    if tensor == W:
        return least_inputs(dims, geo, dims[P], dims[Q])
    rows = min(rows_moved(dims, geo, 0, lo[P]), rows_moved(dims, geo, 0, hi[P]))
    columns = min(rows_moved(dims, geo, 1, lo[Q]), rows_moved(dims, geo, 1, hi[Q]))
    return float(dims[G]) * dims[N] * dims[C] * rows * columns


@jit
def others(tensor):
    """Return, while a tensor stays, the loop x is tried along, and the tensors x and y move."""
    if tensor == O:
        return K, I, W
    if tensor == I:
        return C, O, W
    return K, I, O


@jit
def growth(tab, sca, geo, a, free, y):
    """Return how many times larger a PE's tile may grow along the free loops that reuse y.

    Footprints are taken as linear in the growth, which is exact for one free loop and low else.
    """
    rows = (a[P] - 1) * geo[0] + (a[R] - 1) * geo[2] + 1
    columns = (a[Q] - 1) * geo[1] + (a[S] - 1) * geo[3] + 1
    w = float(a[K]) * a[C] * a[R] * a[S] * tab[PAD, W]
    each = float(a[N]) * a[C] * tab[PAD, I]
    i = each * rows * columns
    o = float(a[N]) * a[K] * a[P] * a[Q] * tab[PAD, O]
    if y == W:
        more_w, more_o, more_i = 0.0, o, each
        if free[N] == 0 and free[P] + free[Q] == 1:
            more_i = each * (columns * geo[0] if free[P] == 1 else rows * geo[1])
    else:
        more_w, more_o, more_i = w, 0.0, i if free[R] + free[S] == 0 else 0.0
    if sca[SHARED] > 0:
        cap = max(tab[PAD_CAP, W], tab[PAD_CAP, I], tab[PAD_CAP, O])
        more = more_w + more_i + more_o
        return 1 + (cap - w - i - o) / more if more > 0 else np.inf
    most = np.inf
    if more_w > 0:
        most = min(most, 1 + (tab[PAD_CAP, W] - w) / more_w)
    if more_i > 0:
        most = min(most, 1 + (tab[PAD_CAP, I] - i) / more_i)
    if more_o > 0:
        most = min(most, 1 + (tab[PAD_CAP, O] - o) / more_o)
    return most


@jit
def stay_parts(near, hulls, sizes, tensor, size, part):
    """Fill the least parts of the stationary tensor's moves to the array and of DRAM's."""
    for k in range(PARTS):
        slope = near[k, tensor] * (size if tensor == I else 1.0)
        part[k] = least_on(hulls[tensor, k], sizes[tensor, k], slope)


@jit
def free_parts(near, front, counts, lo, tab, u, part):
    """Fill the parts where nothing stays: weights by their trips, and the least of DRAM."""
    times = lo[N] * lo[P] * lo[Q] if tab[PADDED, W] > 0 else u[N] * u[P] * u[Q]
    last = front[0, counts[0] - 1]
    part[0], part[1] = near[0, W] * times + last[1], near[1, W] * times + last[3]
    part[2], part[3] = near[2, W] * times + last[4], near[3, W] * times + last[2]


@jit
def lay_out(u, lo, free, y, room):
    """Return the trips of the loops that reuse y in the room its tile has, and in any room."""
    fixed, least, whole = 1.0, 1.0, 1.0
    for d in (N, P, Q) if y == W else (C, R, S):
        if free[d] == 1:
            least *= lo[d]
            whole *= u[d]
        else:
            fixed *= lo[d]
    return fixed * max(least, np.ceil(whole / room * SLACK)), fixed * least


@jit
def summed(part, near, x, y, moves_x, moves_y, total):
    """Fill what a trade costs in each part."""
    for k in range(PARTS):
        total[k] = part[k] + near[k, x] * moves_x + near[k, y] * moves_y


@jit
def cornered(near, far, tensor, x, y, moves, along, once, total):
    """Fill what a trade costs where the tensor stays through DRAM's loops too.

    Tells whether that may be below what `total` holds already.
    """
    below = False
    for k in range(PARTS):
        value = near[k, tensor] * once[0] + far[k, tensor] * once[1]
        value += near[k, x] * moves[0] + far[k, x] * along[0]
        value += near[k, y] * moves[1] + far[k, y] * along[1]
        below = below or value < total[k]
        total[k] = value
    return below


@jit
def joint(dims, geo, tab, sca, most, tensor, s, u, a, lo, hi, free, relaxed, costs):
    """Return keys that no tile is below: `free` loops are 1 in `a`, with trips `lo` to `hi`.

    `relaxed` are (front, counts, hulls, sizes), `costs` are (near, far, part, total).
    """
    front, counts, hulls, sizes = relaxed
    near, far, part, total = costs
    size = least_size(dims, geo, tab, u, lo, hi)
    if tensor < 0:
        free_parts(near, front, counts, lo, tab, u, part)
    else:
        stay_parts(near, hulls, sizes, tensor, size, part)
    ends = end_cycles(dims, geo, tab, sca, s, a)
    depth = np.ceil(u[C] * u[R] * u[S] / sca[LANES])
    compute = u[N] * u[K] * u[P] * u[Q] * u[G] * depth * sca[STEP]
    loop, x, y = others(tensor)
    corners = tensor == O or (tensor >= 0 and lo[R] * lo[S] == 1)
    inputs = least_from_dram(dims, geo, tensor, lo, hi) if corners else 0.0
    once = (size, inputs) if tensor == I else (1.0, 1.0)
    best, second, last = np.inf, np.inf, np.inf
    kept = a[loop]
    tile, steps = kept, int(u[loop])
    if free[loop] == 1:
        tile = largest(tab, sca, geo, a, loop, min(most[loop], steps))
    while True:
        trips = -(-steps // tile)
        if free[loop] == 1:
            tile = -(-steps // trips)
            a[loop] = tile
        along_y, floor = lay_out(u, lo, free, y, growth(tab, sca, geo, a, free, y))
        if along_y < last:
            last = along_y
            along_x = float(trips) if x == I else trips * lo[R] * lo[S]
            moves_x, moves_y = along_x, along_y
            if tab[PADDED, x] == 0:
                moves_x = u[K] if x == I else depth
            if tab[PADDED, y] == 0:
                moves_y = u[N] * u[P] * u[Q] if y == W else depth
            moves_x *= size if x == I else 1.0
            summed(part, near, x, y, moves_x, moves_y, total)
            e, c = finish(sca, compute, ends, total[0], total[1], total[2], total[3])
            one, two = keys(sca, e, c)
            if less(one, two, best, second):
                best, second = one, two
            along = (along_x * (inputs if x == I else 1.0), along_y)
            if corners and cornered(
                near, far, tensor, x, y, (moves_x, moves_y), along, once, total
            ):
                e, c = finish(sca, compute, ends, total[0], total[1], total[2], total[3])
                one, two = keys(sca, e, c)
                if less(one, two, best, second):
                    best, second = one, two
        if free[loop] == 0 or tile == 1 or along_y <= floor:
            break
        tile -= 1
    a[loop] = kept
    return best, second


@jit
def whole(dims, tab, sca, leaf, front, counts, tensor):
    """Return keys that no mapping of an inner tile can be below while a tensor stays."""
    energy, reads, writes, dram = rest(leaf, tensor)
    row = max(tensor, 0)
    best, second = np.inf, np.inf
    for k in range(counts[row] if tensor >= 0 else 1):
        times = front[row, k, 0] if tensor >= 0 else 0.0
        place = k if tensor >= 0 else counts[row] - 1
        e, c = finish(
            sca, leaf[LCOMPUTE], leaf[LENDS],
            energy + leaf[LE + row] * times + front[row, place, 1],
            reads + leaf[LR + row] * times + front[row, place, 3],
            writes + leaf[LW + row] * times + front[row, place, 4],
            dram + leaf[LD + row] * times + front[row, place, 2],
        )  # fmt: skip
        first, other = keys(sca, e, c)
        if less(first, other, best, second):
            best, second = first, other
    if tensor == O or (tensor >= 0 and leaf[LTAPS] == 1):
        e, c = corner(dims, tab, sca, leaf, tensor, corner_inputs(leaf, tensor))
        first, other = keys(sca, e, c)
        if less(first, other, best, second):
            best, second = first, other
    return best, second
