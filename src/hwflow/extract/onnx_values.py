"""Shapes and small constants of all values of an ONNX graph, in one pass over its nodes.

Exporters leave arithmetic on shapes in the graph. It depends on no pixel, so it is computed here,
operator by operator with onnx's own shape inference and reference operators; torch is not needed.
A symbolic batch counts as 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, shape_inference
from onnx.checker import ValidationError
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data
from onnx.reference.ops import load_op

from hwflow.errors import ModelError
from hwflow.workload import FLOAT_BITS, Shape

SIMULATED = "hwflow"
"""Domain of the functions by which hwflow's exporter writes grids that ONNX has no type for."""

QONNX = "qonnx.custom_op.general"
"""Domain of the quantisers of the qonnx package: grids of any width, in floats."""

QUANTISERS = frozenset({"Quant", "IntQuant", "BipolarQuant"})
"""Operators of that domain that are read."""

_SMALL = 4096
"""Constants of at most so many elements are kept: indices, shapes, axes; weights are not read."""

_THROUGH = QUANTISERS | frozenset({
    "Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze",
    "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators behind which a weight is still the same weight."""

_KEEPS_SHAPE = frozenset({
    "GroupNormalization", "MeanVarianceNormalization", "SimplifiedLayerNormalization",
})  # fmt: skip
"""Operators of the shape of their input, which onnx's inference does not say."""

_FLOATS = frozenset({
    onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE,
    onnx.TensorProto.BFLOAT16,
})  # fmt: skip


class Values:
    """What is known about the values of a graph. Call `visit` for each node in order."""

    def __init__(self, model: onnx.ModelProto, folder: Path) -> None:
        self.opsets = {entry.domain: entry.version for entry in model.opset_import}
        self.imports = list(model.opset_import)
        self.types: dict[str, onnx.TypeProto] = {}
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}
        self.constants: set[str] = {""}
        self.makers: dict[str, onnx.NodeProto] = {}
        self.sizes: dict[str, int] = {}
        self.origins: dict[str, tuple[str, ...]] = {}
        noted = (*model.graph.value_info, *model.graph.output)
        self.declared = {info.name: info.type for info in noted if _sized(info.type)}
        for tensor in model.graph.initializer:
            self._add_initializer(tensor, folder)

    def _add_initializer(self, tensor: onnx.TensorProto, folder: Path) -> None:
        count = prod(tensor.dims)
        self.types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        self.constants.add(tensor.name)
        self.sizes[tensor.name] = count
        self.origins[tensor.name] = (tensor.name,) if tensor.dims else ()
        if count > _SMALL:
            return
        if uses_external_data(tensor):
            try:
                load_external_data_for_tensor(tensor, str(folder))
            except (OSError, ValueError, ValidationError):
                return
        self.arrays[tensor.name] = numpy_helper.to_array(tensor)

    def add_input(self, info: onnx.ValueInfoProto) -> Shape:
        """Add a network input; raises ModelError when more than its batch is symbolic."""
        for axis, dim in enumerate(info.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value") and axis > 0:
                raise ModelError(
                    f"Input {info.name!r} has no size on axis {axis} ({dim.dim_param or '?'}). "
                    "Only the batch (axis 0) may be open: export with a fixed image size."
                )
            if dim.dim_value < 1:
                dim.dim_value = 1
        self.types[info.name] = info.type
        return self.shape(info.name)

    def visit(self, node: onnx.NodeProto) -> None:
        """Find the shapes of what a node makes and, where it is a small constant, its values."""
        self.makers.update({name: node for name in node.output if name})
        self.types.update(self._inferred(node))
        if node.op_type == "Shape":
            self._keep(node.output[0], self._sizes_of(node))
        elif all(name in self.constants for name in node.input):
            self.constants.update(node.output)
            read = node.input[:1] if node.op_type in _THROUGH else node.input
            found = (key for name in read for key in self.origins.get(name, ()))
            self.origins |= dict.fromkeys(node.output, tuple(dict.fromkeys(found)))
            self._evaluate(node)

    def _inferred(self, node: onnx.NodeProto) -> Mapping[str, onnx.TypeProto]:
        given = {name: self.types[name] for name in node.input if name in self.types}
        data = {
            name: numpy_helper.from_array(self.arrays[name], name)
            for name in node.input if name in self.arrays
        }  # fmt: skip
        try:
            schema = defs.get_schema(node.op_type, self.opsets.get(node.domain, 1), node.domain)
            found = shape_inference.infer_node_outputs(
                schema, node, given, data, opset_imports=self.imports
            )
        except (defs.SchemaError, shape_inference.InferenceError, RuntimeError):
            found = {}
        declared = {name: self.declared[name] for name in node.output if name in self.declared}
        keeps = node.op_type in _KEEPS_SHAPE or node.domain in {SIMULATED, QONNX}
        if keeps and node.input[0] in given:
            declared = {node.output[0]: given[node.input[0]]}
        return declared | {name: kind for name, kind in found.items() if _sized(kind)}

    def _sizes_of(self, node: onnx.NodeProto) -> np.ndarray[Any, Any]:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        shape = self.shape(node.input[0])
        return np.array(shape[attributes.get("start") : attributes.get("end")], dtype=np.int64)

    def _keep(self, name: str, array: np.ndarray[Any, Any]) -> None:
        self.constants.add(name)
        if array.size <= _SMALL:
            self.arrays[name] = array

    def _evaluate(self, node: onnx.NodeProto) -> None:
        """Compute a node of small constants with onnx's reference operator."""
        if any(name and name not in self.arrays for name in node.input):
            return
        if any(prod(self.shape(name)) > _SMALL for name in node.output if name in self.types):
            return
        run = {"log": _silent, "opsets": self.opsets, "verbose": 0, "new_ops": None,
               "existing_functions": {}, "evaluator_cls": None}  # fmt: skip
        arrays = [self.arrays[name] if name else None for name in node.input]
        try:
            version = self.opsets.get(node.domain, 1)
            operator = load_op(node.domain, node.op_type, version)(node, run)
            with np.errstate(all="ignore"):
                made = operator.run(*arrays)
        except Exception:  # an operator the reference lacks: its value stays unknown, its shape not
            return
        for name, array in zip(node.output, made, strict=False):
            self._keep(name, np.asarray(array))

    def known(self, name: str) -> bool:
        """Whether the value has a shape."""
        return name in self.types and _sized(self.types[name])

    def shape(self, name: str) -> Shape:
        """Return the shape of a value; raises ModelError when it is not known."""
        if not self.known(name):
            maker = self.makers.get(name)
            by = f" that {maker.op_type} node {maker.name!r} makes" if maker else ""
            raise ModelError(
                f"The shape of value {name!r}{by} cannot be found. Export the network with fixed "
                "sizes, or run onnx.shape_inference on the file first."
            )
        dims = self.types[name].tensor_type.shape.dim
        return tuple(dim.dim_value if dim.HasField("dim_value") else 1 for dim in dims)

    def is_float(self, name: str) -> bool:
        """Whether the elements of a value are floating-point numbers."""
        return name in self.types and self.types[name].tensor_type.elem_type in _FLOATS

    def bits(self, name: str) -> int:
        """Return the bits of one element of a quantised value."""
        kind = onnx.TensorProto.DataType.Name(self.types[name].tensor_type.elem_type)
        width = re.match(r"[A-Z]+(\d+)", kind)
        return int(width[1]) if width else FLOAT_BITS

    def qonnx_bits(self, node: onnx.NodeProto) -> int | None:
        """Return the bits of a quantiser of the qonnx package, None where they are not constant."""
        if node.op_type == "BipolarQuant":
            return 1
        width = self.arrays.get(node.input[3]) if len(node.input) > 3 else None
        return None if width is None or width.size != 1 else int(width.reshape(-1)[0])

    def active(self, name: str) -> bool:
        """Whether a value depends on the network's input."""
        return name not in self.constants

    def behind(self, name: str) -> list[str]:
        """Return a constant and the names it has further up, down to its initializer."""
        names = [name]
        while (maker := self.makers.get(names[-1])) is not None and maker.op_type in _THROUGH:
            names.append(maker.input[0])
        return names

    def initializers(self, name: str) -> tuple[str, ...]:
        """Return the initializers a constant is made from; the scales of quantisers are none."""
        return self.origins.get(name, ())


def _sized(kind: onnx.TypeProto) -> bool:
    """Whether a type is a tensor whose axes all have a size, or whose first alone is open."""
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return False
    dims: Iterable[Any] = kind.tensor_type.shape.dim
    return all(dim.HasField("dim_value") or axis == 0 for axis, dim in enumerate(dims))


def _silent(*_: object) -> None:
    """Take a reference operator's log lines."""
