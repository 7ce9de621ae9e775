"""Small changes of an exported graph: a tensor that it holds, one node in place of another."""

from __future__ import annotations

from torch import Tensor, fx, nn

BYTE = 8
"""Bits of the integers that levels are stored in."""


def keep(module: fx.GraphModule, path: str, tensor: Tensor) -> fx.Node:
    """Set a buffer, in place of a parameter of that name, and return a node that reads it.

    The node is where the graph inserts at the time.
    """
    owner, _, name = path.rpartition(".")
    holder: nn.Module = module.get_submodule(owner)
    if hasattr(holder, name):
        delattr(holder, name)
    holder.register_buffer(name, tensor.clone())
    return module.graph.get_attr(path)


def exchange(node: fx.Node, by: fx.Node) -> None:
    """Put a node in the place of another one, whose notes it takes."""
    by.meta = dict(node.meta)
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)
