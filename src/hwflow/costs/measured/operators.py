"""The ONNX nodes of one layer, written from its description alone: no torch, random weights.

Batch norms are written as biases, as a runtime folds them. What cannot be written raises
:class:`UnmeasurableError` with the layer and the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np

from hwflow.costs.measured.builder import Builder
from hwflow.errors import WorkloadError
from hwflow.workload import Layer, Shape


class UnmeasurableError(WorkloadError):
    """A layer that cannot be written as a network of its own."""


Emit = Callable[[Builder, Layer, Sequence[str]], str]


def emit(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    """Add the nodes of a layer that reads the tensors `inputs`; return what it writes, as float.

    Raises UnmeasurableError for operators and activations that are not known here.
    """
    write = _OPERATORS.get(layer.op)
    if write is None or not inputs:
        raise refusal(layer, f"its operator {_called(layer)!r} is not known")
    found = write(graph, layer, inputs)
    for name in layer.act:
        found = _activated(graph, layer, name, found)
    return found


def is_integer(layer: Layer) -> bool:
    """Whether a runtime may multiply 8-bit integers: all operands of the layer have 8 bits."""
    return layer.is_mac and {layer.weight_bits, *layer.input_bits} == {8}


def refusal(layer: Layer, why: str) -> UnmeasurableError:
    """Return the error of a layer that cannot be measured."""
    return UnmeasurableError(
        f"Layer {layer.name!r} cannot be measured: {why}. Keep it out of the space, or cost the "
        "network at a modelled level."
    )


def _called(layer: Layer) -> str:
    return str(layer.attr("target", layer.op))


def _shaped(graph: Builder, name: str, have: Shape, want: Shape) -> str:
    """Return a tensor in another shape."""
    if tuple(have) == tuple(want):
        return name
    return graph.node("Reshape", name, graph.constant(want, np.int64))


def _bias(graph: Builder, layer: Layer) -> list[str]:
    if not (layer.bias or layer.norm):
        return []
    return [graph.constant(graph.random((layer.out_channels,), 0.1))]


def _conv(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    if layer.attr("depth") is not None:
        raise refusal(layer, "convolutions over three axes are not written")
    shape = layer.in_shapes[0]
    flat = (layer.batch, layer.in_channels, *_image(shape))
    x = _shaped(graph, inputs[0], shape, flat)
    depth = layer.in_channels // layer.groups
    if layer.transposed:
        size: Shape = (layer.in_channels, layer.out_channels // layer.groups, *layer.kernel)
    else:
        size = (layer.out_channels, depth, *layer.kernel)
    integer = is_integer(layer)
    weight = graph.weight(size, 1 / sqrt(layer.depth), integer, 1 if layer.transposed else 0)
    made = graph.node(
        "ConvTranspose" if layer.transposed else "Conv", x, weight, *_bias(graph, layer),
        kernel_shape=list(layer.kernel), strides=list(layer.stride), group=layer.groups,
        dilations=list(layer.dilation), pads=_padding(layer), **_room(layer),
    )  # fmt: skip
    return _shaped(graph, made, (layer.batch, layer.out_channels, *layer.out_size), layer.out_shape)


def _image(shape: Shape) -> tuple[int, int]:
    return (1, shape[-1]) if len(shape) == 3 else (shape[-2], shape[-1])


def _padding(layer: Layer) -> list[int]:
    """Return the zeros at the ends; those of a transposed one follow from its output's size."""
    return list(layer.padding) if not layer.transposed else [0, 0, 0, 0]


def _room(layer: Layer) -> dict[str, list[int]]:
    """Return the size of the output, which says how a transposed convolution is cut."""
    return {"output_shape": list(layer.out_size)} if layer.transposed else {}


def _linear(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    shape, integer = layer.in_shapes[0], is_integer(layer)
    tokens = layer.batch * layer.out_size[0] * layer.out_size[1]
    scale = 1 / sqrt(layer.in_channels)
    if layer.groups > 1:
        raise refusal(layer, "grouped linear layers are not written")
    if len(shape) > 2 and tokens != _rows(shape, layer.in_channels):
        raise refusal(layer, f"its input of shape {shape} is no list of tokens")
    x = _shaped(graph, inputs[0], shape, (tokens, layer.in_channels))
    weight = graph.weight((layer.out_channels, layer.in_channels), scale, integer, 0)
    made = graph.node("Gemm", x, weight, *_bias(graph, layer), transB=1)
    return _shaped(graph, made, (tokens, layer.out_channels), layer.out_shape)


def _rows(shape: Shape, columns: int) -> int:
    return int(np.prod(shape)) // columns


def _matmul(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    """Write L independent products (m x d)(d x n), whatever the order of axes in the network."""
    products, m = layer.groups * layer.batch, layer.out_size[0]
    d, n = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    left = _shaped(graph, inputs[0], layer.in_shapes[0], (products, m, d))
    if len(inputs) > 1:
        right = _shaped(graph, inputs[1], layer.in_shapes[1], (products, d, n))
    else:
        right = graph.weight((d, n), 1 / sqrt(d), is_integer(layer), 1)
    return _shaped(graph, graph.node("MatMul", left, right), (products, m, n), layer.out_shape)


def _pool(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    shape = layer.in_shapes[0]
    flat = (shape[0], shape[1], *_image(shape))
    x = _shaped(graph, inputs[0], shape, flat)
    average = layer.op == "avg_pool"
    if layer.kernel == flat[2:] and not any(layer.padding):
        made = graph.node("GlobalAveragePool" if average else "GlobalMaxPool", x)
        return _shaped(graph, made, (*flat[:2], 1, 1), layer.out_shape)
    more = {"count_include_pad": 1} if average else {"dilations": list(layer.dilation)}
    made = graph.node(
        "AveragePool" if average else "MaxPool", x, kernel_shape=list(layer.kernel),
        strides=list(layer.stride), pads=_ends(layer, flat), **more,
    )  # fmt: skip
    return _shaped(graph, made, (*flat[:2], *layer.out_size), layer.out_shape)


def _ends(layer: Layer, shape: Shape) -> list[int]:
    """Return the padding that gives the layer's output size, as windows may hang over (ceil)."""
    top, left, *_ = layer.padding
    ends = []
    for axis, before in enumerate((top, left)):
        reach = layer.dilation[axis] * (layer.kernel[axis] - 1) + 1
        whole = (layer.out_size[axis] - 1) * layer.stride[axis] + reach
        ends.append(max(0, whole - before - shape[2 + axis]))
    return [top, left, *ends]


def _pointwise(operator: str) -> Emit:
    def write(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
        if layer.attr("function") not in (None, "sub", "div"):
            raise refusal(layer, f"its function {layer.attr('function')!r} is not written")
        found = inputs[0]
        for other in inputs[1:]:
            found = graph.node(operator, found, other)
        constant = layer.attr("constant")
        if constant is None and len(inputs) > 1:
            return found
        shape: Shape = tuple(constant) if isinstance(constant, tuple) else ()
        return graph.node(operator, found, graph.constant(graph.random(shape, 0.5)))

    return write


def _concat(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    return graph.node("Concat", *inputs, axis=layer.attr("dim", 1))


def _norm(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    kind, shape = layer.attr("kind"), layer.in_shapes[0]
    if kind not in ("batch", "layer"):
        raise refusal(layer, f"norms of the kind {kind!r} are not written")
    if kind == "layer":
        width = (shape[-1],)
        return graph.node(
            "LayerNormalization", inputs[0], graph.constant(1 + graph.random(width, 0.1)),
            graph.constant(graph.random(width, 0.1)), axis=-1,
        )  # fmt: skip
    ones = 1 + np.abs(graph.random((4, shape[1]), 0.1))
    return graph.node("BatchNormalization", inputs[0], *(graph.constant(row) for row in ones))


def _softmax(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    return graph.node("Softmax", inputs[0], axis=layer.attr("dim", -1))


def _act(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    return inputs[0]


def _resize(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    mode = str(layer.attr("mode", "nearest"))
    known = next((name for name in ("nearest", "linear", "cubic") if name in mode), None)
    if known is None:
        raise refusal(layer, f"resizing of the mode {mode!r} is not written")
    size = graph.constant(layer.out_shape, np.int64)
    return graph.node("Resize", inputs[0], "", "", size, mode=known)


def _reduce(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    names = {"mean": "ReduceMean", "sum": "ReduceSum", "amax": "ReduceMax", "amin": "ReduceMin"}
    operator = names.get(str(layer.attr("function")))
    if operator is None:
        raise refusal(layer, f"its function {layer.attr('function')!r} is not written")
    axes = graph.constant(layer.attr("dims", ()), np.int64)
    keep = int(len(layer.out_shape) == len(layer.in_shapes[0]))
    return graph.node(operator, inputs[0], axes, keepdims=keep)


def _reshape(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    return graph.node("Reshape", inputs[0], graph.constant(layer.out_shape, np.int64))


def _permute(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    return graph.node("Transpose", inputs[0], perm=layer.attr("dims"))


def _slice(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    keys = ("start", "stop", "dim", "step")
    if any(layer.attr(key) is None for key in keys):
        raise refusal(layer, "it picks single indices")
    return graph.node(
        "Slice", inputs[0], *(graph.constant([layer.attr(key)], np.int64) for key in keys)
    )


def _pad(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    ends = [layer.attr("before"), layer.attr("after")]
    if layer.attr("mode", "constant") != "constant" or None in ends:
        raise refusal(layer, f"padding of the mode {layer.attr('mode')!r} is not written")
    return graph.node("Pad", inputs[0], graph.constant(np.array(ends).ravel(), np.int64))


def _expand(graph: Builder, layer: Layer, inputs: Sequence[str]) -> str:
    return graph.node("Expand", inputs[0], graph.constant(layer.out_shape, np.int64))


_OPERATORS: dict[str, Emit] = {
    "conv": _conv,
    "conv_transpose": _conv,
    "linear": _linear,
    "matmul": _matmul,
    "max_pool": _pool,
    "avg_pool": _pool,
    "add": _pointwise("Add"),
    "mul": _pointwise("Mul"),
    "concat": _concat,
    "norm": _norm,
    "softmax": _softmax,
    "act": _act,
    "resize": _resize,
    "reduce": _reduce,
    "reshape": _reshape,
    "permute": _permute,
    "slice": _slice,
    "pad": _pad,
    "expand": _expand,
}

_PLAIN = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "elu": "Elu", "selu": "Selu",
    "softplus": "Softplus", "hardswish": "HardSwish", "leaky_relu": "LeakyRelu", "abs": "Abs",
    "exp": "Exp", "sqrt": "Sqrt", "log": "Log", "mish": "Mish", "neg": "Neg", "erf": "Erf",
}  # fmt: skip
_WITH_NUMBER = {"shift": ("Add", 0.5), "scale": ("Mul", 0.5), "pow": ("Pow", 2.0)}
_LIMITS = {"relu6": (0.0, 6.0), "clamp": (-1.0, 1.0), "hardtanh": (-1.0, 1.0), "clip": (-1.0, 1.0)}


def _activated(graph: Builder, layer: Layer, name: str, x: str) -> str:
    if name in _PLAIN:
        return graph.node(_PLAIN[name], x)
    if name in _LIMITS:
        return graph.node("Clip", x, *(graph.constant(limit) for limit in _LIMITS[name]))
    if name in _WITH_NUMBER:
        operator, number = _WITH_NUMBER[name]
        return graph.node(operator, x, graph.constant(number))
    if name == "hardsigmoid":
        return graph.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    if name == "silu":
        return graph.node("Mul", x, graph.node("Sigmoid", x))
    if name == "gelu":
        inner = graph.node("Erf", graph.node("Div", x, graph.constant(sqrt(2))))
        half = graph.node("Mul", x, graph.node("Add", inner, graph.constant(1.0)))
        return graph.node("Mul", half, graph.constant(0.5))
    if name == "prelu":
        return graph.node("PRelu", x, graph.constant(0.25))
    raise refusal(layer, f"its activation {name!r} is not written")
