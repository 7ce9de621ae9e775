"""Batch-norm statistics taken anew: those of pruned or replaced layers are stale."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from hwflow.errors import HwflowError
from hwflow.network import Network
from hwflow.running import state_digest
from hwflow.train.stream import Trainable, first_inputs

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

_BATCH_NORM = torch.ops.aten.batch_norm.default

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
    return _restated(network, even_batches(inputs, batch_size))


def restate(module: nn.Module, inputs: Tensor, batch_size: int = 250) -> None:
    """Set the batch-norm statistics of a module in eval mode to the averages over `inputs`."""
    with torch.no_grad():
        _average(module, even_batches(inputs, batch_size))


def even_batches(inputs: Tensor, most: int) -> Sequence[Tensor]:
    """Split inputs into as few batches of one size as can be: all count alike in the average."""
    return torch.tensor_split(inputs, -(-len(inputs) // most))


def _restated(network: Network, batches: Sequence[Tensor]) -> Network:
    module = copy.deepcopy(network.module).eval()
    with torch.no_grad():
        _average(module, batches)
    return replace(network, module=module, weights=state_digest(module))


def _average(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the statistics of normalisations, be they modules or ATen calls, to the averages."""
    norms = [part for part in module.modules() if isinstance(part, _NORMS)]
    if isinstance(module, fx.GraphModule) and not norms:
        _average_in_graph(module, batches)
        return
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
    if module.graph.find_nodes(op="call_function", target=_BATCH_NORM):
        runner = Averaging(module)
        for inputs in batches:
            runner.run(inputs)


class Averaging(fx.Interpreter):
    """Runs a graph with the statistics of the batch, and averages them into the running ones.

    The graph stays as it is: to switch its calls to training and back, it would be compiled twice.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.seen: Counter[int] = Counter()  # one normalisation may be called several times

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a call; of a batch normalisation with running statistics, in training."""
        mean = args[_RUNNING_MEAN] if target is _BATCH_NORM else None
        if mean is not None:
            self.seen[id(mean)] += 1
            # new = (1 - momentum) old + momentum batch: with 1 / n, the average of n batches
            momentum = 1 / self.seen[id(mean)]
            args = (*args[:_TRAINING], True, momentum, *args[_MOMENTUM + 1 :])
        return super().call_function(target, args, kwargs)
