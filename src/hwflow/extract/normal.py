"""The normal form of an exported graph: no operator writes in place, attention is in the open.

`torch.export` keeps in-place operators, so that a node may later hold another value than it made;
and one fused attention operator hides two products. Both would hide tensors from who quantises.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from hwflow.extract.call import active_nodes, operator_name

_MAY_ALIAS = frozenset({"reshape", "contiguous", "flatten", "dropout", "to", "reshape_as"})
aten = torch.ops.aten


def normalise(module: fx.GraphModule) -> bool:
    """Bring the graph of `module` in normal form, in place; it computes the same.

    Returns False when some operator writes into part of a tensor, which is left as it is.
    """
    graph = module.graph
    order = {node: index for index, node in enumerate(graph.nodes)}
    active = active_nodes(graph)
    writers = [node for node in graph.nodes if node in active and _writes(node)]
    detached = [_detach_write(node, order) for node in writers]
    fused = [node for node in graph.nodes if node in active and _is_attention(node)]
    for node in fused:
        _open_attention(node)
    if writers or fused:
        graph.lint()
        module.recompile()
    return all(detached)


def _writes(node: fx.Node) -> bool:
    name = operator_name(node)
    return node.op == "call_function" and name.endswith("_") and not name.endswith("__")


def _is_view(node: fx.Node) -> bool:
    """Whether the node's tensor may share the memory of its first argument."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or _writes(node):
        return False
    shares = any(made.alias_info is not None for made in target._schema.returns)
    return shares or operator_name(node) in _MAY_ALIAS


def _detach_write(node: fx.Node, order: dict[fx.Node, int]) -> bool:
    """Turn an in-place operator into the one that makes a new tensor; later readers read that."""
    base = node.args[0]
    packet = getattr(aten, operator_name(node)[:-1], None)
    overload = getattr(packet, getattr(node.target, "_overloadname", ""), None)
    if not isinstance(base, fx.Node) or overload is None or _shared(base, order[node], order):
        return False
    later = [user for user in base.users if order[user] > order[node]]
    node.target = overload
    for user in later:
        user.replace_input_with(base, node)
    return True


def _shared(base: fx.Node, now: int, order: dict[fx.Node, int]) -> bool:
    """Whether somebody else reads, after `now`, the memory that is written through `base`."""
    root = base
    while _is_view(root) and root.all_input_nodes:
        root = root.all_input_nodes[0]
    family, stack = {root}, [root]
    while stack:
        views = [user for user in stack.pop().users if _is_view(user) and user not in family]
        family.update(view for view in views if order[view] < now)
        stack.extend(view for view in views if order[view] < now)
    return any(order[user] > now for part in family - {base} for user in part.users)


def _is_attention(node: fx.Node) -> bool:
    return node.op == "call_function" and operator_name(node) == "scaled_dot_product_attention"


def _open_attention(node: fx.Node) -> None:
    """Replace fused attention by softmax(q kᵀ · scale + mask) v."""
    bound = _arguments(node)
    query, key, value = bound["query"], bound["key"], bound["value"]
    scale = bound["scale"] or 1 / sqrt(_sizes(query)[-1])
    with node.graph.inserting_before(node):
        emit = _emitter(node)
        if bound["enable_gqa"]:
            repeats = _sizes(query)[-3] // _sizes(key)[-3]
            key, value = (
                emit(aten.repeat_interleave.self_int, x, repeats, -3) for x in (key, value)
            )
        turned = emit(aten.transpose.int, key, -2, -1)
        scores = emit(aten.matmul.default, query, turned)
        scores = _masked(emit, emit(aten.mul.Tensor, scores, scale), bound)
        weights = emit(aten.softmax.int, scores, -1)
        if bound["dropout_p"]:
            weights = emit(aten.dropout.default, weights, bound["dropout_p"], True)
        mixed = emit(aten.matmul.default, weights, value)
    node.replace_all_uses_with(mixed)
    node.graph.erase_node(node)


def _masked(emit: Callable[..., fx.Node], scores: fx.Node, bound: dict[str, Any]) -> fx.Node:
    mask = bound["attn_mask"]
    if bound["is_causal"]:
        rows, columns = _sizes(scores)[-2:]
        mask = emit(aten.tril.default, emit(aten.ones.default, [rows, columns], dtype=torch.bool))
    if mask is None:
        return scores
    if mask.meta["val"].dtype != torch.bool:
        return emit(aten.add.Tensor, scores, mask)
    return emit(aten.masked_fill.Scalar, scores, emit(aten.logical_not.default, mask), -torch.inf)


def _sizes(node: fx.Node) -> list[Any]:
    return list(node.meta["val"].shape)


def _arguments(node: fx.Node) -> dict[str, Any]:
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    given = dict(zip((argument.name for argument in schema), node.args, strict=False))
    return {a.name: a.default_value for a in schema} | given | dict(node.kwargs)


def _emitter(near: fx.Node) -> Callable[..., fx.Node]:
    """Return a function that adds a call before `near`, of the same module, with its shape."""
    mode = near.meta["val"].fake_mode

    def emit(target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        node = near.graph.call_function(target, args, kwargs)
        node.meta = {key: value for key, value in near.meta.items() if key != "val"}
        values = pytree.tree_map_only(fx.Node, lambda n: n.meta["val"], (args, kwargs))
        with mode, torch.no_grad():
            node.meta["val"] = target(*values[0], **values[1])
        return node

    return emit
