"""Compiled: the cost of a mapping from its trips, and lower bounds for sets of mappings.

``leaf`` is a vector that holds all that an inner tile (scratchpad tile and unrolling) decides.
"""

# Numba infers the types of kernels at their first call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, type-arg"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from hwflow.costs.fine.layout import (
    AD,
    AE,
    AR,
    AW,
    BUFFER,
    DB,
    DB0,
    DE,
    DR,
    DRAM_RATE,
    DW,
    E0,
    FILL_DRAM,
    FILL_PORT,
    HOP,
    IDLE,
    LANES,
    MODE,
    OVERLAP,
    PADDED,
    PORT_RATE,
    PR0,
    PW0,
    ROOM,
    STEP,
    WEIGHT_C,
    WEIGHT_E,
    WRITE_RATE,
)  # fmt: skip
from hwflow.costs.fine.objectives import EDP, ENERGY, LATENCY, PRODUCT
from hwflow.costs.fine.shape import C, G, K, N, P, Q, R, S

W, I, O = 0, 1, 2  # noqa: E741 - the field's letters

# Entries of a leaf: energy, port reads, port writes and DRAM bits per move of each tensor, moves
# of a tensor that does not stay, then trips by group, and what is left.
LE, LR, LW, LD, LM = 0, 3, 6, 9, 12
LTM, LTK, LTC, LCOMPUTE, LENDS, LTAPS, LIN_LO, LIN_T = 15, 16, 17, 18, 19, 20, 21, 22
LEAF = 23

TOLERANCE = 1e-11

_OPTIONS: Any = {
    "error_model": "numpy",
    "nogil": True,
    "no_cpython_wrapper": True,  # these are called by compiled code alone, and compile faster so
    "no_cfunc_wrapper": True,
}
jit = njit(**_OPTIONS)


@jit
def spans(outputs, taps, stride, dilation, out_tiles, tap_tiles):
    """Return the sum of the input spans of all tiles along an axis."""
    both = out_tiles * tap_tiles * (1 - stride - dilation)
    return tap_tiles * outputs * stride + out_tiles * taps * dilation + both


@jit
def least_spans(outputs, taps, stride, dilation, out_lo, out_hi, tap_lo, tap_hi):
    """Return the least sum of spans in a box of trips; it is bilinear, so a corner has it."""
    low = min(
        spans(outputs, taps, stride, dilation, out_lo, tap_lo),
        spans(outputs, taps, stride, dilation, out_hi, tap_lo),
    )
    if tap_hi == tap_lo:
        return low
    return min(
        low,
        spans(outputs, taps, stride, dilation, out_lo, tap_hi),
        spans(outputs, taps, stride, dilation, out_hi, tap_hi),
    )


@jit
def rows_moved(dims, geo, axis, tiles):
    """Return input rows (columns) that come from DRAM in so many tiles of whole kernels."""
    moved = spans(dims[P + axis], dims[R + axis], geo[axis], geo[2 + axis], tiles, 1)
    return max(geo[6 + axis], moved - geo[4 + axis])


@jit
def inputs_moved(dims, geo, tiles_p, tiles_q):
    """Return input elements that come from DRAM when they come once."""
    planes = float(dims[G]) * dims[N] * dims[C]
    return planes * rows_moved(dims, geo, 0, tiles_p) * rows_moved(dims, geo, 1, tiles_q)


@jit
def least_inputs(dims, geo, tiles_p, tiles_q):
    """Return the least of `inputs_moved` over up to so many tiles; it is monotone per axis."""
    rows = min(rows_moved(dims, geo, 0, 1), rows_moved(dims, geo, 0, tiles_p))
    columns = min(rows_moved(dims, geo, 1, 1), rows_moved(dims, geo, 1, tiles_q))
    return float(dims[G]) * dims[N] * dims[C] * rows * columns


@jit
def fill_leaf(dims, geo, tab, sca, s, u, lo, hi, fan_i, ends, leaf):
    """Fill a leaf from trips between `lo` and `hi`; steps `u` hold for tensors that stream."""
    at_lo, at_hi = (lo, hi) if tab[PADDED, I] > 0 else (u, u)
    planes = float(dims[G]) * dims[N] * dims[C]
    rows = least_spans(dims[P], dims[R], geo[0], geo[2], at_lo[P], at_hi[P], at_lo[R], at_hi[R])
    columns = least_spans(dims[Q], dims[S], geo[1], geo[3], at_lo[Q], at_hi[Q], at_lo[S], at_hi[S])
    size = (
        float(dims[G]) * dims[K] * dims[C] * dims[R] * dims[S],
        planes * rows * columns,
        float(dims[G]) * dims[N] * dims[K] * dims[P] * dims[Q],
    )
    fan = (float(s[N] * s[P] * s[Q]), fan_i, float(s[C] * s[R] * s[S]))
    for tensor in range(3):
        leaf[LE + tensor] = size[tensor] * (tab[AE, tensor] + fan[tensor] * tab[HOP, tensor])
        leaf[LR + tensor] = size[tensor] * tab[AR, tensor]
        leaf[LW + tensor] = size[tensor] * tab[AW, tensor]
        leaf[LD + tensor] = size[tensor] * tab[AD, tensor]
    leaf[LTM] = lo[N] * lo[P] * lo[Q]
    leaf[LTK] = lo[K]
    leaf[LTC] = lo[C] * lo[R] * lo[S]
    depth = np.ceil(u[C] * u[R] * u[S] / sca[LANES])
    leaf[LM + W] = leaf[LTM] if tab[PADDED, W] > 0 else u[N] * u[P] * u[Q]
    leaf[LM + I] = leaf[LTK] if tab[PADDED, I] > 0 else u[K]
    leaf[LM + O] = leaf[LTC] if tab[PADDED, O] > 0 else depth
    leaf[LCOMPUTE] = u[N] * u[K] * u[P] * u[Q] * u[G] * depth * sca[STEP]
    leaf[LENDS] = ends
    leaf[LTAPS] = lo[R] * lo[S]
    leaf[LIN_LO] = least_inputs(dims, geo, dims[P], dims[Q])
    rows = min(rows_moved(dims, geo, 0, lo[P]), rows_moved(dims, geo, 0, hi[P]))
    columns = min(rows_moved(dims, geo, 1, lo[Q]), rows_moved(dims, geo, 1, hi[Q]))
    leaf[LIN_T] = planes * rows * columns


@jit
def fan_inputs(dims, geo, s, trips):
    """Return how many PEs each input element goes to: spans of the PEs' tiles over the array's."""
    fan = float(s[K])
    for axis in range(2):
        p, r = P + axis, R + axis
        size = (dims[p], dims[r], geo[axis], geo[2 + axis])
        outer = spans(size[0], size[1], size[2], size[3], trips[p], trips[r])
        tiles_p, tiles_r = min(trips[p] * s[p], dims[p]), min(trips[r] * s[r], dims[r])
        inner = spans(size[0], size[1], size[2], size[3], tiles_p, tiles_r)
        fan *= max(1.0, inner / outer)
    return fan


@jit
def reach(dims, s, a, padded, d):
    """Return what one pass of the array covers of a tensor along a loop; one step if it streams."""
    return float(min(s[d] * a[d] if padded > 0 else s[d], dims[d]))


@jit
def end_cycles(dims, geo, tab, sca, s, a):
    """Return cycles of the first load and the last store: one array tile through DRAM and port."""
    if sca[OVERLAP] == 0:
        return 0.0
    on = tab[PADDED, W]
    w = reach(dims, s, a, on, K) * reach(dims, s, a, on, C) * reach(dims, s, a, on, R)
    w *= reach(dims, s, a, on, S) * reach(dims, s, a, on, G)
    on = tab[PADDED, I]
    rows = (reach(dims, s, a, on, P) - 1) * geo[0] + (reach(dims, s, a, on, R) - 1) * geo[2] + 1
    columns = (reach(dims, s, a, on, Q) - 1) * geo[1] + (reach(dims, s, a, on, S) - 1) * geo[3] + 1
    i = reach(dims, s, a, on, G) * reach(dims, s, a, on, N) * reach(dims, s, a, on, C)
    i *= rows * columns
    on = tab[PADDED, O]
    o = reach(dims, s, a, on, G) * reach(dims, s, a, on, N) * reach(dims, s, a, on, K)
    o *= reach(dims, s, a, on, P) * reach(dims, s, a, on, Q)
    reads = (w * tab[FILL_PORT, W] + i * tab[FILL_PORT, I]) / sca[PORT_RATE]
    write_rate = sca[WRITE_RATE] if sca[WRITE_RATE] > 0 else sca[PORT_RATE]
    dram = w * tab[FILL_DRAM, W] + i * tab[FILL_DRAM, I] + o * tab[FILL_DRAM, O]
    return reads + o * tab[FILL_PORT, O] / write_rate + dram / sca[DRAM_RATE]


@jit
def finish(sca, compute, ends, energy, reads, writes, dram):
    """Return (energy, cycles) from dynamic energy, port bits and DRAM bits, constants included."""
    if sca[WRITE_RATE] > 0:
        port = max((reads + sca[PR0]) / sca[PORT_RATE], (writes + sca[PW0]) / sca[WRITE_RATE])
    else:
        port = (reads + writes + sca[PR0] + sca[PW0]) / sca[PORT_RATE]
    chip = max(compute, port)
    transfer = (dram + sca[DB0]) / sca[DRAM_RATE]
    cycles = max(chip, transfer) + ends if sca[OVERLAP] > 0 else chip + transfer
    return energy + sca[E0] + sca[IDLE] * cycles, cycles


@jit
def keys(sca, energy, cycles):
    """Return what is compared: the objective, then what decides between equals."""
    if sca[MODE] == LATENCY:
        return cycles, energy
    if sca[MODE] == ENERGY:
        return energy, cycles
    if sca[MODE] == EDP:
        return energy * cycles, cycles
    if sca[MODE] == PRODUCT:
        return energy ** sca[WEIGHT_E] * cycles ** sca[WEIGHT_C], cycles
    return energy * sca[WEIGHT_E] + cycles * sca[WEIGHT_C], cycles


@jit
def less(first, second, than_first, than_second):
    """Tell whether a pair of keys is truly below another."""
    if first < than_first * (1 - TOLERANCE):
        return True
    return first <= than_first * (1 + TOLERANCE) and second < than_second * (1 - TOLERANCE)


@jit
def corner_inputs(leaf, tensor):
    """Return input moves x elements when `tensor` stays through DRAM's loops too."""
    if tensor == W:
        return leaf[LIN_LO] * leaf[LTK]
    if tensor == I:
        return leaf[LIN_T]
    return leaf[LIN_T] * leaf[LTK]


@jit
def corner(dims, tab, sca, leaf, tensor, inputs):
    """Return (energy, cycles) when both groups that index a tensor have one trip in the buffer.

    Then the array keeps it while DRAM's loops run, and it moves once on both ways; the others pay
    all their trips on both. `inputs` is what comes from DRAM.
    """
    moves = (
        float(dims[G]) * dims[K] * dims[C] * dims[R] * dims[S]
        * (1.0 if tensor == W else leaf[LTM]),
        inputs,
        float(dims[G]) * dims[N] * dims[K] * dims[P] * dims[Q]
        * (1.0 if tensor == O else leaf[LTC]),
    )  # fmt: skip
    energy, reads, writes, dram = 0.0, 0.0, 0.0, 0.0
    for other in range(3):
        times = 1.0 if other == tensor else leaf[LM + other]
        energy += leaf[LE + other] * times + tab[DE, other] * moves[other]
        reads += leaf[LR + other] * times + tab[DR, other] * moves[other] * (other == O)
        writes += leaf[LW + other] * times + tab[DW, other] * moves[other]
        dram += leaf[LD + other] * times + tab[DB, other] * moves[other]
    return finish(sca, leaf[LCOMPUTE], leaf[LENDS], energy, reads, writes, dram)


@jit
def rest(leaf, tensor):
    """Return energy, port reads, port writes and DRAM bits of the array without one tensor."""
    energy, reads, writes, dram = 0.0, 0.0, 0.0, 0.0
    for other in range(3):
        if other != tensor:
            times = leaf[LM + other]
            energy += leaf[LE + other] * times
            reads += leaf[LR + other] * times
            writes += leaf[LW + other] * times
            dram += leaf[LD + other] * times
    return energy, reads, writes, dram


@jit
def moved(tab, elements, inputs, trips_m, trips_k, trips_c, tensor):
    """Return energy, reads, writes and DRAM bits between DRAM and buffer; `tensor` stays there."""
    w = elements[W] * (1.0 if tensor == W else trips_m)
    i = inputs * (1.0 if tensor == I else trips_k)
    o = elements[O] * (1.0 if tensor == O else trips_c)
    return (
        w * tab[DE, W] + i * tab[DE, I] + o * tab[DE, O],
        o * tab[DR, O],
        w * tab[DW, W] + i * tab[DW, I] + o * tab[DW, O],
        w * tab[DB, W] + i * tab[DB, I] + o * tab[DB, O],
    )


@jit
def room(tab, sca, groups, n, k, c, rows, columns, taps, p, q):
    """Return the bits left in the buffer by a tile."""
    weights = float(groups) * k * c * taps * tab[ROOM, W]
    inputs = float(groups) * n * c * rows * columns * tab[ROOM, I]
    outputs = float(groups) * n * k * p * q * tab[ROOM, O]
    return sca[BUFFER] - weights - inputs - outputs
