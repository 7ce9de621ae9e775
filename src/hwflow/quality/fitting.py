"""Modules trained to map one activation of a teacher to another: phase 1 of HANT (LANA).

    min_w  sum over images x  || t(x) - s(x; w) ||^2

where x is the teacher's own activation at a site's entry and t(x) the one at its exit (Molchanov et
al., "LANA: latency aware network acceleration", arXiv 2107.10624, section 3.1). The loss is divided
by the variance of t(x), so that 1 is what a constant per channel reaches and 0 the teacher.

Many students of one site are trained side by side: a batch is read once and given to each; each has
an optimiser of its own, and what becomes of it depends on no other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwflow.errors import HwflowError
from hwflow.quality.features import CHUNK, Features
from hwflow.running import evaluating
from hwflow.train.batchnorm import restate

CURVE = 10
"""Points that a loss curve is kept as."""

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""

FLAT = 5.0
"""How much larger the learning rate of scales and biases is than that of weights."""

RESTATED = 500
"""Images from which batch-norm statistics are taken after training."""


@dataclass(frozen=True)
class Fitting:
    """How students are trained: Adam, a learning rate that rises and falls in a half cosine."""

    epochs: float = 2.0
    """Passes over the images; a part of one is allowed."""
    lr: float = 0.03
    """Peak of the learning rate of students that start from random weights."""
    warm_lr: float = 0.01
    """Peak for students that start from the teacher's weights."""
    batch: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.epochs > 0 or not self.lr > 0 or not self.warm_lr > 0 or self.batch < 1:
            raise HwflowError(
                "epochs, lr and warm_lr must be above 0 and batch 1 or more, not "
                f"{self.epochs}, {self.lr}, {self.warm_lr} and {self.batch}."
            )

    def steps(self, images: int) -> int:
        """Return the number of batches, 1 or more."""
        return max(1, round(self.epochs * images / min(self.batch, images)))


@dataclass(frozen=True, eq=False)
class Task:
    """What the students of a site are taught: the images after the first `images` are held back."""

    features: Features
    entry: str
    exit: str
    images: int

    def __post_init__(self) -> None:
        if not 0 < self.images < self.features.images:
            raise HwflowError(
                f"{self.images} images to train on leave none of {self.features.images} to hold "
                "back. Record more, or train on fewer."
            )

    def batch(self, images: Any) -> tuple[Tensor, Tensor]:
        """Return the activations at entry and exit of some images."""
        return self.features.read(self.entry, images), self.features.read(self.exit, images)

    def variance(self) -> float:
        """Return the variance of the exit around its channel means, from the first images."""
        return self.features.variance(self.exit, slice(0, min(self.images, RESTATED)))

    def batches(self, how: Fitting) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of a training, in an order drawn from the seed and the exit's name."""
        size = min(how.batch, self.images)
        left, epoch = how.steps(self.images), 0
        word = [abs(how.seed), *self.exit.encode()]
        while left:
            order = np.random.default_rng([*word, epoch]).permutation(self.images)
            for start in range(0, self.images - size + 1, size)[:left]:
                yield self.batch(np.sort(order[start : start + size]))
                left -= 1
            epoch += 1


@dataclass(frozen=True)
class Fitted:
    """What became of a student."""

    error: float
    """Mean squared error on the images held back, over the teacher's variance; NaN if it failed."""
    curve: tuple[float, ...]
    """Training loss, averaged over tenths of the steps; empty where nothing was trained."""
    seconds: float
    """CPU time of this student's own work."""
    steps: int


def fit(
    students: Mapping[str, nn.Module],
    task: Task,
    how: Fitting,
    *,
    warm: frozenset[str] = frozenset(),
    fixed: frozenset[str] = frozenset(),
) -> dict[str, Fitted]:
    """Train students in place, side by side, and return what became of each.

    Those in `fixed`, and those without parameters, are only measured. `warm` start from the
    teacher's weights. Afterwards batch-norm statistics are those of the images, and the students
    are in evaluation mode.
    """
    variance = task.variance()
    pupils = {
        name: _Pupil(module, how, task, variance, name in warm)
        for name, module in students.items()
        if name not in fixed and any(p.requires_grad for p in module.parameters())
    }
    if pupils:
        _teach(list(pupils.values()), task, how)
    return {name: _finish(students[name], pupils.get(name), task, variance) for name in students}


def _teach(pupils: list[_Pupil], task: Task, how: Fitting) -> None:
    with torch.enable_grad():
        for step, (inputs, wanted) in enumerate(task.batches(how)):
            for pupil in pupils:
                pupil.learn(inputs, wanted, step)


class _Pupil:
    """A student in training."""

    def __init__(
        self, module: nn.Module, how: Fitting, task: Task, variance: float, warm: bool
    ) -> None:
        self._layout = _layout(module)
        self._module = module.to(memory_format=self._layout).train()
        self._peak = how.warm_lr if warm else how.lr
        self._steps = how.steps(task.images)
        self._optimizer = torch.optim.Adam(_groups(module), self._peak, fused=True)
        self._variance = variance
        self.losses: list[float] = []
        self.seconds = 0.0
        self.failed = False

    def learn(self, inputs: Tensor, wanted: Tensor, step: int) -> None:
        """Take one step; a student whose loss is no finite number takes no more."""
        if self.failed:
            return
        began = time.process_time()
        for group in self._optimizer.param_groups:
            group["lr"] = self._peak * group["factor"] * _share_of_peak(step, self._steps)
        self._optimizer.zero_grad()
        if self._layout == torch.contiguous_format:
            inputs = inputs.contiguous()
        loss = F.mse_loss(self._module(inputs), wanted) / self._variance
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self.losses.append(float(loss.detach()))
        self.failed = not isfinite(self.losses[-1])
        self.seconds += time.process_time() - began

    def curve(self) -> tuple[float, ...]:
        """Return the loss averaged over tenths of the steps."""
        parts = np.array_split(np.array(self.losses), min(CURVE, len(self.losses)))
        return tuple(float(part.mean()) for part in parts)


def _layout(module: nn.Module) -> torch.memory_format:
    """Return how a student's images lie in memory.

    Channels last is faster, but the weight gradient of a strided 1 x 1 convolution of a few
    channels (a replaced stem) ends the process there on large images (torch 2.14, oneDNN).
    """
    convs = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    fragile = any(
        m.kernel_size == (1, 1) and m.stride != (1, 1) and m.in_channels < VECTOR for m in convs
    )
    return torch.contiguous_format if fragile else torch.channels_last


VECTOR = 16
"""Floats in a vector register: convolutions of fewer channels take other kernels."""


def _groups(module: nn.Module) -> list[dict[str, Any]]:
    """Return the parameters for an optimiser: scales and biases, which have far to go, by FLAT."""
    learning = [p for p in module.parameters() if p.requires_grad]
    parts = (
        ([p for p in learning if p.dim() > 1], 1.0),
        ([p for p in learning if p.dim() < 2], FLAT),
    )
    return [{"params": some, "factor": factor} for some, factor in parts if some]


def _share_of_peak(step: int, steps: int) -> float:
    """Return the learning rate of a step as a share of its peak."""
    rising = max(1, round(WARM_UP * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + cos(pi * (step - rising + 1) / max(1, steps - rising + 1)))


def _finish(module: nn.Module, pupil: _Pupil | None, task: Task, variance: float) -> Fitted:
    """Take batch-norm statistics anew where a student was trained, and measure it."""
    began = time.process_time()
    module.eval()
    failed = pupil is not None and pupil.failed
    if pupil is not None and not failed:
        some = task.features.read(task.entry, slice(0, min(RESTATED, task.images)))
        restate(module, some, CHUNK)
    error = float("nan") if failed else _error(module, task) / variance
    seconds = time.process_time() - began
    if pupil is None:
        return Fitted(error, (), seconds, 0)
    return Fitted(error, pupil.curve(), pupil.seconds + seconds, len(pupil.losses))


def _error(module: nn.Module, task: Task) -> float:
    """Return the mean squared error on the images held back."""
    total, count = 0.0, 0
    with evaluating(module), torch.no_grad():
        for start in range(task.images, task.features.images, CHUNK):
            end = min(start + CHUNK, task.features.images)
            inputs, wanted = task.batch(slice(start, end))
            total += float(F.mse_loss(module(inputs), wanted, reduction="sum"))
            count += wanted.numel()
    return total / count
