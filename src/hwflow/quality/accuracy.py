"""A task is data, a metric and a forward pass; Accuracy scores plans on one. Paired comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor, nn

from hwflow.data.split import BATCH, AnySplit, Batch, Split, Stream
from hwflow.errors import DataError, HwflowError
from hwflow.network import Network
from hwflow.quality import Metric
from hwflow.quality.metrics import TopK, as_metric
from hwflow.running import evaluating, output
from hwflow.space import Builder, Plan

Held = AnySplit | Iterable[Batch]
"""Held-out data: a split, or any iterable of (inputs, targets) that can be gone through again."""

Forward = Callable[[nn.Module, Tensor], Tensor]
MetricLike = Metric | Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Quality of a plan: a metric (top-1 accuracy) on held-out data.

    `data` is a Split or any iterable of (inputs, targets); `limit` keeps the first so many images.
    `metric` is a Metric or a function (outputs, targets) -> scores of shape (n,); `forward` is how
    a module is run.
    """

    repeatable: ClassVar[bool] = True
    """A plan's score does not depend on the trial's seed."""

    data: Held
    batch_size: int = BATCH
    limit: int | None = None
    metric: MetricLike = TopK()
    forward: Forward = output

    def __post_init__(self) -> None:
        if self.batch_size < 1 or (self.limit is not None and self.limit < 1):
            raise HwflowError(
                f"batch_size and limit must be 1 or more, not {self.batch_size} and {self.limit}."
            )

    @property
    def name(self) -> str:
        """The metric's name."""
        return as_metric(self.metric).name

    def score(self, plan: Plan, build: Builder) -> float:
        """Return the metric of the network that `build` makes of `plan`."""
        return self.of(build(plan))

    def of(self, network: Network | nn.Module) -> float:
        """Return the metric of a network."""
        return evaluate(
            network, self.data, metric=self.metric, batch_size=self.batch_size, limit=self.limit,
            forward=self.forward,
        )  # fmt: skip

    def digest(self) -> str:
        """Return what identifies data, metric, limit and forward pass."""
        run = getattr(self.forward, "__qualname__", repr(self.forward))
        settings = (_metric_settings(as_metric(self.metric)), self.limit, run, self._data_digest)
        return hashlib.sha256(repr(settings).encode()).hexdigest()

    @cached_property
    def _data_digest(self) -> str:
        if isinstance(self.data, Split | Stream):
            return self.data.digest
        found = hashlib.sha256()
        for inputs, targets in _batches(self.data, self.batch_size, self.limit):
            found.update(inputs.contiguous().numpy().tobytes() + targets.numpy().tobytes())
        return found.hexdigest()


def _metric_settings(metric: Metric) -> tuple[str, list[tuple[str, str]]]:
    plain = (int, float, str)
    return metric.name, [(k, str(v)) for k, v in vars(metric).items() if isinstance(v, plain)]


def evaluate(
    network: Network | nn.Module,
    data: Held,
    *,
    metric: MetricLike = TopK(),
    batch_size: int = BATCH,
    limit: int | None = None,
    forward: Forward = output,
) -> float:
    """Return a metric of a network on `data`: top-1 accuracy, in [0, 1], unless another is given.

    The module runs in eval mode without gradients, and is left in the mode it was in. Raises
    HwflowError when an output is NaN or infinite.
    """
    figure, total, images = as_metric(metric), None, 0
    for outputs, targets in _run(network, data, batch_size, limit, forward):
        part = figure.add(outputs, targets)
        total = part if total is None else total + part
        images += len(targets)
    if total is None:
        raise DataError("There are no images to evaluate on. Give at least one.")
    return figure.result(total, images)


def _run(
    network: Network | nn.Module, data: Held, size: int, limit: int | None, run: Forward
) -> Iterator[Batch]:
    """Yield outputs and targets, batch by batch."""
    module = network.module if isinstance(network, Network) else network
    with evaluating(module), torch.no_grad():
        for inputs, targets in _batches(data, size, limit):
            outputs = run(module, inputs)
            _check_outputs(outputs, inputs)
            yield outputs, targets


def _batches(data: Held, size: int, limit: int | None) -> Iterator[Batch]:
    if isinstance(data, Split | Stream):
        yield from data.batches(size, limit)
        return
    left = limit
    for batch in data:
        inputs, targets = batch
        yield inputs[:left], targets[:left]
        left = None if left is None else left - len(inputs)
        if left is not None and left <= 0:
            return


def _check_outputs(outputs: Tensor, inputs: Tensor) -> None:
    if bool(torch.isfinite(outputs).all()):
        return
    cause = (
        "its weights or their scales overflow"
        if bool(torch.isfinite(inputs).all())
        else "there are such values in its input already"
    )
    count = int((~torch.isfinite(outputs)).sum())
    raise HwflowError(
        f"The network's output has {count} NaN or infinite values of {outputs.numel()}: {cause}. "
        "Look at the data's preprocessing and at the calibration of the quantised tensors."
    )


@dataclass(frozen=True)
class Flips:
    """Two classifiers on the same images: a paired comparison.

    `gained` images are right only in the second, `lost` only in the first.
    """

    images: int
    before: float
    """Accuracy of the first."""
    after: float
    """Accuracy of the second."""
    gained: int
    lost: int

    @classmethod
    def of(cls, was: Tensor, now: Tensor, truth: Tensor) -> Flips:
        """Return the comparison of two classifiers' predictions, each of shape (N,)."""
        right, right_now = was == truth, now == truth
        return cls(
            images=len(truth),
            before=float(right.double().mean()),
            after=float(right_now.double().mean()),
            gained=int((right_now & ~right).sum()),
            lost=int((right & ~right_now).sum()),
        )

    @property
    def drop(self) -> float:
        """Accuracy that the second has less: (lost - gained) / images."""
        return (self.lost - self.gained) / self.images

    @property
    def standard_error(self) -> float:
        """Standard error of the drop, of paired proportions (McNemar 1947): only flips count."""
        n, flips, net = self.images, self.gained + self.lost, self.lost - self.gained
        return sqrt(max(flips - net**2 / n, 0.0)) / n

    @property
    def p_value(self) -> float:
        """Two-sided exact McNemar test: the chance of so uneven flips if there is no drop."""
        from scipy.stats import binomtest

        flips = self.gained + self.lost
        return float(binomtest(self.lost, flips).pvalue) if flips else 1.0


def compare(
    first: Network | nn.Module,
    second: Network | nn.Module,
    data: Held,
    *,
    batch_size: int = BATCH,
    limit: int | None = None,
) -> Flips:
    """Compare the top-1 predictions of two networks on the same images in the same order."""
    was, truth = predictions(first, data, batch_size=batch_size, limit=limit)
    now, _ = predictions(second, data, batch_size=batch_size, limit=limit)
    return Flips.of(was, now, truth)


def predictions(
    network: Network | nn.Module, data: Held, *, batch_size: int = BATCH, limit: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the predicted and the true classes, each of shape (N,)."""
    pairs = [
        (outputs.argmax(1), targets)
        for outputs, targets in _run(network, data, batch_size, limit, output)
    ]
    if not pairs:
        raise DataError("There are no images to evaluate on. Give at least one.")
    found, truth = zip(*pairs, strict=True)
    return torch.cat(found), torch.cat(truth)
