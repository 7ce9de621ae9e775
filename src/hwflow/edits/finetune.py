"""Fine-tune: for how many steps an edited network is trained before it is scored, as a choice.

    space = hf.prune(net) + hf.finetune(net, data.train, steps=(0, 50, 200))

Which widths or bits are worth having depends on what a little training makes of them; how much of
it a plan gets is a decision of the search (L2PF's idea). On paper nothing changes; in the network
the weights do. It comes after every other edit of the network.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from hwflow.design import Design
from hwflow.errors import HwflowError
from hwflow.network import Network
from hwflow.space import Choice, Space, Value
from hwflow.train import Distillation, train
from hwflow.train.loop import check_norm
from hwflow.train.stream import Trainable
from hwflow.workload import Workload

STEPS = "finetune:steps"
"""The name of the choice."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a network is trained on, and how."""

    split: Trainable
    lr: float = 0.01
    """Peak of the learning rate, which rises for a tenth of the steps and falls in a half cosine"""
    batch_size: int = 128
    seed: int = 0
    teacher: Network | None = None
    """The network before every edit, whose outputs count as much as the labels; None for labels."""
    answers: Path | None = None
    """A folder that keeps the teacher's outputs, so that they are computed once for all plans."""
    clip_norm: float | None = None
    """The length at which gradients are clipped; None: they are not."""

    def give(self, network: Network, steps: int) -> Network:
        """Return a copy of the network, trained for so many steps."""
        if steps == 0:
            return network.with_module(copy.deepcopy(network.module))
        taught = None if self.teacher is None else Distillation(self.teacher, answers=self.answers)
        with torch.enable_grad():  # whoever scores the network may have switched gradients off
            return train(
                network, self.split, steps=steps, lr=self.lr, batch_size=self.batch_size,
                schedule="cosine", teacher=taught, clip_norm=self.clip_norm, seed=self.seed,
            )  # fmt: skip

    def digest(self) -> str:
        """Return the SHA-256 of what decides the weights, the teacher's own left out."""
        data = getattr(self.split, "digest", type(self.split).__qualname__)
        seen: tuple[object, ...] = (
            data, self.lr, self.batch_size, self.seed, self.teacher is not None
        )  # fmt: skip
        if self.clip_norm is not None:  # lessons without keep their digest
            seen = (*seen, self.clip_norm)
        return hashlib.sha256(repr(seen).encode()).hexdigest()


@dataclass(frozen=True)
class Finetune:
    """Train a network for some steps."""

    steps: int
    lesson: Lesson = field(repr=False)

    def on_paper(self, design: Design) -> Design:
        """Return the design as it is: training changes no layer."""
        return design

    def in_network(self, network: Network) -> Network:
        """Return a trained copy; the same seed gives the same weights.

        Raises HwflowError when the training diverges.
        """
        return self.lesson.give(network, self.steps)


@dataclass(frozen=True)
class FinetunePart:
    """The part of a space that chooses for how many steps the network is trained."""

    steps: tuple[int, ...]
    """Rising; the first is the default."""
    lesson: Lesson = field(repr=False)

    kind = "finetune"

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """The one choice."""
        return (Choice(STEPS, self.steps),)

    def edit(self, values: Mapping[str, Value]) -> Finetune:
        """Return the edit."""
        return Finetune(int(values[STEPS]), self.lesson)

    def digest(self) -> str:
        """Return what a study must not mix: data, learning rate, batches, seed, teacher or not."""
        return self.lesson.digest()


def finetune(
    source: Network | Workload,
    split: Trainable,
    steps: Sequence[int] = (0, 50, 200),
    *,
    lr: float = 0.01,
    teacher: bool = True,
    batch_size: int = 128,
    seed: int = 0,
    answers: Path | str | None = None,
    clip_norm: float | None = None,
) -> Space:
    """Return the space of fine-tuning lengths: `steps` are the batches to train on, 0 for none.

    `lr` is the peak of the learning rate. With `teacher` the outputs of `source` count as much as
    the labels, at temperature 4; `answers` is a folder that keeps them. Where bits are choices too,
    clip gradients (`clip_norm`, 0.3 say). Raises HwflowError for steps that are no counts, or fewer
    than one, and for a `clip_norm` that is not above 0.
    """
    counts = _counts(steps)
    check_norm(clip_norm)
    own = source if teacher and isinstance(source, Network) else None
    folder = None if answers is None else Path(answers)
    lesson = Lesson(split, lr, batch_size, seed, own, folder, clip_norm)
    part = FinetunePart(counts, lesson)
    if isinstance(source, Workload):
        return Space(source, (part,))
    from hwflow.extract import extract

    return Space(extract(source), (part,), source)


def _counts(steps: Sequence[int]) -> tuple[int, ...]:
    found = tuple(sorted(set(steps)))
    if not found or any(not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in found):
        raise HwflowError(
            f"steps are counts of batches to train on, 0 or more, not {tuple(steps)!r}. "
            "Give, for instance, (0, 50, 200)."
        )
    return found
