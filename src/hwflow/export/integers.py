"""Weights as integers: fake-quantised weights become stored levels and a dequantiser.

The levels are computed here, once, so that the file holds exactly the weights that were simulated.
A runtime that rounds a stored float weight again saturates at -128 where our grid ends at -127.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn

from hwflow.constants import constant
from hwflow.extract.call import active_nodes, is_quantizer
from hwflow.fake_quantize import grid

BYTE = 8
"""Bits of the smaller of the two containers for levels; the larger has 16."""


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


def spread(values: Tensor, rank: int, axis: int) -> Tensor:
    """Shape per-index values so that they broadcast along `axis` of a tensor of `rank` axes."""
    return values.reshape([] if axis < 0 else [-1 if a == axis else 1 for a in range(rank)])


def with_integer_weights(module: fx.GraphModule) -> fx.GraphModule:
    """Return a copy whose fake-quantised weights are integers; it computes the same."""
    module = copy.deepcopy(module)
    active = active_nodes(module.graph)
    quantizers = [n for n in module.graph.nodes if is_quantizer(n) and n not in active]
    for node in quantizers:
        _store(module, node)
    for node in quantizers:
        module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _store(module: fx.GraphModule, node: fx.Node) -> None:
    """Replace one quantiser of a constant by stored levels and a dequantiser."""
    source, scale, _, bits, signed, axis = node.args
    value, step = constant(module, source), constant(module, scale)
    zero = constant(module, node.args[2])
    dtype = _container(int(bits), bool(signed))  # type: ignore[arg-type]
    stored = levels(value, step, zero, int(bits), bool(signed), int(axis)).to(dtype)  # type: ignore[arg-type]
    path = _path(module, source, node)
    places = {
        path: stored,
        f"{path}_scale": step.detach().clone(),
        f"{path}_zero_point": zero.to(dtype),
    }
    for where, tensor in places.items():
        _put(module, where, tensor)
    with module.graph.inserting_before(node):
        reads = [module.graph.get_attr(where) for where in places]
        made = module.graph.call_function(torch.ops.hwflow.dequantize.default, (*reads, axis))
    made.meta = dict(node.meta)
    node.replace_all_uses_with(made)


def levels(
    value: Tensor, scale: Tensor, zero_point: Tensor, bits: int, signed: bool, axis: int
) -> Tensor:
    """Return the integers that `fake_quantize` multiplies by the scale (zero point included)."""
    if signed and bits == 1:
        return torch.where(value < 0, -1, 1)
    low, high = grid(bits, signed)
    zero = 0 if signed else spread(zero_point, value.dim(), axis)
    return (torch.round(value / spread(scale, value.dim(), axis)) + zero).clamp(low, high)


def _container(bits: int, signed: bool) -> torch.dtype:
    if bits <= BYTE:
        return torch.int8 if signed else torch.uint8
    return torch.int16 if signed else torch.uint16


def _path(module: fx.GraphModule, source: object, node: fx.Node) -> str:
    """Return where the levels go: in place of the weight, unless others read that too."""
    if isinstance(source, fx.Node) and source.op == "get_attr" and len(source.users) == 1:
        return str(source.target)
    return f"hwflow_{node.name}"


def _put(module: nn.Module, path: str, tensor: Tensor) -> None:
    """Set a buffer; a parameter of that name goes."""
    owner, _, name = path.rpartition(".")
    holder = module.get_submodule(owner)
    if hasattr(holder, name):
        delattr(holder, name)
    holder.register_buffer(name, tensor)
