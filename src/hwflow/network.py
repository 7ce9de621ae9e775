"""A trained network: the torch module with what is needed to run it. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How uint8 RGB images become network input: (x / scale - mean) / std, per channel."""

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 255.0
    size: tuple[int, int] | None = None
    """Height and width that images are resized and centre-cropped to; None keeps them.

    An image that has this size already is taken whole."""
    crop: float = 0.875
    """Share of the resized image that the centre crop keeps, in (0, 1]."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


@dataclass(frozen=True, eq=False)
class Network:
    """A torch module, an example input of batch 1, and how images become inputs."""

    name: str
    module: nn.Module
    example: Tensor
    """Shape (1, C, H, W), float32."""
    preprocess: Preprocess = Preprocess()
    calibration: Tensor | None = field(default=None, repr=False)
    """Preprocessed inputs, shape (M, C, H, W), from which edits take statistics."""
    weights: str | None = None
    """SHA-256 of the weights file, or of the module's state where it came with weights of its own
    or was trained; None for random weights."""

    def with_module(self, module: nn.Module) -> Network:
        """Return the same network with another module."""
        return replace(self, module=module)

    def calibrated(self, inputs: Tensor) -> Network:
        """Return the same network with these calibration inputs."""
        return replace(self, calibration=inputs)
