"""The normal form of an exported graph: no operator writes in place, attention is in the open.

`torch.export` keeps in-place operators, so that a node may later hold another value than it made;
and one fused attention operator hides two products. Both would hide tensors from who quantises.
"""

from __future__ import annotations

import torch
from torch import fx

from hwflow.extract.call import active_nodes, operator_name


def normalise(module: fx.GraphModule) -> bool:
    """Bring the graph of `module` in normal form, in place; it computes the same.

    Returns False when some operator writes into part of a tensor, which is left as it is.
    """
    graph = module.graph
    order = {node: index for index, node in enumerate(graph.nodes)}
    active = active_nodes(graph)
    writers = [node for node in graph.nodes if node in active and _writes(node)]
    clean = all([_detach_write(node, order) for node in writers])
    if writers:
        graph.lint()
        module.recompile()
    return clean


def _writes(node: fx.Node) -> bool:
    name = operator_name(node)
    return node.op == "call_function" and name.endswith("_") and not name.endswith("__")


def _is_view(node: fx.Node) -> bool:
    """Whether the node's tensor may share the memory of its first argument."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or _writes(node):
        return False
    return any(ret.alias_info is not None for ret in target._schema.returns) or (
        operator_name(node) in {"reshape", "contiguous", "flatten", "dropout", "to", "reshape_as"}
    )


def _detach_write(node: fx.Node, order: dict[fx.Node, int]) -> bool:
    """Turn an in-place operator into the one that makes a new tensor; later readers read that."""
    base = node.args[0]
    packet = getattr(torch.ops.aten, operator_name(node)[:-1], None)
    overload = getattr(packet, node.target._overloadname, None)  # type: ignore[union-attr]
    if not isinstance(base, fx.Node) or overload is None:
        return False
    later = [user for user in base.users if order[user] > order[node]]
    seen = [user for user in base.users if _is_view(user) and order[user] < order[node]]
    if _is_view(base) or any(order[reader] > order[node] for view in seen for reader in view.users):
        return False
    node.target = overload
    for user in later:
        user.replace_input_with(base, node)
    return True
