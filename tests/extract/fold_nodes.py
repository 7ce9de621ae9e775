"""Nodes made by hand, for folding."""

from __future__ import annotations

from typing import Any

from hwflow.extract.fold import Folded, fold
from hwflow.extract.nodes import Graph, Label, Node
from hwflow.workload import Input, Layer

SHAPE = (1, 4, 8, 8)
ZERO_PAD = (
    ("mode", "constant"), ("value", 0), ("before", (0, 0, 1, 2)), ("after", (0, 0, 3, 4)),
)  # fmt: skip


def node(
    value: str, op: str, *inputs: str, label: Label | None = None, params: tuple[str, ...] = (),
    bits: int | None = None, foldable: bool = True, weight: str = "", **fields: Any,
) -> Node:  # fmt: skip
    """Return a node whose tensors all have one shape, unless said otherwise."""
    fields.setdefault("in_shapes", (SHAPE,) * len(inputs))
    fields.setdefault("out_shape", SHAPE)
    layer = Layer(name="", op=op, inputs=inputs, **fields)
    return Node(value, layer, label or Label(suffix=op), params, weight, bits, foldable)


def conv(value: str, source: str, **fields: Any) -> Node:
    label = fields.pop("label", Label(weight=value))
    return node(
        value, "conv", source, label=label, in_channels=4, out_channels=4, out_size=(8, 8),
        kernel=(3, 3), **fields,
    )  # fmt: skip


def folded(*nodes: Node, outputs: tuple[str, ...] = (), **more: Any) -> Folded:
    """Fold nodes over the one input "x"; the last one leaves the network."""
    leaving = outputs or (nodes[-1].value,)
    return fold(Graph("net", {"x": Input("x", SHAPE)}, nodes, leaving, **more))


def names(result: Folded) -> list[str]:
    return [layer.name for layer in result.workload]
