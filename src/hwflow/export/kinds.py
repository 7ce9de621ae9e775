"""Which layers a runtime may compute in integers, and which are simulated.

A layer is computed in integers when all its operands have 8 bits and their tensors are written as
QuantizeLinear and DequantizeLinear. A tensor is so written when every layer that multiplies it is
of that kind, because ONNX Runtime takes a DequantizeLinear before a convolution as leave to round
its bias, and its weight if that is a float, on a grid of 8-bit operands: with weights of mixed
precision that moved 1 to 2 % of the predictions of a ResNet-20, simulated layers move none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hwflow.workload import FLOAT_BITS, Layer, Workload

Kind = Literal["integer", "simulated", "float"]


@dataclass(frozen=True)
class Kinds:
    """How each multiplying layer, and each tensor, is written."""

    layers: dict[str, Kind]
    tensors: frozenset[str]
    """Layers and inputs whose tensor is written as integers."""

    def count(self, kind: Kind) -> int:
        """Return how many multiplying layers are of a kind."""
        return list(self.layers.values()).count(kind)


def kinds(workload: Workload) -> Kinds:
    """Return how the layers and tensors of a workload are written."""
    group = workload.scale_groups
    integer = {layer.name for layer in workload.mac_layers if _operands(layer) == {8}}
    while True:
        blocked = {
            group[source]
            for layer in workload.mac_layers
            if layer.name not in integer
            for source in layer.inputs
        }
        left = {n for n in integer if not any(group[i] in blocked for i in workload[n].inputs)}
        if left == integer:
            break
        integer = left
    bits = {i.name: i.bits for i in workload.inputs} | {x.name: x.output_bits for x in workload}
    tensors = frozenset(n for n in bits if bits[n] == 8 and group[n] not in blocked)
    return Kinds({x.name: _kind(x, integer) for x in workload.mac_layers}, tensors)


def _operands(layer: Layer) -> set[int]:
    return {layer.weight_bits, *layer.input_bits}


def _kind(layer: Layer, integer: set[str]) -> Kind:
    if layer.name in integer:
        return "integer"
    bits = _operands(layer)
    return "simulated" if bits == {8} or bits - {8, FLOAT_BITS} else "float"
