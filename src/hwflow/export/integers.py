"""Weights as integers: fake-quantised weights become stored levels and a dequantiser.

The levels are computed here, once, so that the file holds exactly the weights that were simulated.
A runtime that rounds a stored float weight again saturates at -128 where our grid ends at -127.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, fx

from hwflow.export.change import BYTE, exchange, keep
from hwflow.extract.call import is_quantizer
from hwflow.extract.constants import constant, is_constant
from hwflow.fake_quantize import fake_quantize, grid, spread


@torch.library.custom_op("hwflow::dequantize", mutates_args=())
def dequantize(levels: Tensor, scale: Tensor, zero_point: Tensor, axis: int) -> Tensor:
    """Return scale * levels in float32.

    `scale` and `zero_point` (zeros of the dtype of `levels`) hold one element, or one per index of
    `axis` (-1: one for the whole tensor).
    """
    return levels.to(scale.dtype) * spread(scale, levels.dim(), axis)


@dequantize.register_fake
def _(levels: Tensor, scale: Tensor, zero_point: Tensor, axis: int) -> Tensor:
    return torch.empty_like(levels, dtype=scale.dtype)


@torch.library.custom_op("hwflow::requantize", mutates_args=())
def requantize(x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Return `x` on an unsigned 8-bit grid; the file says it by QuantizeLinear."""
    found: Tensor = fake_quantize(x, scale, zero_point, BYTE, False, -1)
    return found


@requantize.register_fake
def _(x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    return torch.empty_like(x)


def in_integers(module: fx.GraphModule, values: Iterable[str]) -> fx.GraphModule:
    """Return a copy of a quantised graph with integers where the file is to have them.

    Fake-quantised weights are stored on their grids: as int8 levels with a dequantiser up to 8
    bits, else as float32. The quantisers of the nodes named `values` become requantisers. The copy
    computes the same.
    """
    module = copy.deepcopy(module)
    requantized = set(values)
    for node in [node for node in module.graph.nodes if is_quantizer(node)]:
        if is_constant(node):
            _store(module, node)
        elif node.all_input_nodes[0].name in requantized:
            _requantize(module.graph, node)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _requantize(graph: fx.Graph, node: fx.Node) -> None:
    x, scale, zero, bits, signed, axis = node.args
    if (bits, signed, axis) == (BYTE, False, -1):
        with graph.inserting_before(node):
            target = torch.ops.hwflow.requantize.default
            exchange(node, graph.call_function(target, (x, scale, zero)))


def _store(module: fx.GraphModule, node: fx.Node) -> None:
    """Replace one quantiser of a constant by what is stored."""
    source, scale, _, bits, signed, axis = cast(
        tuple[fx.Node, fx.Node, fx.Node, int, bool, int], node.args
    )
    path = _path(source, node)
    with module.graph.inserting_before(node):
        if bits > BYTE or not signed:
            exchange(node, keep(module, path, constant(module, node)))
            return
        step = constant(module, scale)
        stored = {
            path: levels(constant(module, source), step, bits, axis),
            f"{path}_scale": step,
            f"{path}_zero_point": torch.zeros_like(step, dtype=torch.int8),
        }
        reads = [keep(module, where, tensor) for where, tensor in stored.items()]
        target = torch.ops.hwflow.dequantize.default
        exchange(node, module.graph.call_function(target, (*reads, axis)))


def levels(weight: Tensor, scale: Tensor, bits: int, axis: int) -> Tensor:
    """Return the int8 levels of a weight on a symmetric grid of up to 8 bits."""
    low, high = grid(bits, signed=True)
    if bits == 1:
        return torch.where(weight < 0, low, high).to(torch.int8)
    ratio = weight / spread(scale, weight.dim(), axis)
    return torch.round(ratio).clamp(low, high).to(torch.int8)


def _path(source: fx.Node, node: fx.Node) -> str:
    """Return where the levels go: in place of the weight, unless others read that too."""
    if source.op == "get_attr" and len(source.users) == 1:
        return str(source.target)
    return f"hwflow_{node.name}"
