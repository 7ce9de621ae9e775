"""Distillation: the outputs of a teacher beside the labels.

Hinton et al., "Distilling the knowledge in a neural network", arXiv 1503.02531:
L = (1 - a) CE(z, y) + a T^2 KL(softmax(z_teacher / T) || softmax(z / T)).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwflow.files import whole
from hwflow.network import Network
from hwflow.running import evaluating, output, state_digest
from hwflow.train.stream import Place

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Distillation:
    """How much the teacher's outputs count against the labels."""

    teacher: Network
    share: float = 0.5
    """a in the formula above: 0 labels only, 1 teacher only."""
    temperature: float = 4.0
    answers: Path | None = None
    """A folder that keeps the teacher's outputs, so that runs which see the same images in the
    same order (seed, batch size, augmentation) compute them once."""


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy; targets of 255 in maps are ignored."""
    return F.cross_entropy(outputs, targets, ignore_index=255 if targets.dim() > 1 else -100)


def divergence(outputs: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(softmax(wanted / T) || softmax(outputs / T)), averaged over the batch."""
    log_found = F.log_softmax(outputs / temperature, 1)
    log_wanted = F.log_softmax(wanted / temperature, 1)
    total = F.kl_div(log_found, log_wanted, reduction="none", log_target=True).sum(1)
    return total.mean() * temperature**2


class Criterion:
    """The loss of a batch: that of the labels, mixed with the teacher's where there is one."""

    def __init__(self, loss: Loss | None, how: Distillation | None, order: str) -> None:
        """`order` identifies which images come when, for answers that are kept."""
        self._plain = loss or cross_entropy
        self._how = how
        self._teacher = None if how is None else _Teacher(how.teacher.module, how.answers, order)

    def __call__(self, place: Place, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss, a scalar."""
        plain = self._plain(outputs, targets)
        if self._how is None or self._teacher is None:
            return plain
        soft = divergence(outputs, self._teacher(place, inputs), self._how.temperature)
        return (1 - self._how.share) * plain + self._how.share * soft


class _Teacher:
    """A frozen network and, in a folder, what it answered: one file a batch.

    Processes may share the folder: what they write to one place is the same.
    """

    def __init__(self, module: nn.Module, folder: Path | None, order: str) -> None:
        self._module = module
        self._folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            key = f"{state_digest(module)} {order}"
            self._key = hashlib.sha256(key.encode()).hexdigest()[:24]

    def __call__(self, place: Place, inputs: Tensor) -> Tensor:
        """Return the outputs for a batch, without gradient."""
        if self._folder is None:
            return self._answer(inputs)
        path = self._folder / f"{self._key}-{place.epoch}-{place.batch}.npy"
        if path.exists():
            return torch.from_numpy(np.load(path, allow_pickle=False))
        answer = self._answer(inputs)
        with whole(path) as part, part.open("wb") as file:
            np.save(file, answer.numpy(), allow_pickle=False)
        return answer

    def _answer(self, inputs: Tensor) -> Tensor:
        with evaluating(self._module), torch.no_grad():
            return output(self._module, inputs)
