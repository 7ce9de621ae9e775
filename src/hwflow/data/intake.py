"""What a network takes, and how images become that: size, channels, scale, classes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwflow.errors import DataError, ModelError
from hwflow.network import Network, Preprocess

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]

IGNORED = 255
"""Target of a pixel that belongs to no class, in maps of targets."""


@dataclass(frozen=True)
class Intake:
    """What a network takes: shape (C, H, W), preprocessing, and how many classes it tells apart."""

    shape: tuple[int, int, int]
    preprocess: Preprocess
    classes: int | None = None
    """None where its output has no axis of classes."""

    @property
    def mode(self) -> str:
        """The colour mode of images with this many channels, as PIL calls it."""
        modes = {1: "L", 3: "RGB", 4: "RGBA"}
        if self.shape[0] not in modes:
            raise DataError(
                f"The network takes {self.shape[0]} channels; image files have 1, 3 or 4. Give the "
                "data by a function of yours: package.module:function."
            )
        return modes[self.shape[0]]

    @property
    def bytes_per_image(self) -> int:
        """Size of one preprocessed image in memory."""
        channels, height, width = self.shape
        return channels * height * width * 4

    def digest(self) -> str:
        """Return what identifies the preprocessing."""
        return hashlib.sha256(repr((self.shape, self.preprocess)).encode()).hexdigest()

    def inputs(self, pixels: Pixels) -> Tensor:
        """Turn uint8 images (N, H, W, C) into network input, float32 (N, C, H, W), channels last.

        Follows :class:`hwflow.network.Preprocess`: (x / scale - mean) / std.
        """
        values = torch.from_numpy(pixels.astype(np.float32, order="C")).permute(0, 3, 1, 2)
        mean = torch.tensor(self.preprocess.mean).view(1, -1, 1, 1)
        std = torch.tensor(self.preprocess.std).view(1, -1, 1, 1)
        done = (values / self.preprocess.scale - mean) / std
        return done.contiguous(memory_format=torch.channels_last)

    def check_images(self, shape: tuple[int, ...], where: str) -> None:
        """Raise DataError unless images of shape (H, W, C) fit, after resizing if there is any."""
        height, width, channels = shape
        if channels != self.shape[0]:
            raise DataError(
                f"{where}: the images have {_count(channels, 'channel')}, the network takes "
                f"{self.shape[0]}. Load the network with another input_shape (--input "
                f"{channels}x{height}x{width}), or convert the images."
            )
        if self.preprocess.size is None and (height, width) != self.shape[1:]:
            raise DataError(
                f"{where}: the images have {height}x{width} pixels, the network takes "
                f"{self.shape[1]}x{self.shape[2]}. Load the network with another input_shape "
                f"(--input {channels}x{height}x{width}), or resize the images."
            )

    def check_targets(self, targets: Tensor, where: str) -> None:
        """Raise DataError where a class number is not one of the network's."""
        if targets.is_floating_point() or self.classes is None or not targets.numel():
            return
        counted = targets if targets.dim() == 1 else targets[targets != IGNORED]
        low, high = int(counted.min()), int(counted.max())
        if low < 0 or high >= self.classes:
            wrong = low if low < 0 else high
            raise DataError(
                f"{where}: there is a label {wrong}, the network has classes 0 to "
                f"{self.classes - 1}. Load the network with num_classes (--classes {high + 1}) or "
                "correct the labels."
            )


def intake(network: Network) -> Intake:
    """Return what `network` takes; runs it once on its example input to count the classes.

    Raises ModelError when the network cannot run on its own example.
    """
    example = network.example
    channels, height, width = (int(size) for size in example.shape[1:])
    was_training = network.module.training
    network.module.eval()
    try:
        with torch.no_grad():
            out = network.module(example)
    except Exception as error:
        raise ModelError(
            f"{network.name} cannot run on an input of shape {tuple(example.shape)}: {error} "
            "Give the size it takes as input_shape (--input CxHxW)."
        ) from error
    finally:
        network.module.train(was_training)
    return Intake((channels, height, width), network.preprocess, _classes(out))


def _classes(out: object) -> int | None:
    if isinstance(out, dict):
        out = out.get("out")
    return int(out.shape[1]) if isinstance(out, Tensor) and out.dim() in (2, 4) else None


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def fit(image: Image, preprocess: Preprocess) -> Image:
    """Resize and centre-crop an image to `preprocess.size`, as torchvision's presets do.

    The short side becomes size / crop, then the middle is cut out. An image that has the size
    already is taken whole.
    """
    from PIL.Image import Resampling

    if preprocess.size is None or image.size == preprocess.size[::-1]:
        return image
    height, width = preprocess.size
    resized = _covering(image.size, (width / preprocess.crop, height / preprocess.crop))
    filters = {"bilinear": Resampling.BILINEAR, "bicubic": Resampling.BICUBIC}
    larger = image.resize(resized, filters[preprocess.interpolation])
    left, top = round((resized[0] - width) / 2), round((resized[1] - height) / 2)
    return larger.crop((left, top, left + width, top + height))


def _covering(old: tuple[int, int], least: tuple[float, float]) -> tuple[int, int]:
    """Return the smallest (width, height) in the proportions of `old` that covers `least`."""
    if least[0] * old[1] >= least[1] * old[0]:
        return round(least[0]), int(round(least[0]) * old[1] / old[0])
    return int(round(least[1]) * old[0] / old[1]), round(least[1])
