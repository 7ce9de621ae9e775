"""Sums of products of integers in numpy: convolution, linear layer, pooling, on (N, C, H, W).

Integers are multiplied by the float kernels of BLAS where the bound of the accumulator proves that
this is exact (below 2^24 in float32, below 2^53 in float64; every partial sum of integers below
the bound is an integer that the format holds), else by numpy's int64 loops, which are slow.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hwflow.integer.values import Array

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """Where a kernel is put: pairs are (height, width)."""

    size: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    before: Pair = (0, 0)
    """Rows and columns of padding before the input, negative for a crop."""
    after: Pair = (0, 0)

    @property
    def extent(self) -> Pair:
        """Rows and columns that the kernel spans."""
        (r, s), (d, e) = self.size, self.dilation
        return d * (r - 1) + 1, e * (s - 1) + 1


def exact_dtype(bound: int) -> np.dtype[np.generic]:
    """Return the fastest type that adds integers up to `bound` in magnitude exactly."""
    if bound < 2**24:
        return np.dtype(np.float32)
    return np.dtype(np.float64) if bound < 2**53 else np.dtype(np.int64)


def padded(x: Array, window: Window, value: int = 0) -> Array:
    """Return `x` with the rows and columns of padding around it."""
    amounts = list(zip(window.before, window.after, strict=True))
    grown = [(max(a, 0), max(b, 0)) for a, b in amounts]
    if any(map(any, grown)):
        x = np.pad(x, [(0, 0), (0, 0), *grown], constant_values=value)
    (top, bottom), (left, right) = [(max(-a, 0), max(-b, 0)) for a, b in amounts]
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


def patches(x: Array, window: Window) -> Array:
    """Return a view (N, C, H', W', R, S) of the padded `x`."""
    view = sliding_window_view(x, window.extent, axis=(2, 3))
    (a, b), (d, e) = window.stride, window.dilation
    return view[:, :, ::a, ::b, ::d, ::e]


def convolve(x: Array, weight: Array, window: Window, groups: int, bound: int) -> Array:
    """Return the convolution of centred codes (N, C, H, W) with (K, C / groups, R, S) in int64.

    `bound` is at least the magnitude of any accumulator and of any partial sum.
    """
    dtype = exact_dtype(bound)
    x, weight = padded(x.astype(dtype), window), weight.astype(dtype)
    if weight.shape[1] == 1 and groups > 1:
        return _by_channel(np.repeat(x, len(weight) // groups, axis=1), weight, window)
    parts = zip(np.split(x, groups, axis=1), np.split(weight, groups), strict=True)
    return np.concatenate([_dense(part, kernel, window) for part, kernel in parts], axis=1)


def _dense(x: Array, weight: Array, window: Window) -> Array:
    view = patches(x, window)
    batch, _, height, width = view.shape[:4]
    flat = weight.reshape(len(weight), -1)
    made = np.empty((batch, len(weight), height, width), dtype=np.int64)
    for image in range(batch):  # one at a time: the copy of the patches is R * S times the input
        columns = view[image].transpose(0, 3, 4, 1, 2).reshape(flat.shape[1], height * width)
        made[image] = (flat @ columns).reshape(len(weight), height, width)
    return made


def _by_channel(x: Array, weight: Array, window: Window) -> Array:
    view = patches(x, window)
    total = np.zeros(view.shape[:4], dtype=x.dtype)
    for i, j in product(*map(range, window.size)):
        total += view[..., i, j] * weight[:, 0, i, j].reshape(1, -1, 1, 1)
    return total.astype(np.int64)


def convolve_transposed(
    x: Array, weight: Array, window: Window, output_padding: Pair, groups: int, bound: int
) -> Array:
    """Return the transposed convolution with a weight (C, K / groups, R, S).

    It is the convolution of the input, spread by the stride, with the flipped kernel.
    """
    (a, b), (height, width) = window.stride, x.shape[2:]
    spread = np.zeros((*x.shape[:2], a * (height - 1) + 1, b * (width - 1) + 1), dtype=x.dtype)
    spread[:, :, ::a, ::b] = x
    kernels = [part.swapaxes(0, 1) for part in np.split(weight[:, :, ::-1, ::-1], groups)]
    before = tuple(e - 1 - p for e, p in zip(window.extent, window.before, strict=True))
    after = tuple(p + o for p, o in zip(before, output_padding, strict=True))
    whole = Window(window.size, (1, 1), window.dilation, before, after)  # type: ignore[arg-type]
    return convolve(spread, np.concatenate(kernels), whole, groups, bound)


def multiply_matrix(x: Array, weight: Array, bound: int) -> Array:
    """Return x @ weight.T of centred codes (..., C) and (K, C) in int64."""
    dtype = exact_dtype(bound)
    return np.asarray(x.astype(dtype) @ weight.astype(dtype).T).astype(np.int64)


def sum_pool(x: Array, window: Window) -> Array:
    """Return the sum over each window."""
    return np.asarray(patches(padded(x, window), window).sum(axis=(4, 5), dtype=np.int64))


def max_pool(x: Array, window: Window) -> Array:
    """Return the largest code of each window; padding is never the largest."""
    lowest = int(np.iinfo(np.int64).min)
    return np.asarray(patches(padded(x, window, lowest), window).max(axis=(4, 5)))


def sums_of_weight(weight: Array, low: int, high: int, transposed: bool, groups: int) -> Pair:
    """Return the smallest and largest accumulator over all inputs from `low` to `high`.

    With padding an input may also be 0, so 0 counts as one of them.
    """
    if transposed:
        split = [part.swapaxes(0, 1) for part in np.split(weight, groups)]
        weight = np.concatenate(split)
    flat = weight.reshape(len(weight), -1).astype(np.int64)
    up, down = np.maximum(flat, 0).sum(axis=1), np.minimum(flat, 0).sum(axis=1)
    low, high = min(low, 0), max(high, 0)
    return int((up * low + down * high).min()), int((up * high + down * low).max())
