"""Training: a short SGD loop with distillation and checkpoints, and batch-norm re-estimation."""

from hwflow.train.augment import augmented
from hwflow.train.batchnorm import reestimate_batchnorm, restate, restated
from hwflow.train.distill import Distillation
from hwflow.train.finetune import QUANTIZED_CLIP, QUANTIZED_RATE, finetune
from hwflow.train.loop import Progress, train

__all__ = [
    "QUANTIZED_CLIP",
    "QUANTIZED_RATE",
    "Distillation",
    "Progress",
    "augmented",
    "finetune",
    "reestimate_batchnorm",
    "restate",
    "restated",
    "train",
]
