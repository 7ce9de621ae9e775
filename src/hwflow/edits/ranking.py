"""Which units of a channel group matter: a score for each, summed over the group's layers.

Norms of filters: Li et al., "Pruning filters for efficient ConvNets", arXiv 1608.08710 (L1).
Scale of the normalisation: Liu et al., "Network slimming", arXiv 1708.06519.
Taylor: Molchanov et al., "Importance estimation for neural network pruning", arXiv 1906.10771, the
square of what the loss changes by in first order when a channel is set to zero, summed over batches
and over the layers of a group. That is scale times gradient plus shift times gradient of the
channel's batch normalisation (the paper's gates), and where there is none weight times gradient
plus bias times gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor, fx, nn

from hwflow.coupling import ChannelGroup, Coupling
from hwflow.edits.folding import norm_of
from hwflow.edits.fuse import read
from hwflow.edits.quantizers import prepared
from hwflow.edits.survey import arguments
from hwflow.errors import HwflowError, unknown_name
from hwflow.extract.constants import constant
from hwflow.extract.exported import Extraction
from hwflow.network import Network
from hwflow.running import evaluating, output
from hwflow.workload import Layer

Ranking = Literal["l1", "l2", "bn_scale", "taylor"]

Batches = Iterable[tuple[Tensor, Tensor]]
"""Inputs and targets."""

Rows = dict[str, Tensor]
"""Layer -> one row per output channel."""


def scores_of(
    network: Network, coupling: Coupling, ranking: Ranking, batches: Batches | None = None
) -> dict[str, list[float]]:
    """Return a score for each unit of each group.

    A layer's norms are divided by their mean, so that no layer of a group outweighs the others.
    Where a group has no batch normalisation, "bn_scale" takes the L2 norm. "taylor" takes its
    gradients from `batches`, by default from the calibration inputs and the network's own answers.
    """
    if ranking not in get_args(Ranking):
        raise HwflowError(unknown_name("ranking", ranking, get_args(Ranking)))
    if ranking == "taylor":
        return taylor(network, coupling, own_answers(network) if batches is None else batches)
    found = read(network)
    # the graph has tensors that the module does not know as its own
    source = _Source(found.graph.owning_module or network.module)
    weights = _filters(found, source)
    scales = _scales(found, source) if ranking == "bn_scale" else {}
    order = 1 if ranking == "l1" else 2
    norms = {name: row.norm(order, dim=1) for name, row in weights.items()}
    scores = {}
    for group in coupling.groups:
        scaled = {m.layer: scales[m.layer] for m in group.members if m.layer in scales}
        scores[group.name] = _summed(group, scaled or norms)
    return scores


def _summed(group: ChannelGroup, values: Rows) -> list[float]:
    """Return for each unit the sum of its channels' values, each layer's relative to their mean."""
    total = torch.zeros(group.size, dtype=torch.float64)
    for member in group.members:
        if member.side == "out" and member.layer in values:
            own = values[member.layer].double()[torch.tensor(member.channels)].sum(dim=1)
            total += own / own.mean().clamp(min=1e-30)
    return [float(value) for value in total]


def own_answers(network: Network, batch_size: int = 8) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the calibration inputs with the classes that the network puts them in itself."""
    if network.calibration is None:
        raise HwflowError(
            f"The ranking 'taylor' of {network.name!r} needs gradients. Give batches of inputs and "
            "targets, prune(network, ranking='taylor', batches=...), or calibration inputs, "
            "network.calibrated(inputs), for which the network's own answers are the targets."
        )
    for inputs in torch.split(network.calibration, batch_size):
        with torch.no_grad(), evaluating(network.module):
            targets = output(network.module, inputs).argmax(dim=1)
        yield inputs, targets


def taylor(
    network: Network,
    coupling: Coupling,
    batches: Batches,
    loss: Callable[[Any, Tensor], Tensor] = nn.functional.cross_entropy,
) -> dict[str, list[float]]:
    """Return first-order scores from batches of (inputs, targets): what removing a unit costs.

    The network is run in evaluation mode. Raises HwflowError when there is no batch.
    """
    ready = prepared(network)
    graph, found = ready.graph, ready.found
    totals: dict[str, Tensor] = {}
    count = 0
    for inputs, targets in batches:
        graph.zero_grad()
        torch.autograd.backward(loss(output(graph, inputs), targets))
        for name, changes in _changes(found, _Source(graph, times_gradient=True)).items():
            totals[name] = totals.get(name, torch.zeros_like(changes)) + changes.square()
        count += 1
    graph.zero_grad()
    if not count:
        raise HwflowError("Taylor scores need gradients: give at least one batch.")
    return {group.name: _costs(group, totals) for group in coupling.groups}


def _changes(found: Extraction, source: _Source) -> Rows:
    """Return for each layer what the loss changes by in first order without each channel."""
    changes = {name: rows.sum(dim=1) for name, rows in _filters(found, source).items()}
    for layer in found.workload:
        if layer.norm is not None:
            pair = norm_of(found.values[layer.name]).args[1:3]
            gates = [source(node) for node in pair if isinstance(node, fx.Node)]
            known = [gate for gate in gates if gate is not None]
            if known:
                changes[layer.name] = torch.stack(known).sum(dim=0)
        elif layer.name in changes and layer.bias:
            reader = next(iter(found.weights[layer.name].users))
            bias = arguments(reader).get("bias")
            added = source(bias) if isinstance(bias, fx.Node) else None
            changes[layer.name] += 0 if added is None else added
    return changes


def _costs(group: ChannelGroup, totals: Rows) -> list[float]:
    """Return for each unit the sum over all its channels."""
    total = torch.zeros(group.size, dtype=torch.float64)
    for member in group.members:
        if member.side == "out" and member.layer in totals:
            rows = totals[member.layer].double()[torch.tensor(member.channels)]
            total += rows.sum(dim=1)
    return [float(value) for value in total]


class _Source:
    """Where the values behind a graph's constants come from."""

    def __init__(self, module: nn.Module, times_gradient: bool = False) -> None:
        self.module = module
        self.times_gradient = times_gradient

    def __call__(self, node: fx.Node) -> Tensor | None:
        if not self.times_gradient:
            return constant(self.module, node).float()
        if node.op != "get_attr":
            return None
        value = self.module.get_parameter(str(node.target))
        return None if value.grad is None else (value.detach() * value.grad).float()


def _filters(found: Extraction, source: _Source) -> Rows:
    """Return the weights of each layer as one row per output channel."""
    rows: Rows = {}
    for name, node in found.weights.items():
        value = source(node)
        if value is not None:
            rows[name] = _by_output(found.workload[name], value)
    return rows


def _by_output(layer: Layer, weight: Tensor) -> Tensor:
    if layer.transposed:
        # (C, K / g, R, S): the outputs of a group are those of its own input channels
        parts = weight.reshape(layer.groups, -1, *weight.shape[1:])
        return parts.transpose(1, 2).reshape(layer.out_channels, -1)
    axis = layer.attr("weight_axis", 0)
    return weight.movedim(axis, 0).reshape(layer.out_channels, -1)  # type: ignore[call-overload, no-any-return]


def _scales(found: Extraction, source: _Source) -> Rows:
    """Return the absolute scale of the batch normalisation after each layer that has one."""
    rows: Rows = {}
    for layer in found.workload:
        if layer.norm is None:
            continue
        node = norm_of(found.values[layer.name])
        if isinstance(node.args[1], fx.Node):
            value = source(node.args[1])
            if value is not None:
                rows[layer.name] = value.abs()
    return rows
