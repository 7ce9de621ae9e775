"""ONNX file -> workload. Needs onnx, not torch; weights are not read, only their shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import inliner

from hwflow.errors import ModelError
from hwflow.extract import onnx_pointwise, onnx_products, onnx_views
from hwflow.extract.fold import fold
from hwflow.extract.nodes import Graph, Node
from hwflow.extract.onnx_bytes import load_without_weights
from hwflow.extract.onnx_call import OnnxCall, OnnxRule
from hwflow.extract.onnx_names import places
from hwflow.extract.onnx_values import QONNX, QUANTISERS, SIMULATED, Values
from hwflow.workload import Input, Workload

BITS_KEY = "hwflow.bits"
"""Entry of the graph's metadata: {"weights": {layer: bits}, "tensors": {tensor: bits}} as JSON."""

_LEARNED = {"BatchNormalization": 3, "Resize": 1, "Upsample": 1, "Pad": 1, "Clip": 1}
"""How many inputs of an operator may be learned, where the others are statistics or settings."""

RULES: dict[str, OnnxRule] = {
    name: rule
    for table in (onnx_products.RULES, onnx_views.RULES, onnx_pointwise.RULES)
    for names, rule in table.items()
    for name in names.split()
}
"""Operator of the ONNX standard -> rule."""


def read_onnx(path: str | Path) -> Workload:
    """Read the workload of an ONNX file; an open batch is read as 1.

    Bits come from QuantizeLinear nodes, from those of the qonnx package and, for what ONNX has
    no type for, from the entry "hwflow.bits" of the graph's metadata. Raises ModelError when the
    file cannot be read.
    """
    path = Path(path)
    model = _load(path)
    foreign = [(f.domain, f.name) for f in model.functions if f.domain != SIMULATED]
    if foreign:
        model = inliner.inline_selected_functions(model, foreign, exclude=False)
    return fold(_graph(model, path)).workload


def _load(path: Path) -> onnx.ModelProto:
    try:
        model = load_without_weights(path)
    except FileNotFoundError:
        raise ModelError(f"There is no file {str(path)!r}.") from None
    except (OSError, DecodeError, ValueError) as error:
        raise ModelError(f"{str(path)!r} is not a readable ONNX file: {error}") from error
    if not model.graph.node or not model.graph.output:
        raise ModelError(f"{str(path)!r} is not an ONNX network: its graph is empty.")
    return model


def _graph(model: onnx.ModelProto, path: Path) -> Graph:
    values = Values(model, path.parent)
    given = [i for i in model.graph.input if i.name not in values.sizes]
    shapes = {info.name: values.add_input(info) for info in given}
    batch = next((shape[0] for shape in shapes.values() if shape), 1)
    nodes = tuple(_nodes(model, values, batch))
    bits = _noted_bits(model, path)
    return Graph(
        name=path.stem,
        inputs={name: Input(name, shape) for name, shape in shapes.items()},
        nodes=nodes,
        outputs=tuple(o.name for o in model.graph.output if values.active(o.name)),
        sizes=_sizes(values, nodes, model),
        weight_bits=bits.get("weights", {}),
        tensor_bits=bits.get("tensors", {}),
    )


def _nodes(model: onnx.ModelProto, values: Values, batch: int) -> Iterator[Node]:
    where = places(model.graph.node)
    for index, node in enumerate(model.graph.node):
        values.visit(node)
        if any(values.active(name) for name in node.output):
            yield from _read(OnnxCall(node, values, where[index], batch))


def _read(call: OnnxCall) -> list[Node]:
    rule = RULES.get(call.node.op_type) if call.node.domain in {"", "ai.onnx"} else None
    if call.node.domain == SIMULATED:
        rule = onnx_pointwise.simulated
    if call.node.domain == QONNX and call.node.op_type in QUANTISERS:
        rule = onnx_pointwise.qonnx
    made = rule(call) if rule else call.unknown()
    return made if isinstance(made, list) else [made]


def _sizes(values: Values, nodes: tuple[Node, ...], model: onnx.ModelProto) -> dict[str, int]:
    """Return the parameters: what layers hold, and the other constants the network reads."""
    held = {key for node in nodes for key in node.params}
    read = {
        key
        for node in model.graph.node
        if any(values.active(name) for name in node.output)
        for name in node.input[: _LEARNED.get(node.op_type)]
        if name and not values.active(name)
        for key in values.initializers(name)
        if values.is_float(key) and values.sizes[key] > 1
    }  # fmt: skip
    return {key: values.sizes[key] for key in sorted(held | read)}


def _noted_bits(model: onnx.ModelProto, path: Path) -> dict[str, dict[str, int]]:
    """Return the bits that the exporter of hwflow noted in the graph's metadata."""
    notes = [*model.metadata_props, *model.graph.metadata_props]
    text = next((entry.value for entry in notes if entry.key == BITS_KEY), "{}")
    try:
        found = json.loads(text)
        return {
            kind: {str(name): int(bits) for name, bits in found.get(kind, {}).items()}
            for kind in ("weights", "tensors")
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelError(
            f"{str(path)!r} has the metadata entry {BITS_KEY!r} but not in the form "
            f'{{"weights": {{layer: bits}}, "tensors": {{tensor: bits}}}}: {error}'
        ) from error
