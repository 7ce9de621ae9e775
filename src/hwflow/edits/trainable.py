"""An exported graph that can be trained.

`torch.export` fixes the mode of dropout and batch normalisation in their arguments, and its modules
refuse `train()`. :class:`TrainableGraph` switches those arguments with its `training` flag.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import fx

_ON_IN_TRAINING = {
    torch.ops.aten.dropout.default: 2,
    torch.ops.aten.feature_dropout.default: 2,
    torch.ops.aten.alpha_dropout.default: 2,
    torch.ops.aten.feature_alpha_dropout.default: 2,
    torch.ops.aten.batch_norm.default: 5,
}
"""Operators that do something else in training, and the index of the argument that says so."""

_RUNNING_MEAN = 3


class TrainableGraph(fx.GraphModule):
    """A graph of ATen operators whose `train` and `eval` do what they do for other modules."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        # whoever switches modes, by train() or by hand, sets this flag
        if name == "training" and "_graph" in self.__dict__:
            self._switch(value)

    def _switch(self, mode: bool) -> None:
        """Let dropout and batch normalisation do what they do in training, or in evaluation."""
        changed = [_set_mode(node, mode) for node in self.graph.nodes if _has_mode(node)]
        if any(changed):
            self.recompile()


def trainable(module: fx.GraphModule) -> TrainableGraph:
    """Return a TrainableGraph with a copy of the graph; parameters and buffers are shared.

    What checks the inputs of an exported program is left behind.
    """
    graph = copy.deepcopy(module.graph)
    for node in graph.find_nodes(op="call_module"):
        if not node.users:
            graph.erase_node(node)
    return TrainableGraph(module, graph)


def _has_mode(node: fx.Node) -> bool:
    if node.target not in _ON_IN_TRAINING:
        return False
    # batch normalisation without running statistics normalises by the batch in either mode
    is_norm = node.target is torch.ops.aten.batch_norm.default
    return not is_norm or node.args[_RUNNING_MEAN] is not None


def _set_mode(node: fx.Node, mode: bool) -> bool:
    """Set the mode of one operator; return whether that changed it."""
    index = _ON_IN_TRAINING[node.target]  # type: ignore[index]
    if node.args[index] == mode:
        return False
    node.update_arg(index, mode)
    return True
