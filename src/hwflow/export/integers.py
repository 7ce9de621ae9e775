"""Weights as integers: fake-quantised weights become stored levels and a dequantiser.

The levels are computed here, once, so that the file holds exactly the weights that were simulated.
A runtime that rounds a stored float weight again saturates at -128 where our grid ends at -127.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, fx, nn

from hwflow.constants import constant
from hwflow.extract.call import active_nodes, is_quantizer
from hwflow.fake_quantize import grid

BYTE = 8
"""Bits of the integers that levels are stored in."""


@torch.library.custom_op("hwflow::dequantize", mutates_args=())
def dequantize(levels: Tensor, scale: Tensor, zero_point: Tensor, axis: int) -> Tensor:
    """Return scale * levels in float32.

    `scale` and `zero_point` (zeros of the dtype of `levels`) hold one element, or one per index of
    `axis` (-1: one for the whole tensor).
    """
    return levels.to(scale.dtype) * _spread(scale, levels.dim(), axis)


@dequantize.register_fake
def _(levels: Tensor, scale: Tensor, zero_point: Tensor, axis: int) -> Tensor:
    return torch.empty_like(levels, dtype=scale.dtype)


def _spread(values: Tensor, rank: int, axis: int) -> Tensor:
    return values.reshape([] if axis < 0 else [-1 if a == axis else 1 for a in range(rank)])


def with_stored_weights(module: fx.GraphModule) -> fx.GraphModule:
    """Return a copy whose fake-quantised weights are stored on their grids.

    Those of up to 8 bits are int8 levels with a dequantiser, wider ones float32. The copy computes
    the same but for the last bit of a weight.
    """
    module = copy.deepcopy(module)
    active = active_nodes(module.graph)
    for node in list(module.graph.nodes):
        if is_quantizer(node) and node not in active:
            _store(module, node)
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _store(module: fx.GraphModule, node: fx.Node) -> None:
    """Replace one quantiser of a constant by what is stored."""
    source, scale, _, bits, signed, axis = cast(
        tuple[fx.Node, fx.Node, fx.Node, int, bool, int], node.args
    )
    path = _path(source, node)
    with module.graph.inserting_before(node):
        if bits > BYTE or not signed:
            made = _keep(module, path, constant(module, node))
        else:
            levels, step = stored_levels(
                constant(module, source), constant(module, scale), bits, axis
            )
            zero = torch.zeros_like(step, dtype=torch.int8)
            places = {path: levels, f"{path}_scale": step, f"{path}_zero_point": zero}
            reads = [_keep(module, where, tensor) for where, tensor in places.items()]
            target = torch.ops.hwflow.dequantize.default
            made = module.graph.call_function(target, (*reads, axis))
    made.meta = dict(node.meta)
    node.replace_all_uses_with(made)


def stored_levels(weight: Tensor, scale: Tensor, bits: int, axis: int) -> tuple[Tensor, Tensor]:
    """Return int8 levels of a symmetric grid, spread over the whole of int8, and their scale."""
    high = grid(bits, signed=True)[1]
    if bits == 1:
        levels = torch.where(weight < 0, -1, 1)
    else:
        levels = torch.round(weight / _spread(scale, weight.dim(), axis)).clamp(-high, high)
    stretch = (2 ** (BYTE - 1) - 1) // high
    return (levels * stretch).to(torch.int8), scale / stretch


def _path(source: fx.Node, node: fx.Node) -> str:
    """Return where the levels go: in place of the weight, unless others read that too."""
    if source.op == "get_attr" and len(source.users) == 1:
        return str(source.target)
    return f"hwflow_{node.name}"


def _keep(module: fx.GraphModule, path: str, tensor: Tensor) -> fx.Node:
    """Set a buffer, in place of a parameter of that name, and return a node that reads it."""
    owner, _, name = path.rpartition(".")
    holder: nn.Module = module.get_submodule(owner)
    if hasattr(holder, name):
        delattr(holder, name)
    holder.register_buffer(name, tensor.clone())
    return module.graph.get_attr(path)
