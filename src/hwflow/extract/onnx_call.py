"""One node of an ONNX graph, with its attributes, shapes and constants at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from hwflow.extract.nodes import IDENTITY, SUFFIXES, Node
from hwflow.extract.onnx_names import Place, label, parameter_path
from hwflow.extract.onnx_values import QONNX, Values
from hwflow.workload import FLOAT_BITS, Layer, Shape


class OnnxCall:
    """A node that depends on the network's input."""

    def __init__(self, node: onnx.NodeProto, values: Values, place: Place, batch: int) -> None:
        self.node = node
        self.values = values
        self.place = place
        self.batch = batch
        self.attrs = {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
        self.result = node.output[0]

    @property
    def out(self) -> Shape:
        """Shape of the (first) output."""
        return self.values.shape(self.result)

    def input(self, index: int) -> str:
        """Return the name of an input, "" when it is not given."""
        return self.node.input[index] if index < len(self.node.input) else ""

    def shape(self, index: int) -> Shape:
        """Return the shape of an input."""
        return self.values.shape(self.input(index))

    def is_active(self, index: int) -> bool:
        """Whether an input is given and depends on the network's input."""
        return self.values.active(self.input(index))

    @property
    def actives(self) -> list[str]:
        """The inputs that depend on the network's input, in order, repeats kept."""
        return [name for name in self.node.input if self.values.active(name)]

    def array(self, index: int) -> np.ndarray[Any, Any] | None:
        """Return a small constant input, None when it is not given or not known."""
        return self.values.arrays.get(self.input(index))

    def ints(self, name: str, index: int | None = None) -> tuple[int, ...] | None:
        """Return integers given as the attribute `name`, or as the constant input `index`."""
        if name in self.attrs:
            found = self.attrs[name]
            return tuple(found) if isinstance(found, list | tuple) else (int(found),)
        array = None if index is None else self.array(index)
        return None if array is None else tuple(int(item) for item in array.reshape(-1))

    def parameters(self, *indices: int) -> tuple[str, ...]:
        """Return the initializers behind constant inputs."""
        names = [self.input(index) for index in indices if not self.is_active(index)]
        found = (key for name in names for key in self.values.initializers(name))
        return tuple(dict.fromkeys(found))

    def make(
        self, op: str, inputs: Sequence[str | Node] | None = None, *, weight: int | None = None,
        named_by: int | None = None, params: tuple[str, ...] = (), part: str = "",
        value: str = "", bits: int | None = None, **fields: Any,
    ) -> Node:  # fmt: skip
        """Return the node of this call: a layer `op` over `inputs` (default: all active ones).

        `weight` is the input that is its weight; `named_by` one whose parameter names it where the
        module is not known (exporters merge equal biases and norms, not weights). A call of
        several layers names all but the last one by their `part`.
        """
        read = self.actives if inputs is None else inputs
        certain = self.place.leaf or named_by is None
        name = "" if certain else self._neighbour(named_by or 0)
        if weight is not None:
            name = self._parameter(weight) or name
            fields["weight_bits"] = self.weight_bits(weight)
            fields["path"] = name or self.place.module
        draft = Layer(
            name="",
            op=op,
            inputs=tuple(item.value if isinstance(item, Node) else item for item in read),
            in_shapes=tuple(
                item.layer.out_shape if isinstance(item, Node) else self.values.shape(item)
                for item in read
            ),
            out_shape=fields.pop("out_shape", None) or self.out,
            batch=self.batch,
        )
        return Node(
            value=f"{self.result}/{part}" if part else value or self.result,
            layer=replace(draft, **fields),
            label=label(self.place, SUFFIXES.get(op, op), name),
            params=params,
            weight="" if weight is None else self.input(weight),
            bits=bits,
        )

    def _parameter(self, index: int) -> str:
        return parameter_path(self.values.behind(self.input(index)))

    def _neighbour(self, index: int) -> str:
        """Return the path of a parameter of the module the node is in, or of one inside it."""
        path = self._parameter(index)
        return path if path.startswith(self.place.module) else ""

    def weight_bits(self, index: int) -> int:
        """Return the bits of a constant input behind a quantiser, FLOAT_BITS without one."""
        for name in self.values.behind(self.input(index)):
            maker = self.values.makers.get(name)
            if maker is not None and maker.op_type == "DequantizeLinear":
                return self.values.bits(maker.input[0])
            if maker is not None and maker.domain == QONNX:
                return self.values.qonnx_bits(maker) or FLOAT_BITS
        return FLOAT_BITS

    def identity(self, source: str = "") -> Node:
        """Return a node that passes its (first active) input on."""
        return self.make(IDENTITY, [source or self.actives[0]])

    def unknown(self) -> Node:
        """Return a node of unknown kind, with the operator's full name and its parameters."""
        domain = f"{self.node.domain}." if self.node.domain else ""
        held = self.parameters(*range(len(self.node.input)))
        attrs = (("target", f"{domain}{self.node.op_type}"),)
        return self.make("unknown", params=held, attrs=attrs)


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


OnnxRule = Callable[[OnnxCall], "Node | list[Node]"]
