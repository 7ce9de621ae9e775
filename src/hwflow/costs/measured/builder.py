"""An ONNX graph in the making: nodes, constants, and the conversions between float and 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from hwflow.cost import Floats
from hwflow.workload import Shape

OPSET = 18
IR = 10
"""Version of the file format that goes with the opset."""

SCALE = 6 / 255
MIDDLE = 128
"""Zero point of tensors that may be negative; that of the others is 0, so that a runtime can leave
out a clamp at zero before it rounds."""


class Builder:
    """Collects the nodes of one graph. Tensors go by name."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.inputs: list[ValueInfoProto] = []
        self._random = np.random.default_rng(seed)
        self._count = 0

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        name = self._fresh()
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, values: Any, kind: type = np.float32) -> str:
        """Add a constant and return its name."""
        name = self._fresh()
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def random(self, shape: Shape, size: float) -> Floats:
        """Return normal numbers of a standard deviation `size`; speed must not hang on zeros."""
        return self._random.normal(0.0, size, shape)

    def weight(self, shape: Shape, size: float, integer: bool, axis: int) -> str:
        """Add a weight; an integer one as int8 levels with a scale per index of `axis`."""
        values = self.random(shape, size)
        if not integer:
            return self.constant(values)
        steps = np.full(shape[axis], 3 * size / 127)
        levels = self.constant(np.clip(np.round(values / steps[0]), -127, 127), np.int8)
        zeros = self.constant(np.zeros(shape[axis]), np.int8)
        return self.node("DequantizeLinear", levels, self.constant(steps), zeros, axis=axis)

    def input(self, name: str, shape: Shape, integer: bool) -> str:
        """Add an input of the graph, unsigned 8-bit or float, and return the tensor to be read."""
        kind = TensorProto.UINT8 if integer else TensorProto.FLOAT
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return self.dequantized(name) if integer else name

    def quantized(self, name: str, zero_point: int = MIDDLE) -> str:
        """Return an unsigned 8-bit version of a float tensor."""
        scale, zero = self.constant(SCALE), self.constant(zero_point, np.uint8)
        return self.node("QuantizeLinear", name, scale, zero)

    def dequantized(self, name: str, zero_point: int = MIDDLE) -> str:
        """Return the float version of an unsigned 8-bit tensor."""
        scale, zero = self.constant(SCALE), self.constant(zero_point, np.uint8)
        return self.node("DequantizeLinear", name, scale, zero)

    def model(self, name: str, outputs: list[tuple[str, Shape, bool]]) -> ModelProto:
        """Return the finished network; outputs as (tensor, shape, whether it has 8 bits)."""
        infos = [
            helper.make_tensor_value_info(
                tensor, TensorProto.UINT8 if integer else TensorProto.FLOAT, list(shape)
            )
            for tensor, shape, integer in outputs
        ]
        graph = helper.make_graph(self.nodes, name, self.inputs, infos, self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="hwflow")

    def _fresh(self) -> str:
        self._count += 1
        return f"t{self._count}"
