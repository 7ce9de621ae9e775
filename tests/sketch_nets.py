"""A small network on paper, for tests of what lies above the levels."""

from __future__ import annotations

from hwflow.workload import Input, Layer, Workload


def small(convolutions: int = 1) -> Workload:
    """Convolutions (conv, conv1, ...) over 8 x 8 maps of 8 channels, a pooling, a linear layer."""
    shape, source, layers = (1, 8, 8, 8), "x", []
    for index in range(convolutions):
        name = f"conv{index or ''}"
        layers.append(Layer(
            name, "conv", (source,), (shape,), shape, out_channels=8, in_channels=8,
            out_size=(8, 8), kernel=(3, 3), padding=(1,) * 4, input_bits=(32,), params=576,
        ))  # fmt: skip
        source = name
    layers.append(Layer("pool", "avg_pool", (source,), (shape,), (1, 8, 1, 1), input_bits=(32,)))
    layers.append(Layer("flat", "reshape", ("pool",), ((1, 8, 1, 1),), (1, 8), input_bits=(32,)))
    layers.append(Layer(
        "fc", "linear", ("flat",), ((1, 8),), (1, 4), out_channels=4, in_channels=8,
        input_bits=(32,), params=32,
    ))  # fmt: skip
    return Workload("small", tuple(layers), (Input("x", shape),), ("fc",))
