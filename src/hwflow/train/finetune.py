"""Fine-tuning an edited network, with the original as its teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hwflow.network import Network
from hwflow.train.augment import Augment
from hwflow.train.batchnorm import reestimate_batchnorm
from hwflow.train.distill import Distillation
from hwflow.train.loop import Progress, train
from hwflow.train.stream import Trainable

QUANTIZED_RATE = 0.03
"""Peak learning rate for quantised networks, with gradients clipped at QUANTIZED_CLIP."""
QUANTIZED_CLIP = 0.3
"""`clip_norm` for quantised networks: their normalisations are folded, so nothing else keeps a long
step from blowing them up. Figures: docs/quantization.md."""


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
    clip_decay: float = 0.0,
    clip_norm: float | None = None,
    statistics: int = 0,
    batch_size: int = 128,
    seed: int = 0,
    checkpoint: Path | str | None = None,
    answers: Path | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> Network:
    """Return `network` trained for `epochs` or `steps` on labels and the outputs of `teacher`.

    The learning rate rises to `lr` in the first tenth and falls in half a cosine; `share` is how
    much the teacher counts, at `temperature`. `checkpoint` lets a killed run go on, `answers` is a
    folder in which runs share the teacher's outputs; both, `clip_decay` and `clip_norm` as in
    :func:`hwflow.train.train`. With `statistics` the batch-norm statistics are then the averages
    over so many training images; normalisations that were folded have none.
    """
    tuned = train(
        network, split, epochs=epochs, steps=steps, lr=lr, batch_size=batch_size, schedule="cosine",
        augment=augment, teacher=Distillation(teacher, share, temperature, answers), ema=ema,
        clip_decay=clip_decay, clip_norm=clip_norm, seed=seed, checkpoint=checkpoint,
        on_step=on_step,
    )  # fmt: skip
    if not statistics:
        return tuned
    return reestimate_batchnorm(tuned, split, images=statistics, seed=seed)
