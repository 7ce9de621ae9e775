"""The loops of a layer: what the fine level needs to know of it, and nothing else.

A layer becomes eight loops: N K C P Q R S and G, where K and C count one group. Layers that differ
only in name share one :class:`Shape`, so a search is made once for all of them.

================= =====================================================================
linear, matmul    tokens on P, groups on G, a 1 x 1 kernel
transposed conv   its phases where the kernel is a multiple of the stride: K stride² outputs
                  from kernel/stride taps; otherwise one product per input pixel and tap
================= =====================================================================

In the GEMM view (im2col) a convolution is a matrix product for each group: K outputs, C R S inputs,
N P Q columns. Its inputs are the unfolded matrix, as an engine for matrix products reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Literal

from hwflow.workload import Layer, touched_rows

DIMS = "NKCPQRSG"
"""Names of the loops, in the order of every vector of this package."""

N, K, C, P, Q, R, S, G = range(8)
WEIGHTS, INPUTS, OUTPUTS = range(3)
TENSORS = ("weights", "inputs", "outputs")

RELEVANT = (frozenset("KCRSG"), frozenset("NCPQRSG"), frozenset("NKPQG"))
"""Loops that index each tensor."""

GROUPS = ("NPQ", "K", "CRS")
"""Loops that do not index weights, inputs, outputs: what the stationary tensor is reused over."""

Ints = tuple[int, ...]
View = Literal["convolution", "gemm"]


@dataclass(frozen=True, slots=True)
class Shape:
    """Loop bounds of a layer and the geometry of its input window."""

    dims: Ints
    """N K C P Q R S G; K and C of one group."""
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    """Zero rows and columns inside the whole input window; they do not come from DRAM."""
    touched: tuple[int, int] = (1, 1)
    """Input rows and columns that are really read."""
    density: float = 1.0
    """Share of MACs on nonzero inputs; below 1 only where the machine switches the others off."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return prod(self.dims)

    @property
    def weights(self) -> int:
        """Elements of the weights."""
        n = self.dims
        return n[G] * n[K] * n[C] * n[R] * n[S]

    @property
    def outputs(self) -> int:
        """Elements of the outputs."""
        n = self.dims
        return n[G] * n[N] * n[K] * n[P] * n[Q]

    @property
    def depth(self) -> int:
        """Products summed into one output."""
        return self.dims[C] * self.dims[R] * self.dims[S]

    def span(self, axis: int, outputs: int, taps: int) -> int:
        """Return the contiguous input rows (axis 0) or columns of so many outputs and taps."""
        return (outputs - 1) * self.stride[axis] + (taps - 1) * self.dilation[axis] + 1

    def spans(self, axis: int, out_tiles: int, tap_tiles: int) -> int:
        """Return the sum of the spans of all tiles: p st + r dil + 1 - st - dil over both splits.

        It depends on the numbers of tiles alone, however the remainders are spread.
        """
        outputs, taps = self.dims[P + axis], self.dims[R + axis]
        stride, dilation = self.stride[axis], self.dilation[axis]
        both = out_tiles * tap_tiles * (1 - stride - dilation)
        return tap_tiles * outputs * stride + out_tiles * taps * dilation + both

    def rows_moved(self, axis: int, tiles: int) -> int:
        """Return the rows (columns) that `tiles` tiles of whole kernels bring from DRAM."""
        return max(self.touched[axis], self.spans(axis, tiles, 1) - self.padding[axis])


@lru_cache(maxsize=65536)
def shape_of(layer: Layer, view: View = "convolution", *, gated: bool = False) -> Shape:
    """Return the loops of a layer that multiplies and accumulates.

    `gated` says whether the machine switches MACs on zero inputs off; only then does the layer's
    input density count.
    """
    shape = _loops(layer)
    if view == "gemm":
        shape = unfolded(shape)
    return replace(shape, density=layer.input_density) if gated else shape


def unfolded(shape: Shape) -> Shape:
    """Return the matrix product that im2col makes of a shape: K x (C R S) x (N P Q)."""
    n, k, _, p, q, _, _, g = shape.dims
    columns = n * p * q
    return Shape((1, k, shape.depth, columns, 1, 1, 1, g), touched=(columns, 1))


def spread_in(view: View, loops: Iterable[str]) -> frozenset[str]:
    """Return the loops that an axis of the array may spread, given those the machine names.

    In the GEMM view the columns of the product, P, stand for N, P and Q, its depth, C, for C, R, S.
    """
    named = frozenset(loops)
    if view == "convolution":
        return named
    columns, depth = named & frozenset("NPQ"), named & frozenset("CRS")
    return named | (frozenset("P" if columns else "")) | frozenset("C" if depth else "")


def _loops(layer: Layer) -> Shape:
    groups = layer.groups
    outputs, inputs = layer.out_channels // groups, layer.in_channels // groups
    if layer.transposed:
        return _transposed(layer, outputs, inputs)
    if layer.op != "conv":
        tokens = layer.out_size
        return Shape((layer.batch, outputs, inputs, *tokens, 1, 1, groups), touched=tokens)
    axes = [_window(layer, axis) for axis in (0, 1)]
    return Shape(
        (layer.batch, outputs, inputs, *layer.out_size, *layer.kernel, groups),
        layer.stride,
        layer.dilation,
        padding=(axes[0][0], axes[1][0]),
        touched=(axes[0][1], axes[1][1]),
    )


def _window(layer: Layer, axis: int) -> tuple[int, int]:
    """Return the zero rows inside the input window along an axis, and the rows really read."""
    size, out, before = layer.in_shapes[0][axis - 2], layer.out_size[axis], layer.padding[axis]
    kernel, stride, dilation = layer.kernel[axis], layer.stride[axis], layer.dilation[axis]
    span = (out - 1) * stride + (kernel - 1) * dilation + 1
    zeros = min(before, span) + max(0, span - before - size)
    return zeros, touched_rows(size, out, kernel, stride, dilation, before)


def _transposed(layer: Layer, outputs: int, inputs: int) -> Shape:
    """Return the loops of the phases' outputs, or those over input pixels with all their taps."""
    size, out = layer.in_shapes[0][-2:], layer.out_size
    kernel, stride = layer.kernel, layer.stride
    height, width = size
    if any(k % s or d != 1 for k, s, d in zip(kernel, stride, layer.dilation, strict=True)):
        products = max(prod(kernel), -(-prod(out) // (height * width)))
        dims = (layer.batch, outputs * products, inputs, height, width, 1, 1, layer.groups)
        return Shape(dims, touched=(height, width))
    phases = [-(-o // s) for o, s in zip(out, stride, strict=True)]
    taps = [k // s for k, s in zip(kernel, stride, strict=True)]
    zeros = [max(0, p + r - 1 - n) for p, r, n in zip(phases, taps, size, strict=True)]
    return Shape(
        (layer.batch, outputs * prod(stride), inputs, *phases, *taps, layer.groups),
        padding=(zeros[0], zeros[1]),
        touched=(height, width),
    )
