"""A trained network: the torch module with what is needed to run it. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from hwflow.errors import DataError

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
    """Preprocessed inputs, shape (M, C, H, W), from which edits take statistics.

    DataError where an input has another shape than the example's."""
    weights: str | None = None
    """SHA-256 of the weights file, or of the module's state where it came with weights of its own
    or was trained; None for random weights."""

    def __post_init__(self) -> None:
        if self.calibration is None:
            return
        given, wanted = tuple(self.calibration.shape), tuple(self.example.shape)
        if given[1:] != wanted[1:]:
            raise DataError(
                f"Calibration inputs of shape {given} do not fit {self.name!r}, which takes "
                f"(N, {', '.join(map(str, wanted[1:]))}). Preprocess them as the network wants "
                "them, as load_data(..., network).calibration() does, or load the network with "
                "their input shape."
            )

    def with_module(self, module: nn.Module) -> Network:
        """Return the same network with another module."""
        return replace(self, module=module)

    def calibrated(self, inputs: Tensor) -> Network:
        """Return the same network with these calibration inputs.

        Raises DataError where they are not of the shape that the network takes.
        """
        return replace(self, calibration=inputs)
