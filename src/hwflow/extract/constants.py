"""Values of the nodes of an exported graph that depend on no input."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn


def is_constant(node: fx.Node) -> bool:
    """Whether a node has one value: nothing it is computed from, sizes included, is an input."""
    waiting, seen = [node], {node}
    while waiting:
        found = waiting.pop()
        if found.op == "placeholder":
            return False
        fresh = [source for source in found.all_input_nodes if source not in seen]
        seen.update(fresh)
        waiting += fresh
    return True


def constant(module: nn.Module, node: object) -> Tensor:
    """Return the value of a node whose ancestors are parameters and buffers of `module`."""
    with torch.no_grad():
        return _evaluate(module, node)


def _evaluate(module: nn.Module, node: object) -> Tensor:
    if not isinstance(node, fx.Node):
        return node  # type: ignore[return-value]  # a plain argument of an operator
    if node.op == "get_attr":
        owner, _, name = str(node.target).rpartition(".")
        found: Tensor = getattr(module.get_submodule(owner), name)
        return found.detach()
    args = fx.node.map_arg(node.args, lambda source: _evaluate(module, source))
    kwargs = fx.node.map_arg(node.kwargs, lambda source: _evaluate(module, source))
    return node.target(*args, **kwargs)  # type: ignore[operator, no-any-return]
