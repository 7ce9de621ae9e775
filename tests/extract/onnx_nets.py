"""ONNX files made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hwflow.extract.onnx_file import read_onnx
from hwflow.workload import Layer, Workload

SHAPE = (1, 4, 8, 8)
Dims = Sequence[int | str | None]


def model(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, np.ndarray] | None = None, *,
    shape: Dims = SHAPE, output: str = "y", opset: int = 18, **more: Any,
) -> onnx.ModelProto:  # fmt: skip
    """Return a model of these nodes over the one input "x"."""
    graph = helper.make_graph(
        list(nodes), "graph", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )  # fmt: skip
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("custom", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=10, **more)


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    """Return a node; inputs and outputs are separated by blanks, "-" is an input left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(kind, names, output.split(), **attributes)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, dtype=np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def read(made: onnx.ModelProto, folder: Path) -> Workload:
    path = folder / "net.onnx"
    onnx.save(made, path)
    return read_onnx(path)


def single(
    folder: Path, kind: str, inputs: str = "x", constants: dict[str, np.ndarray] | None = None,
    **more: Any,
) -> Layer:  # fmt: skip
    """Return the only layer of a model of one node."""
    known = {key: more.pop(key) for key in ("shape", "opset") if key in more}
    found = read(model([node(kind, inputs, **more)], constants, **known), folder)
    assert len(found) == 1, [layer.name for layer in found]
    return found.layers[0]
