"""The operators of a layer list: from the keys of an entry to the fields of a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from hwflow.extract import geometry
from hwflow.extract.geometry import Fields
from hwflow.extract.layer_entry import Entry
from hwflow.workload import Pair, Shape

Operator = Callable[[Entry, Sequence[Shape]], Fields]
"""Reads an entry over inputs of these shapes; gives fields of Layer with `out_shape`."""

LOOPS = frozenset("NKCPQRSG")
"""Loop bounds that may stand in place of input and kernel, in the field's letters."""


def _padding(entry: Entry, kernel: Pair, dilation: Pair) -> tuple[int, int, int, int]:
    """Return the zero rows and columns at top, left, bottom and right."""
    given = entry.get("padding", 0)
    if given == "same":
        before, after = geometry.same_padding(kernel, dilation)
        return (before[0], before[1], after[0], after[1])
    if isinstance(given, list) and len(given) == 4:
        top, left, bottom, right = entry.numbers("padding", 4)
        return top, left, bottom, right
    height, width = entry.pair("padding", 0, least=0)
    return height, width, height, width


def _image(entry: Entry, shape: Shape) -> tuple[int, int, int, int]:
    if len(shape) != 4:
        entry.fault(
            f"reads a tensor of shape {list(shape)}, expected [batch, channels, height, width]."
        )
    batch, channels, height, width = shape
    return batch, channels, height, width


def _groups(entry: Entry, channels: int, outputs: int) -> int:
    given = entry.get("groups", 1)
    groups = channels if given == "depthwise" else entry.count("groups", 1)
    if channels % groups or outputs % groups:
        entry.wrong(
            "groups", f"a divisor of {channels} input and {outputs} output channels, or depthwise"
        )
    return groups


def _conv(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    _, channels, height, width = _image(entry, shapes[0])
    outputs, kernel = entry.count("out_channels"), entry.pair("kernel", 1)
    stride, dilation = entry.pair("stride", 1), entry.pair("dilation", 1)
    pads = _padding(entry, kernel, dilation)
    size = tuple(
        (extent + pads[i] + pads[i + 2] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i, extent in enumerate((height, width))
    )
    groups = _groups(entry, channels, outputs)
    weight = (outputs, channels // groups, *kernel)
    return _convolution(entry, shapes[0], weight, size, stride, dilation, pads, groups)


def _conv_transpose(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    _, channels, height, width = _image(entry, shapes[0])
    outputs, kernel = entry.count("out_channels"), entry.pair("kernel", 1)
    stride, dilation = entry.pair("stride", 1), entry.pair("dilation", 1)
    pads, extra = _padding(entry, kernel, dilation), entry.pair("output_padding", 0, least=0)
    size = tuple(
        (extent - 1) * stride[i] - pads[i] - pads[i + 2] + dilation[i] * (kernel[i] - 1)
        + extra[i] + 1
        for i, extent in enumerate((height, width))
    )  # fmt: skip
    groups = _groups(entry, channels, outputs)
    weight = (channels, outputs // groups, *kernel)
    return _convolution(entry, shapes[0], weight, size, stride, dilation, pads, groups, True)


def _convolution(
    entry: Entry, x: Shape, weight: Shape, size: Sequence[int], stride: Pair, dilation: Pair,
    pads: Sequence[int], groups: int, transposed: bool = False,
) -> Fields:  # fmt: skip
    if min(size) < 1:
        entry.fault(f"has a kernel of {list(weight[2:])} that does not fit into {list(x[2:])}.")
    outputs = weight[1] * groups if transposed else weight[0]
    out = (x[0], outputs, *size)
    fields = geometry.convolution(
        x, weight, out, stride=stride, dilation=dilation, before=pads[:2], after=pads[2:],
        groups=groups, transposed=transposed,
    )  # fmt: skip
    return fields | {"out_shape": out} | _with_bias(entry, prod(weight), outputs)


def _with_bias(entry: Entry, weights: int, outputs: int) -> Fields:
    """Return bias, folded norm and the parameters of a layer with a weight."""
    bias = entry.flag("bias", True)
    norm = entry.choice("norm", ("batch", "none"), "none")
    folded = norm == "batch"
    params = weights + outputs * (bias + 2 * folded)
    return {"bias": bias, "norm": "batch" if folded else None, "params": params}


def _linear(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    shape = shapes[0]
    if len(shape) not in {2, 3}:
        entry.fault(
            f"reads a tensor of shape {list(shape)}, expected [batch, features] or "
            "[batch, tokens, features]. Put {op: flatten} before it."
        )
    features, outputs = shape[-1], entry.count("out_channels")
    fields = geometry.linear(features, outputs, prod(shape[:-1]), shape[0])
    more = _with_bias(entry, features * outputs, outputs)
    return fields | {"out_shape": (*shape[:-1], outputs)} | more


def _matmul(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    left, right = _two(entry, shapes)
    if min(len(left), len(right)) < 2:
        entry.fault("reads a tensor of one axis, expected matrices.")
    if entry.flag("transpose", False):
        right = (*right[:-2], right[-1], right[-2])
    if left[-1] != right[-2]:
        entry.fault(f"multiplies {list(left)} by {list(right)}, whose inner sizes differ.")
    lead = _broadcast(entry, left[:-2], right[:-2])
    fields = geometry.product(*geometry.matmul(left, right))
    return fields | {"out_shape": (*lead, left[-2], right[-1])}


def _two(entry: Entry, shapes: Sequence[Shape]) -> tuple[Shape, Shape]:
    if len(shapes) != 2:
        entry.fault(f"has {len(shapes)} input, expected two: inputs: [a, b].")
    return shapes[0], shapes[1]


def _broadcast(entry: Entry, left: Shape, right: Shape) -> Shape:
    width = max(len(left), len(right))
    pairs = zip((1,) * (width - len(left)) + left, (1,) * (width - len(right)) + right, strict=True)
    if any(a != b and 1 not in (a, b) for a, b in pairs):
        entry.fault(f"reads tensors whose shapes {list(left)} and {list(right)} do not fit.")
    return geometry.broadcast(left, right)


def _elementwise(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    if len(shapes) < 2:
        entry.fault("has one input, expected at least two: inputs: [a, b].")
    out = shapes[0]
    for shape in shapes[1:]:
        out = _broadcast(entry, out, shape)
    return {"out_shape": out}


def _concat(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    first = shapes[0]
    axis = entry.axis("axis", 1, len(first))
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    if len(rest) > 1 or len({len(shape) for shape in shapes}) > 1:
        entry.fault(f"joins {[list(s) for s in shapes]}, which differ on axes other than {axis}.")
    sizes = [shape[axis] for shape in shapes]
    offsets = tuple(sum(sizes[:i]) for i in range(len(sizes)))
    out = (*first[:axis], sum(sizes), *first[axis + 1 :])
    return {"out_shape": out, "attrs": (("dim", axis), ("offsets", offsets))}


def _pool(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    x: Shape = shapes[0]
    batch, channels, height, width = _image(entry, x)
    if not entry.has("kernel"):
        whole = (batch, channels, 1, 1)
        return geometry.adaptive_pool(x, whole, 2) | {"out_shape": whole}
    kernel = entry.pair("kernel")
    stride = entry.pair("stride") if entry.has("stride") else kernel
    pads = _padding(entry, kernel, (1, 1))
    size = [
        (extent + pads[i] + pads[i + 2] - kernel[i]) // stride[i] + 1
        for i, extent in enumerate((height, width))
    ]
    if min(size) < 1:
        entry.fault(f"has a window of {list(kernel)} that does not fit into {[height, width]}.")
    out = (batch, channels, *size)
    fields = geometry.pool(x, out, kernel, stride, (1,), pads[:2], pads[2:])
    return fields | {"out_shape": out}


def _same_shape(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    return {"out_shape": shapes[0]}


def _norm(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    kind = entry.choice("kind", ("batch", "layer", "group", "instance"), "layer")
    axis = -1 if kind == "layer" else 1
    params = 2 * shapes[0][axis] if entry.flag("affine", True) else 0
    return {"out_shape": shapes[0], "params": params, "attrs": (("kind", kind),)}


def _softmax(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    axis = entry.axis("axis", -1, len(shapes[0]))
    return {"out_shape": shapes[0], "attrs": (("dim", axis),)}


def _resize(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    batch, channels, height, width = _image(entry, shapes[0])
    factor = entry.pair("factor", 1)
    size = entry.pair("size") if entry.has("size") else (height * factor[0], width * factor[1])
    mode = entry.choice("mode", ("nearest", "bilinear", "bicubic"), "nearest")
    return {"out_shape": (batch, channels, *size), "attrs": (("mode", mode),)}


def _flatten(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    return {"out_shape": (shapes[0][0], prod(shapes[0][1:]))}


def _reshape(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    out = entry.shape("shape")
    if prod(out) != prod(shapes[0]):
        entry.wrong("shape", f"a shape of {prod(shapes[0])} elements, as {list(shapes[0])} has")
    return {"out_shape": out}


def _permute(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    shape = shapes[0]
    dims = entry.numbers("dims", len(shape))
    if sorted(dims) != list(range(len(shape))):
        entry.wrong("dims", f"each axis from 0 to {len(shape) - 1} once")
    return {"out_shape": tuple(shape[axis] for axis in dims), "attrs": (("dims", dims),)}


def _slice(entry: Entry, shapes: Sequence[Shape]) -> Fields:
    shape = shapes[0]
    axis = entry.axis("axis", 1, len(shape))
    start, step = entry.count("start", 0, least=0), entry.count("step", 1)
    stop = entry.count("stop", shape[axis])
    size = len(range(start, min(stop, shape[axis]), step))
    if not size:
        entry.fault(f"takes nothing from axis {axis} of {list(shape)}.")
    attrs = (("dim", axis), ("start", start), ("stop", stop), ("step", step))
    return {"out_shape": (*shape[:axis], size, *shape[axis + 1 :]), "attrs": attrs}


OPERATORS: dict[str, tuple[str, Operator]] = {
    "conv": ("conv", _conv),
    "conv_transpose": ("conv_transpose", _conv_transpose),
    "linear": ("linear", _linear),
    "matmul": ("matmul", _matmul),
    "add": ("add", _elementwise),
    "mul": ("mul", _elementwise),
    "concat": ("concat", _concat),
    "max_pool": ("max_pool", _pool),
    "avg_pool": ("avg_pool", _pool),
    "act": ("act", _same_shape),
    "norm": ("norm", _norm),
    "softmax": ("softmax", _softmax),
    "resize": ("resize", _resize),
    "flatten": ("reshape", _flatten),
    "reshape": ("reshape", _reshape),
    "permute": ("permute", _permute),
    "slice": ("slice", _slice),
}
"""What an entry may call its operator -> the operator of the layer, and how its keys are read."""


def from_loops(entry: Entry, op: str) -> tuple[Shape, Fields]:
    """Return the input shape and the fields of a convolution or linear layer given by its loops.

    N, K, C, P, Q, R, S and G are batch, output and input channels, output height and width, kernel
    height and width, and groups; each is 1 unless given, but K and C must be.
    """
    bounds = {key: entry.count(key, None if key in "KC" else 1) for key in sorted(LOOPS)}
    n, k, c, g = (bounds[key] for key in "NKCG")
    if c % g or k % g:
        entry.wrong("G", f"a divisor of C = {c} and K = {k}")
    if op == "linear":
        tokens = bounds["P"] * bounds["Q"]
        fields = geometry.linear(c // g, k // g, n * tokens, n, g)
        more = _with_bias(entry, k * c // g, k)
        shape = (n, c) if tokens == 1 else (n, tokens, c)
        return shape, fields | {"out_shape": (*shape[:-1], k)} | more
    kernel, size = (bounds["R"], bounds["S"]), (bounds["P"], bounds["Q"])
    stride, dilation = entry.pair("stride", 1), entry.pair("dilation", 1)
    pads = _padding(entry, kernel, dilation)
    x = (n, c, *_input_size(size, kernel, stride, dilation, pads))
    weight = (k, c // g, *kernel)
    return x, _convolution(entry, x, weight, size, stride, dilation, pads, g)


def _input_size(
    size: Pair, kernel: Pair, stride: Pair, dilation: Pair, pads: Sequence[int]
) -> tuple[int, ...]:
    """Return the rows and columns that `size` outputs span, without the padding."""
    return tuple(
        max(
            (size[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 - pads[i] - pads[i + 2], 1
        )
        for i in (0, 1)
    )


def acts(entry: Entry) -> tuple[str, ...]:
    """Return the activations folded onto a layer."""
    return () if not entry.has("act") else entry.names("act", ())


def fields_of(entry: Entry, op: str, shapes: Sequence[Shape]) -> dict[str, Any]:
    """Return the fields of one layer over inputs of these shapes, `op` among them."""
    kind, read = OPERATORS[op]
    return {"op": kind} | read(entry, shapes)
