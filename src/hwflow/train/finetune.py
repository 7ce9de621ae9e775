"""Fine-tuning an edited network, with the original as its teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hwflow.network import Network
from hwflow.train.augment import Augment
from hwflow.train.distill import Distillation
from hwflow.train.loop import Progress, train
from hwflow.train.stream import Trainable


def finetune(
    network: Network,
    split: Trainable,
    teacher: Network,
    *,
    lr: float,
    epochs: int | None = None,
    steps: int | None = None,
    augment: Augment = "none",
    share: float = 0.5,
    temperature: float = 4.0,
    ema: float | None = None,
    batch_size: int = 128,
    seed: int = 0,
    checkpoint: Path | str | None = None,
    answers: Path | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> Network:
    """Return `network` trained for `epochs` or `steps` on labels and the outputs of `teacher`.

    The learning rate rises to `lr` in the first tenth and falls in half a cosine; `share` is how
    much the teacher counts, at `temperature`. `checkpoint` lets a killed run go on, `answers` is a
    folder in which runs share the teacher's outputs; both as in :func:`hwflow.train.train`.
    """
    return train(
        network, split, epochs=epochs, steps=steps, lr=lr, batch_size=batch_size, schedule="cosine",
        augment=augment, teacher=Distillation(teacher, share, temperature, answers), ema=ema,
        seed=seed, checkpoint=checkpoint, on_step=on_step,
    )  # fmt: skip
