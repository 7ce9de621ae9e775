"""Rules for the ONNX operators that address their input differently, or put inputs together."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from hwflow.extract.nodes import Node
from hwflow.extract.onnx_call import OnnxCall, OnnxRule
from hwflow.workload import Shape


def _reshape(call: OnnxCall) -> Node:
    same = call.shape(0) == call.out
    return call.identity() if same else call.make("reshape", [call.input(0)])


def _transpose(call: OnnxCall) -> Node:
    rank = len(call.shape(0))
    order = call.ints("perm") or tuple(reversed(range(rank)))
    if order == tuple(range(rank)):
        return call.identity()
    return call.make("permute", [call.input(0)], attrs=(("dims", order),))


def _cut(
    call: OnnxCall, source: str | Node, dim: int, edges: tuple[int, int, int], shape: Shape,
    *, part: str = "", value: str = "",
) -> Node:  # fmt: skip
    start, stop, step = edges
    attrs = (("dim", dim), ("start", start), ("stop", stop), ("step", step))
    return call.make("slice", [source], attrs=attrs, out_shape=shape, part=part, value=value)


def _slice(call: OnnxCall) -> Node | list[Node]:
    """Return a slice of several axes as one slice after another."""
    starts, ends = call.ints("starts", 1), call.ints("ends", 2)
    if starts is None or ends is None:
        return call.unknown()
    axes = call.ints("axes", 3) or tuple(range(len(starts)))
    steps = call.ints("steps", 4) or (1,) * len(starts)
    shape = list(call.shape(0))
    made: list[Node] = []
    source: str | Node = call.input(0)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        edges = slice(start, end, step).indices(shape[axis])
        if edges == (0, shape[axis], 1):
            continue
        shape[axis] = len(range(*edges))
        source = _cut(call, source, axis % len(shape), edges, tuple(shape), part=str(axis))
        made.append(source)
    return [*made, call.make("identity", [source])]


def _split(call: OnnxCall) -> list[Node]:
    shape = call.shape(0)
    dim = int(call.attrs.get("axis", 0)) % len(shape)
    sizes = [call.values.shape(name)[dim] for name in call.node.output]
    starts = accumulate(sizes, initial=0)
    x, shape_of = call.input(0), call.values.shape
    return [
        _cut(call, x, dim, (start, start + size, 1), shape_of(name), value=name)
        for name, size, start in zip(call.node.output, sizes, starts, strict=False)
    ]


def _gather(call: OnnxCall) -> Node:
    """Return a gather of constant indices as the slice it is; rows that lie apart are listed."""
    index = call.array(1)
    if index is None or not call.is_active(0):
        return call.unknown()
    shape = call.shape(0)
    dim = int(call.attrs.get("axis", 0)) % len(shape)
    rows = np.asarray(index).reshape(-1) % shape[dim]
    if np.array_equal(rows, np.arange(shape[dim])):
        return _reshape(call)
    start = int(rows[0])
    if np.array_equal(rows, np.arange(start, start + len(rows))):
        return _cut(call, call.input(0), dim, (start, start + len(rows), 1), call.out)
    attrs = (("dim", dim), ("rows", tuple(int(row) for row in rows)))
    return call.make("slice", [call.input(0)], attrs=attrs)


def _pad(call: OnnxCall) -> Node:
    x, amounts = call.input(0), call.ints("pads", 1)
    if amounts is None:
        return call.unknown()
    if not any(amounts):
        return call.identity()
    rank = len(call.shape(0))
    axes = call.ints("axes", 3) or tuple(range(rank))
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = amounts[i], amounts[len(axes) + i]
    value = call.array(2)
    attrs = (
        ("mode", str(call.attrs.get("mode", "constant"))),
        ("value", call.attrs.get("value", 0) if value is None else float(value.reshape(-1)[0])),
        ("before", tuple(before)),
        ("after", tuple(after)),
    )
    return call.make("pad", [x], attrs=attrs)


def _expand(call: OnnxCall) -> Node:
    same = call.shape(0) == call.out
    return call.identity() if same else call.make("expand", [call.input(0)])


def _concat(call: OnnxCall) -> Node:
    if len(call.node.input) == 1:
        return call.identity()
    dim = int(call.attrs.get("axis", 0)) % len(call.out)
    starts = accumulate((call.values.shape(n)[dim] for n in call.node.input), initial=0)
    read = [
        (name, start)
        for name, start in zip(call.node.input, starts, strict=False) if call.values.active(name)
    ]  # fmt: skip
    attrs = (("dim", dim), ("offsets", tuple(start for _, start in read)))
    return call.make("concat", [name for name, _ in read], attrs=attrs)


def _depth_to_space(call: OnnxCall) -> list[Node]:
    n, channels, height, width = call.shape(0)
    r = int(call.attrs["blocksize"])
    if call.node.op_type == "SpaceToDepth":
        return _rearranged(call, (n, channels, height // r, r, width // r, r), (0, 3, 5, 1, 2, 4))
    if call.attrs.get("mode", "DCR") == "CRD":
        return _rearranged(call, (n, channels // r**2, r, r, height, width), (0, 1, 4, 2, 5, 3))
    return _rearranged(call, (n, r, r, channels // r**2, height, width), (0, 3, 4, 1, 5, 2))


def _rearranged(call: OnnxCall, parts: Shape, order: tuple[int, ...]) -> list[Node]:
    """Return reshape, permute, reshape."""
    split = call.make("reshape", [call.input(0)], part="split", out_shape=parts)
    shape = tuple(parts[axis] for axis in order)
    turned = call.make("permute", [split], part="turned", out_shape=shape, attrs=(("dims", order),))
    return [split, turned, call.make("reshape", [turned])]


RULES: dict[str, OnnxRule] = {
    "Reshape Flatten Squeeze Unsqueeze": _reshape,
    "Transpose": _transpose,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "Pad": _pad,
    "Expand Tile": _expand,
    "Concat": _concat,
    "DepthToSpace SpaceToDepth": _depth_to_space,
}
