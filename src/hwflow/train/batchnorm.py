"""Batch-norm statistics taken anew: those of pruned or replaced layers are stale."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from hwflow.errors import HwflowError
from hwflow.network import Network
from hwflow.running import state_digest
from hwflow.train.stream import Trainable, first_inputs

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

_RUNNING_MEAN, _TRAINING, _MOMENTUM = 3, 5, 6
"""Indices of arguments of aten.batch_norm."""


def reestimate_batchnorm(
    network: Network, split: Trainable, *, images: int = 2000, batch_size: int = 250, seed: int = 0
) -> Network:
    """Return a copy whose batch-norm statistics are the averages over `images` training images.

    Statistics of pruned or replaced layers are stale; this mends them without any gradient. The
    weights stay as they are. An exported graph, as pruning makes it, must take any batch.
    """
    if images < 1 or batch_size < 1:
        raise HwflowError("images and batch_size must be 1 or more.")
    return _restated(network, list(first_inputs(split, images, batch_size, seed)))


def restated(network: Network, inputs: Tensor, batch_size: int = 250) -> Network:
    """Return a copy whose batch-norm statistics are the averages over `inputs`, (M, C, H, W).

    As :func:`reestimate_batchnorm`, on inputs at hand.
    """
    return _restated(network, torch.split(inputs, batch_size))


def _restated(network: Network, batches: Sequence[Tensor]) -> Network:
    module = copy.deepcopy(network.module).eval()
    with torch.no_grad():
        if isinstance(module, fx.GraphModule):
            _average_in_graph(module, batches)
        _average(module, batches)
    return replace(network, module=module, weights=state_digest(module))


def _average(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the statistics of normalisations that are modules to the averages over batches."""
    norms = [part for part in module.modules() if isinstance(part, _NORMS)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's sign for the plain average over batches
        norm.train()
    for inputs in batches if norms else ():
        module(inputs)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
        norm.eval()


def _average_in_graph(module: fx.GraphModule, batches: Iterable[Tensor]) -> None:
    """Set the statistics of normalisations that are ATen calls to the averages over batches."""
    calls = [
        node for node in module.graph.find_nodes(
            op="call_function", target=torch.ops.aten.batch_norm.default
        ) if isinstance(node.args[_RUNNING_MEAN], fx.Node)
    ]  # fmt: skip
    before = [call.args for call in calls]
    seen: Counter[fx.Node] = Counter()  # one normalisation may be called several times
    for inputs in batches if calls else ():
        for call in calls:
            seen[call.args[_RUNNING_MEAN]] += 1
            call.update_arg(_TRAINING, True)
            # new = (1 - momentum) old + momentum batch: with 1 / n, the average of n batches
            call.update_arg(_MOMENTUM, 1 / seen[call.args[_RUNNING_MEAN]])
        module.recompile()
        module(inputs)
    for call, args in zip(calls, before, strict=True):
        call.args = args
    module.recompile()
