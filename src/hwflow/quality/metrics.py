"""Figures of merit: accuracy, log-likelihood, intersection over union, or a user's function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hwflow.errors import HwflowError
from hwflow.quality import Metric


@dataclass(frozen=True)
class TopK:
    """Share of images whose class is among the `k` highest outputs.

    Outputs (n, classes) with targets (n,), or (n, classes, ...) with targets (n, ...).
    """

    k: int = 1

    @property
    def name(self) -> str:
        """Return "accuracy" for k = 1, else "top5" and the like."""
        return "accuracy" if self.k == 1 else f"top{self.k}"

    def add(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the number of images that are right."""
        if outputs.dim() < 2 or outputs.shape[1] < self.k:
            raise HwflowError(
                f"{self.name} needs outputs of shape (n, classes) with {self.k} classes or more, "
                f"not {tuple(outputs.shape)}."
            )
        if self.k == 1:
            return (outputs.argmax(1) == targets).sum()
        return (outputs.topk(self.k, 1).indices == targets.unsqueeze(1)).any(1).sum()

    def result(self, total: Tensor, images: int) -> float:
        """Return the share."""
        return float(total) / images


@dataclass(frozen=True)
class LogLikelihood:
    """Mean log-likelihood of the true class, nats: the cross-entropy with its sign turned.

    Outputs (n, classes) before the softmax, targets (n,). At most 0; unlike the accuracy it tells
    networks apart that are far from working, which is what sums of single losses need.
    """

    name: str = "log_likelihood"

    def add(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum over the batch."""
        return -F.cross_entropy(outputs.double(), targets, reduction="sum")

    def result(self, total: Tensor, images: int) -> float:
        """Return the mean."""
        return float(total) / images


@dataclass(frozen=True)
class MeanIoU:
    """Intersection over union of predicted and true pixels, averaged over the classes that occur.

    Outputs (n, classes, H, W), targets (n, H, W); pixels with the target `ignored` do not count.
    """

    classes: int
    ignored: int = 255
    name: str = "miou"

    def add(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the confusion matrix (true class, predicted class)."""
        seen = targets != self.ignored
        pairs = targets[seen] * self.classes + outputs.argmax(1)[seen]
        return torch.bincount(pairs, minlength=self.classes**2).view(self.classes, -1)

    def result(self, total: Tensor, images: int) -> float:
        """Return the mean of true positives / (true positives + false positives + misses)."""
        right = total.diagonal().double()
        union = total.sum(0) + total.sum(1) - right
        return float((right / union)[union > 0].mean())


@dataclass(frozen=True)
class PerImage:
    """The mean of a user's function (outputs, targets) -> one score per image, shape (n,)."""

    function: Callable[[Tensor, Tensor], Tensor]

    @property
    def name(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def add(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the scores."""
        scores = torch.as_tensor(self.function(outputs, targets))
        if scores.shape != (len(targets),):
            raise HwflowError(
                f"The metric {self.name!r} must return one score per image, shape "
                f"({len(targets)},), not {tuple(scores.shape)}."
            )
        return scores.double().sum()

    def result(self, total: Tensor, images: int) -> float:
        """Return the mean."""
        return float(total) / images


def as_metric(given: Metric | Callable[[Tensor, Tensor], Tensor]) -> Metric:
    """Return `given` if it is a metric, else wrap the function."""
    return given if isinstance(given, Metric) else PerImage(given)
