"""Options as workloads of their own: their modules are read once for all sites of one shape."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import fx, nn

from hwflow.edits.operations.lower import NotKnownError, lowered
from hwflow.edits.sites import Site
from hwflow.edits.trainable import TrainableGraph, trainable
from hwflow.extract.exported import export_network, is_exported, read_graph
from hwflow.network import Network
from hwflow.running import seeded
from hwflow.workload import Workload

if TYPE_CHECKING:
    from hwflow.edits.operations.option import Option


def read_piece(option: Option, site: Site) -> Workload:
    """Return an option as a workload of its own: what its module is when it is read alone."""
    return _read(option, alike(site))[1]


def graph_of(option: Option, site: Site, module: nn.Module) -> fx.GraphModule:
    """Return the graph of an option's module, for any batch; tensors may be those of another.

    Modules of one option at sites of one shape have one graph.
    """
    if is_exported(module):
        return module  # type: ignore[return-value]
    return _read(option, alike(site))[0]


def alike(site: Site) -> Site:
    """Return what stands for all sites of one shape."""
    return replace(site, name="", entry="", exit="", layers=())


@lru_cache(maxsize=20_000)
def _read(option: Option, site: Site) -> tuple[TrainableGraph, Workload]:
    with seeded(0):
        module = option.module(site).eval()
    example = torch.zeros(1, *site.in_shape)
    graph = _graph(option.name, module, example)
    return graph, read_graph(graph, option.name).workload


def _graph(name: str, module: nn.Module, example: torch.Tensor) -> TrainableGraph:
    try:
        return lowered(module, example).eval()
    except NotKnownError:
        network = Network(name, module, example)
        return trainable(export_network(network, dynamic_batch=True)).eval()
