"""QONNX: grids of any width as nodes of the domain of the qonnx package, for FINN, hls4ml and kin.

`Quant` (arXiv 2206.07527) has the inputs x, scale, zero point and bit width, all float, and the
attributes `signed`, `narrow` (a symmetric grid) and `rounding_mode`; `BipolarQuant` has x and scale
and stands for -1 and +1. Weights are floats on their grids in front of such a node. The qonnx
package is needed to execute such a file, not to write it: here it is checked on ONNX Runtime with
each such node replaced by a function of the same formula.

`Quant` adds the zero point before it rounds half to even, hwflow after it: where the zero point is
odd, a value in the very middle of two codes goes to the other one. Pixels of few levels may do so
often; the check sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.defs import OpSchema
from onnxscript import values
from torch import Tensor, fx

from hwflow.errors import ModelError
from hwflow.export import operators
from hwflow.export.change import exchange, keep
from hwflow.export.onnx_file import (
    BITS_KEY,
    OPSET,
    appearing,
    checked_path,
    exported,
    graph_of,
    note,
    write,
)  # fmt: skip
from hwflow.export.plain import plain
from hwflow.export.verify import Comparison, ExportReport, compare, inputs_for, report
from hwflow.extract.call import is_quantizer, shape_of
from hwflow.extract.constants import constant, is_constant
from hwflow.extract.exported import read_graph
from hwflow.extract.onnx_values import QONNX
from hwflow.fake_quantize import grid, spread
from hwflow.network import Network
from hwflow.running import evaluating
from hwflow.workload import FLOAT_BITS

ROUNDED_LAST = "Quant"
"""The function, in hwflow's domain, that stands for a `Quant` node in a twin."""

_FUNCTION = """
<domain: "hwflow", opset_import: ["" : {opset}]>
Quant <bits, signed, low, high> (x, scale, zero_point) => (y)
{{
   ratio = Div (x, scale)
   shifted = Add (ratio, zero_point)
   lowest = Constant <value_float: float = @low> ()
   highest = Constant <value_float: float = @high> ()
   clipped = Clip (shifted, lowest, highest)
   level = Round (clipped)
   centred = Sub (level, zero_point)
   y = Mul (centred, scale)
}}
"""
"""In the order of the qonnx package: the zero point is added and the range clipped first."""


@torch.library.custom_op("hwflow::quant", mutates_args=())
def quant(x: Tensor, scale: Tensor, zero_point: Tensor, bits: Tensor, signed: bool) -> Tensor:
    """Return `x` on a grid whose scale and zero point broadcast against it; bits as a float."""
    low, high = grid(int(bits), signed)
    levels = torch.round((x / scale + zero_point).clamp(low, high))
    return (levels - zero_point) * scale


@quant.register_fake
def _(x: Tensor, scale: Tensor, zero_point: Tensor, bits: Tensor, signed: bool) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("hwflow::bipolar_quant", mutates_args=())
def bipolar_quant(x: Tensor, scale: Tensor) -> Tensor:
    """Return plus or minus `scale` by the sign of `x`; zero counts as positive."""
    return torch.where(x < 0, -scale, scale)


@bipolar_quant.register_fake
def _(x: Tensor, scale: Tensor) -> Tensor:
    return torch.empty_like(x)


def to_qonnx(network: Network, path: str | Path, *, inputs: Tensor | None = None) -> ExportReport:
    """Write a quantised network of any bit widths as one QONNX file, compared with the module.

    `inputs` and the file's appearance are as in :func:`hwflow.to_onnx`; every multiplying layer
    with a quantised operand counts as simulated in the report, since no runtime computes these
    nodes in integers by itself.
    Raises ModelError when the network has no quantisers or cannot be exported.
    """
    path = checked_path(path)
    graph = graph_of(network)
    if not any(is_quantizer(node) for node in graph.graph.nodes):
        raise ModelError(
            f"Network {network.name!r} has no quantisers, which QONNX is for. Quantise it first, "
            "or write plain ONNX with hwflow.to_onnx."
        )
    found = read_graph(graph, network.name)
    with evaluating(graph):
        model = exported(network, _with_quant_nodes(plain(graph)), OPSET, _translations())
    layers = found.workload.mac_layers
    simulated = [x.name for x in layers if min(x.weight_bits, *x.input_bits) < FLOAT_BITS]
    note(model, found.workload, simulated)
    model.doc_string = f"QONNX, written by hwflow; bits also in the metadata entry {BITS_KEY}."
    with appearing(path) as draft:
        write(model, draft)
        compared = _compared(model, network, inputs_for(network, inputs))
    counts = (0, len(simulated), len(layers) - len(simulated))
    return report(path, OPSET, counts, compared)


def _with_quant_nodes(module: fx.GraphModule) -> fx.GraphModule:
    """Return `module` with quantisers whose scales, zero points and bits are plain constants."""
    for node in [node for node in module.graph.nodes if is_quantizer(node)]:
        x, scale, zero, bits, signed, axis = cast(
            tuple[fx.Node, fx.Node, fx.Node, int, bool, int], node.args
        )
        rank = len(shape_of(x)) if x.op != "get_attr" else constant(module, x).dim()
        step = spread(constant(module, scale).float(), rank, axis)
        offset = spread(constant(module, zero).float(), rank, axis)
        with module.graph.inserting_before(node):
            if is_constant(node):  # a weight lies on its grid, so that no rounding is left to do
                x = keep(module, f"hwflow_{node.name}_values", constant(module, node))
            held = keep(module, f"hwflow_{node.name}_scale", step)
            if signed and bits == 1:
                call: tuple[Any, ...] = (torch.ops.hwflow.bipolar_quant.default, (x, held))
            else:
                offset = offset * (not signed)
                zeros = keep(module, f"hwflow_{node.name}_zero_point", offset)
                width = keep(module, f"hwflow_{node.name}_bits", torch.tensor(float(bits)))
                call = (torch.ops.hwflow.quant.default, (x, held, zeros, width, signed))
            made = module.graph.call_function(*call)
        exchange(node, made)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    quantise = _symbol("Quant", ("x", "scale", "zeropt", "bitwidth"))
    by_sign = _symbol("BipolarQuant", ("x", "scale"))

    def quant_node(x: Any, scale: Any, zero_point: Any, bits: Any, signed: bool) -> Any:
        return quantise(
            x, scale, zero_point, bits,
            signed=int(signed), narrow=int(signed), rounding_mode="ROUND",
        )  # fmt: skip

    def bipolar_node(x: Any, scale: Any) -> Any:
        return by_sign(x, scale)

    return {
        torch.ops.hwflow.quant.default: quant_node,
        torch.ops.hwflow.bipolar_quant.default: bipolar_node,
    }


def _symbol(name: str, inputs: tuple[str, ...]) -> values.Op:
    kinds = {"signed": OpSchema.AttrType.INT, "narrow": OpSchema.AttrType.INT,
             "rounding_mode": OpSchema.AttrType.STRING} if name == "Quant" else {}  # fmt: skip
    schema = OpSchema(
        name, QONNX, 1,
        inputs=[OpSchema.FormalParameter(each, "T") for each in inputs],
        outputs=[OpSchema.FormalParameter("y", "T")],
        type_constraints=[("T", ["tensor(float)"], "float32")],
        attributes=[OpSchema.Attribute(key, kind, "") for key, kind in kinds.items()],
    )  # fmt: skip
    return values.Op(values.Opset(QONNX, 1), name, schema)


def _compared(model: onnx.ModelProto, network: Network, inputs: Tensor) -> Comparison:
    """Run the file's formula on ONNX Runtime beside the torch module."""
    with TemporaryDirectory() as folder, evaluating(network.module):
        path = Path(folder) / "twin.onnx"
        path.write_bytes(runnable_twin(model).SerializeToString())
        return compare(path, network.module, inputs)


def runnable_twin(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a QONNX model whose quantisers are functions of standard operators.

    Raises ModelError for a `Quant` node that does not round half to even or whose bit width is no
    constant.
    """
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in twin.graph.initializer}
    for node in twin.graph.node:
        if node.domain == QONNX:
            _to_function(node, constants)
    twin.functions.extend(operators.functions(OPSET).values())
    twin.functions.append(onnx.parser.parse_function(_FUNCTION.format(opset=OPSET)))
    twin.opset_import.append(helper.make_opsetid(operators.DOMAIN, 1))
    return twin


def _to_function(node: onnx.NodeProto, constants: dict[str, TensorProto]) -> None:
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    x, scale = node.input[:2]
    if node.op_type == "BipolarQuant":
        made = helper.make_node(operators.BY_SIGN, [x, scale], node.output, bits=1)
    else:
        width = constants.get(node.input[3])
        if width is None or given.get("rounding_mode", b"ROUND") != b"ROUND":
            raise ModelError(f"Quant node {node.name!r} has no constant bits, or rounds otherwise.")
        bits, signed = int(numpy_helper.to_array(width).item()), bool(given.get("signed", 1))
        low, high = map(float, grid(bits, signed))
        low -= signed and not given.get("narrow", 0)
        made = helper.make_node(
            ROUNDED_LAST, [x, scale, node.input[2]], node.output,
            bits=bits, signed=int(signed), low=low, high=high,
        )  # fmt: skip
    made.domain, made.name = operators.DOMAIN, node.name
    node.CopyFrom(made)
