"""Where the inputs of a split come from: arrays, image files, data sets of images, tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hwflow.data.intake import Intake, Pixels, fit
from hwflow.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class ArraySource:
    """uint8 images (N, H, W, C) in memory with class numbers."""

    pixels: Pixels
    targets: Tensor
    intake: Intake

    @property
    def bytes_per_image(self) -> int:
        """Size of one preprocessed image in memory."""
        return self.intake.bytes_per_image

    def read(self, indices: Sequence[int]) -> Tensor:
        """Return the inputs at `indices`."""
        if isinstance(indices, range):
            pixels = self.pixels[indices.start : indices.stop : indices.step]
        else:
            pixels = self.pixels[list(indices)]
        size = self.intake.preprocess.size
        if size is not None and size != pixels.shape[1:3]:
            pixels = np.stack([self._fitted(image) for image in pixels])
        return self.intake.inputs(pixels)

    def _fitted(self, pixels: Pixels) -> Pixels:
        from PIL import Image

        grey = pixels.shape[2] == 1
        image = Image.fromarray(pixels[:, :, 0] if grey else pixels)
        return _pixels(fit(image, self.intake.preprocess))

    def digest(self) -> str:
        """Return the SHA-256 of the pixels, the targets and the preprocessing."""
        found = hashlib.sha256(np.ascontiguousarray(self.pixels).data)
        found.update(repr(self.pixels.shape).encode() + self.targets.numpy().tobytes())
        return _joined(found.hexdigest(), self.intake)


@dataclass(frozen=True, eq=False)
class FileSource:
    """Image files with class numbers."""

    root: Path
    files: tuple[str, ...]
    """Paths relative to `root`."""
    targets: Tensor
    intake: Intake

    @property
    def bytes_per_image(self) -> int:
        """Size of one preprocessed image in memory."""
        return self.intake.bytes_per_image

    def read(self, indices: Sequence[int]) -> Tensor:
        """Return the inputs at `indices`; DataError names a file that is no image."""
        return self.intake.inputs(np.stack([self._one(self.files[i]) for i in indices]))

    def _one(self, name: str) -> Pixels:
        from PIL import Image

        try:
            with Image.open(self.root / name) as image:
                return image_pixels(image, self.intake, str(self.root / name))
        except (OSError, SyntaxError, ValueError) as error:  # PIL's errors on damaged files
            raise DataError(
                f"Cannot read the image {str(self.root / name)!r}: {error}. "
                "Repair the file or take it out of the data set."
            ) from error

    def digest(self) -> str:
        """Return the SHA-256 of file names, sizes, class numbers and the preprocessing."""
        found = hashlib.sha256(self.targets.numpy().tobytes())
        for name in self.files:
            found.update(f"{name}\0{(self.root / name).stat().st_size}\n".encode())
        return _joined(found.hexdigest(), self.intake)


@dataclass(frozen=True, eq=False)
class DatasetSource:
    """A data set in torchvision's manner: item i is (PIL image, class number)."""

    dataset: Any
    indices: tuple[int, ...]
    all_targets: Tensor = field(repr=False)
    intake: Intake
    name: str

    @property
    def bytes_per_image(self) -> int:
        """Size of one preprocessed image in memory."""
        return self.intake.bytes_per_image

    @cached_property
    def targets(self) -> Tensor:
        """The class numbers of the chosen items."""
        return self.all_targets[list(self.indices)]

    def read(self, indices: Sequence[int]) -> Tensor:
        """Return the inputs at `indices`."""
        images = (self.dataset[self.indices[i]][0] for i in indices)
        pixels = [image_pixels(image, self.intake, self.name) for image in images]
        return self.intake.inputs(np.stack(pixels))

    def digest(self) -> str:
        """Return the SHA-256 of the set's name, its items, class numbers and preprocessing."""
        found = hashlib.sha256(f"{self.name}{self.indices}".encode())
        found.update(self.targets.numpy().tobytes())
        return _joined(found.hexdigest(), self.intake)


@dataclass(frozen=True, eq=False)
class TensorSource:
    """Inputs that the user has preprocessed, (N, C, H, W), with targets (N, ...)."""

    tensor: Tensor
    targets: Tensor

    @property
    def bytes_per_image(self) -> None:
        """None: they are in memory already."""
        return

    def read(self, indices: Sequence[int]) -> Tensor:
        """Return the inputs at `indices`."""
        if isinstance(indices, range):
            return self.tensor[indices.start : indices.stop : indices.step]
        return self.tensor[list(indices)]

    def digest(self) -> str:
        """Return the SHA-256 of the items, whatever order they came in."""
        rows = zip(self.tensor.contiguous().numpy(), self.targets.numpy(), strict=True)
        items = sorted(hashlib.sha256(x.tobytes() + y.tobytes()).digest() for x, y in rows)
        return hashlib.sha256(b"".join(items)).hexdigest()


def image_pixels(image: Image, intake: Intake, where: str) -> Pixels:
    """Return an image in the network's colour mode and size as uint8 (H, W, C)."""
    pixels = _pixels(fit(image.convert(intake.mode), intake.preprocess))
    intake.check_images(pixels.shape, where)
    return pixels


def _pixels(image: Image) -> Pixels:
    pixels = np.asarray(image, np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _joined(content: str, intake: Intake) -> str:
    return hashlib.sha256(f"{content}{intake.digest()}".encode()).hexdigest()


def labels(values: Any, where: str) -> Tensor:
    """Return class numbers as int64, shape (N,); DataError when they are no whole numbers."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            f"{where}: the labels must be whole numbers of shape (N,), "
            f"not {array.dtype} of shape {array.shape}."
        )
    return torch.from_numpy(array.astype(np.int64))
