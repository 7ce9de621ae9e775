"""A copy of an exported graph that is about to be changed.

`copy.deepcopy` of a module copies every tensor and compiles the graph. An edit replaces many of the
tensors and must compile the changed graph anyway; this copy leaves both to it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, fx, nn

from hwflow.edits.trainable import TrainableGraph


def twin(graph: TrainableGraph, tensors: Callable[[str, Tensor], Tensor]) -> TrainableGraph:
    """Return a copy that is not yet compiled: call `recompile` when it is changed.

    `tensors` gives the copy's parameters and buffers, from the first path and the value of each;
    what has several paths stays one.
    """
    made = TrainableGraph(nn.Module(), fx.Graph())
    _share(graph, made, {})
    made.__dict__["_graph"] = copied = copy.deepcopy(graph.graph)
    copied.owning_module = made
    made.meta = dict(graph.meta)
    _fill(made, tensors)
    return made


def _share(part: nn.Module, made: nn.Module, known: dict[int, nn.Module]) -> None:
    """Give a new module the tensors of `part`, and copies of its submodules."""
    made.__dict__["training"] = part.training
    made._parameters.update(part._parameters)
    made._buffers.update(part._buffers)
    made._non_persistent_buffers_set.update(part._non_persistent_buffers_set)
    for name, child in part._modules.items():
        if child is not None and id(child) not in known:
            if type(child) is nn.Module:  # as torch.export makes them: places for tensors
                known[id(child)] = nn.Module()
                _share(child, known[id(child)], known)
            else:
                known[id(child)] = copy.deepcopy(child)
        made._modules[name] = None if child is None else known[id(child)]


def _fill(module: nn.Module, tensors: Callable[[str, Tensor], Tensor]) -> None:
    made: dict[int, Tensor] = {}
    for path, part in module.named_modules():
        for table in (part._parameters, part._buffers):
            for name, value in table.items():
                if value is not None:
                    if id(value) not in made:
                        made[id(value)] = tensors(f"{path}.{name}".lstrip("."), value)
                    table[name] = made[id(value)]
