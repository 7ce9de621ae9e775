"""Layers and whole workloads as ONNX networks with random weights, and the keys they go by.

Bits: 8 is written as QuantizeLinear and DequantizeLinear, with int8 weights per channel where every
operand of the layer has 8 bits, as `hwflow build` exports it; 32 as float32. A layer with only some
operands of 8 bits is multiplied in float32. Other bits are refused: no kernel of ONNX Runtime on a
CPU takes them, so that a file can only simulate them.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

from onnx import ModelProto

from hwflow.costs.measured.builder import MIDDLE, Builder
from hwflow.costs.measured.operators import emit, is_integer, refusal
from hwflow.workload import FLOAT_BITS, PRESERVING_OPS, Layer, Workload

KEY_VERSION = 1
BYTE = 8
WIDTHS = (BYTE, FLOAT_BITS)
"""Bits that a measured device can have."""

FREE = frozenset({"reshape"})
"""Operators that a runtime does by writing another shape on the same memory."""


@lru_cache(maxsize=65536)
def layer_key(layer: Layer) -> str:
    """Return what identifies a layer's latency: all that decides it, and no names.

    Raises UnmeasurableError for bits other than 8 and 32.
    """
    text = json.dumps([KEY_VERSION, about(layer)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def about(layer: Layer) -> dict[str, object]:
    """Return the description that a layer's key is made of, plain data."""
    check_bits(layer)
    plain: dict[str, object] = {
        "op": layer.op,
        "in": [list(shape) for shape in layer.in_shapes],
        "out": list(layer.out_shape),
        "act": list(layer.act),
        "attrs": [[key, value] for key, value in layer.attrs if key not in _NO_MATTER],
        "bits": [is_integer(layer), [bits == BYTE for bits in layer.input_bits],
                 layer.output_bits == BYTE],
    }  # fmt: skip
    if layer.op in _WINDOWED:
        plain |= {
            "kernel": list(layer.kernel), "stride": list(layer.stride),
            "dilation": list(layer.dilation), "padding": list(layer.padding),
        }  # fmt: skip
    if layer.is_mac:
        plain |= {
            "channels": [layer.in_channels, layer.out_channels], "groups": layer.groups,
            "bias": layer.bias or layer.norm is not None, "size": list(layer.out_size),
        }  # fmt: skip
    return plain


_NO_MATTER = frozenset({"weight_axis", "offsets", "loose", "tied", "target"})
_WINDOWED = frozenset({"conv", "conv_transpose", "max_pool", "avg_pool"})


def check_bits(layer: Layer) -> None:
    """Raise UnmeasurableError where an operand has bits that a file can only simulate."""
    own = (layer.weight_bits,) if layer.is_mac else ()
    for bits in (*own, *layer.input_bits, layer.output_bits):
        if bits not in WIDTHS:
            raise refusal(
                layer,
                f"it has an operand of {bits} bits, and a runtime on a CPU computes with 8 or "
                f"{FLOAT_BITS} (allow --bits 8 only)",
            )


def one_layer(layer: Layer) -> ModelProto:
    """Return the network that is this layer alone; inputs and output of 8 bits are bytes.

    Raises UnmeasurableError where it cannot be written.
    """
    check_bits(layer)
    graph = Builder()
    reads = {
        name: graph.input(f"x{index}", shape, bits == BYTE)
        for index, (name, shape, bits) in enumerate(
            zip(layer.inputs, layer.in_shapes, layer.input_bits, strict=True)
        )
    }
    made = emit(graph, layer, [reads[name] for name in layer.inputs])
    integer = layer.output_bits == BYTE
    made = graph.quantized(made, zero_point(layer)) if integer else graph.node("Identity", made)
    return graph.model(layer.op, [(made, layer.out_shape, integer)])


def launch() -> ModelProto:
    """Return a network of next to no work: what a call of the runtime costs by itself."""
    graph = Builder()
    made = graph.node("Identity", graph.input("x0", (1, 1), integer=False))
    return graph.model("launch", [(made, (1, 1), False)])


def whole_network(workload: Workload) -> ModelProto:
    """Return a whole workload as a network, with float inputs and outputs.

    Raises UnmeasurableError where a layer cannot be written.
    """
    graph = Builder()
    tensors: dict[str, str] = {}
    zeros: dict[str, int] = {}
    for index, given in enumerate(workload.inputs):
        tensor = graph.input(f"x{index}", given.shape, integer=False)
        tensors[given.name] = _stored(graph, tensor, given.bits, MIDDLE)
        zeros[given.name] = MIDDLE
    for layer in workload:
        check_bits(layer)
        made = emit(graph, layer, [tensors[name] for name in layer.inputs])
        zeros[layer.name] = zero_point(layer, zeros[layer.inputs[0]])
        tensors[layer.name] = _stored(graph, made, layer.output_bits, zeros[layer.name])
    shapes = {layer.name: layer.out_shape for layer in workload}
    ends = [(graph.node("Identity", tensors[n]), shapes[n], False) for n in workload.outputs]
    return graph.model(workload.name, ends)


def zero_point(layer: Layer, read: int = MIDDLE) -> int:
    """Return the zero point of what a layer writes, given that of its first input.

    Operators that only pass values on keep it; what an activation has clamped at zero has 0.
    """
    if layer.act:
        return 0 if layer.act[-1] in _NOT_NEGATIVE else MIDDLE
    return read if layer.op in PRESERVING_OPS else MIDDLE


_NOT_NEGATIVE = frozenset({"relu", "relu6", "sigmoid", "hardsigmoid"})


def _stored(graph: Builder, tensor: str, bits: int, zero: int) -> str:
    return graph.dequantized(graph.quantized(tensor, zero), zero) if bits == BYTE else tensor
