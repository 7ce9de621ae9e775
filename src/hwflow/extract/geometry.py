"""Dimensions of multiplying operators in the terms of a layer, from shapes alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from hwflow.workload import Shape

Fields = dict[str, Any]
"""Fields of a Layer by name."""


def convolution(
    x: Shape, weight: Shape, out: Shape, *, stride: Sequence[int], dilation: Sequence[int],
    before: Sequence[int], after: Sequence[int], groups: int, transposed: bool = False,
) -> Fields:  # fmt: skip
    """Return the layer fields of a convolution over one, two or three spatial axes.

    `before` and `after` are the zero positions at the two ends of each spatial axis. One axis is
    taken as the width of an image of one row. Over three axes a convolution is N * D flat ones
    (D the output depth) whose input channels are the C * kernel_depth of one window.
    """
    if len(x) < len(weight):
        x, out = (1, *x), (1, *out)
    stride, dilation, before, after = (
        _spread(values, len(weight) - 2) for values in (stride, dilation, before, after)
    )
    fields: Fields = {"op": "conv_transpose" if transposed else "conv", "groups": groups}
    in_channels = weight[0] if transposed else weight[1] * groups
    out_channels = weight[1] * groups if transposed else weight[0]
    planes, depth = out[0], 1
    attrs: tuple[tuple[str, object], ...] = (("weight_axis", 1),) if transposed else ()
    if len(weight) == 5:
        planes, depth = out[0] * (x if transposed else out)[2], weight[2]
        attrs += (("depth", depth), ("depth_stride", stride[0]))
    return fields | {
        "attrs": attrs,
        "in_shapes": (x if len(x) != 3 else (*x[:2], 1, x[2]),),
        "batch": planes,
        "in_channels": in_channels * depth,
        "out_channels": out_channels,
        "out_size": pair(out[2:], 1),
        "kernel": pair(weight[2:], 1),
        "stride": pair(stride, 1),
        "dilation": pair(dilation, 1),
        "padding": (*pair(before, 0), *pair(after, 0)),
    }


def pair(values: Sequence[int], single: int) -> tuple[int, int]:
    """Return the values of the last two axes; `single` for the height of a one-row image."""
    if len(values) == 1:
        return single, values[0]
    return values[-2], values[-1]


def _spread(values: Sequence[int], axes: int) -> tuple[int, ...]:
    return tuple(values) * axes if len(values) == 1 else tuple(values)


def same_padding(
    kernel: Sequence[int], dilation: Sequence[int], extra_before: bool = False
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the zeros before and after each axis that keep its size at stride 1."""
    total = [d * (k - 1) for k, d in zip(kernel, _spread(dilation, len(kernel)), strict=True)]
    small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return (large, small) if extra_before else (small, large)


def linear(in_features: int, out_features: int, tokens: int, batch: int, groups: int = 1) -> Fields:
    """Return the layer fields of a linear layer over `tokens` rows for a network batch `batch`."""
    images = batch if tokens % batch == 0 else 1
    return {
        "op": "linear",
        "batch": images,
        "in_channels": in_features * groups,
        "out_channels": out_features * groups,
        "groups": groups,
        "out_size": (tokens // images, 1),
    }


def product(
    sets: int, rows: int, depth: int, columns: int, *, constant: int | None = None,
    constant_sets: int = 1, batch: int = 1,
) -> Fields:  # fmt: skip
    """Return the layer fields of `sets` products (rows x depth)(depth x columns).

    `constant` is the side (0 or 1) that is a constant of `constant_sets` distinct matrices: then
    it is a linear layer whose outputs are the columns (1) or the rows (0). Else it is a matmul.
    """
    if constant is None:
        return {
            "op": "matmul",
            "groups": sets,
            "in_channels": sets * depth,
            "out_channels": sets * columns,
            "out_size": (rows, 1),
        }
    tokens, outputs = (rows, columns) if constant == 1 else (columns, rows)
    return linear(depth, outputs, tokens * sets // constant_sets, batch, constant_sets)


def matmul(left: Shape, right: Shape) -> tuple[int, int, int, int]:
    """Return (sets, rows, depth, columns) of ``left @ right`` with numpy's broadcasting."""
    left = left if len(left) > 1 else (1, *left)
    right = right if len(right) > 1 else (*right, 1)
    return prod(broadcast(left[:-2], right[:-2])), left[-2], left[-1], right[-1]


def broadcast(left: Shape, right: Shape) -> Shape:
    """Return the shape two shapes broadcast to."""
    width = max(len(left), len(right))
    pairs = zip((1,) * (width - len(left)) + left, (1,) * (width - len(right)) + right, strict=True)
    return tuple(max(a, b) for a, b in pairs)


def einsum(equation: str, left: Shape, right: Shape) -> tuple[int, int, int, int] | None:
    """Return (sets, rows, depth, columns) of a two-operand einsum, None when it is no product."""
    terms, arrow, result = equation.replace(" ", "").partition("->")
    first, _, second = terms.partition(",")
    first, second = _spelled(first, len(left)), _spelled(second, len(right))
    if not arrow or not first or not second:
        return None
    size = dict(zip(first, left, strict=True)) | dict(zip(second, right, strict=True))
    counts = {"sets": 1, "rows": 1, "depth": 1, "columns": 1}
    for letter, extent in size.items():
        kind = _role(letter, first, second, letter in result or letter.isdigit())
        if kind is None:
            return None
        counts[kind] *= extent
    return counts["sets"], counts["rows"], counts["depth"], counts["columns"]


def _spelled(term: str, rank: int) -> str:
    """Return a term with the axes of its ellipsis as digits, "" when it does not fit the rank."""
    hidden = rank - len(term.replace("...", ""))
    term = term.replace("...", "".join(str(axis) for axis in reversed(range(hidden))))
    return term if len(term) == rank == len(set(term)) else ""


def _role(letter: str, first: str, second: str, kept: bool) -> str | None:
    if letter in first and letter in second:
        return "sets" if kept else "depth"
    if not kept:
        return None
    return "rows" if letter in first else "columns"


def pool(
    x: Shape, out: Shape, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int],
    before: Sequence[int], after: Sequence[int] | None = None,
) -> Fields:  # fmt: skip
    """Return the layer fields of pooling in windows."""
    axes = min(len(x) - 2, 3)
    after = before if after is None else after
    kernel, stride, dilation, before, after = (
        _spread(values, axes) for values in (kernel, stride, dilation, before, after)
    )
    return {
        "in_channels": x[1],
        "out_channels": x[1],
        "out_size": pair(out[-axes:], 1),
        "kernel": pair(kernel, 1),
        "stride": pair(stride, 1),
        "dilation": pair(dilation, 1),
        "padding": (*pair(before, 0), *pair(after, 0)),
    }


def adaptive_pool(x: Shape, out: Shape, axes: int) -> Fields:
    """Return the layer fields of pooling to a given size; windows that differ count as the last."""
    sizes = list(zip(x[-axes:], out[-axes:], strict=True))
    stride = tuple(max(size // made, 1) for size, made in sizes)
    kernel = tuple(
        max(size - (made - 1) * step, 1) for (size, made), step in zip(sizes, stride, strict=True)
    )
    return pool(x, out, kernel, stride, (1,), (0,))
