"""Data sets of arrays: .npz files with uint8 `x` and `y`, and scikit-learn's digits.

One file is cut into splits by :func:`cut`; a folder holds train.npz, val.npz and test.npz.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hwflow.data.intake import Intake, Pixels
from hwflow.data.sources import ArraySource, labels
from hwflow.data.split import SPLITS, AnySplit, Data, Split
from hwflow.errors import DataError

CUT = 10
"""Of every CUT images of a class, one goes to validation and one to test."""

Indices = NDArray[np.int64]

FILE_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""What a split's file or folder may be called."""


def cut(targets: Tensor, seed: int = 0) -> dict[str, Indices]:
    """Divide images into train (80 %), val (10 %) and test (10 %), class by class.

    The images are put in an order drawn from `seed`, then sorted by class; of every ten in a row
    the first is for validation, the second for test. The same labels give the same splits.
    """
    order = np.random.default_rng(seed).permutation(len(targets))
    order = order[np.argsort(targets.numpy()[order], kind="stable")]
    place = np.arange(len(order)) % CUT
    parts = {"train": order[place > 1], "val": order[place == 0], "test": order[place == 1]}
    return {name: np.sort(indices) for name, indices in parts.items()}


def npz_file(path: Path, intake: Intake) -> Data:
    """Read one .npz and cut it into splits."""
    return _cut_data(str(path), *_read(path, intake), intake)


def npz_folder(path: Path, intake: Intake) -> Data:
    """Take a folder with train.npz, val.npz (or validation.npz) and test.npz; some may lack."""
    makers = {
        split: partial(_npz_split, split, path / f"{name}.npz", intake)
        for split in SPLITS
        for name in FILE_NAMES[split]
        if (path / f"{name}.npz").is_file()
    }
    return Data(str(path), makers)


def has_npz(path: Path) -> bool:
    """Whether a folder holds an .npz file of a split."""
    return any((path / f"{n}.npz").is_file() for names in FILE_NAMES.values() for n in names)


def digits(intake: Intake) -> Data:
    """Take scikit-learn's 1797 handwritten digits, 8 x 8 pixels, one channel, cut by :func:`cut`.

    They are enlarged to the network's height and width where it takes larger images.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = np.round(found.images * (255 / 16)).astype(np.uint8)[..., None]  # 0..16 grey levels
    if intake.shape[1:] != (8, 8) and intake.shape[0] == 1:
        resize = replace(intake.preprocess, size=intake.shape[1:], crop=1.0)
        intake = replace(intake, preprocess=resize)
    intake.check_images(pixels.shape[1:], "digits")
    return _cut_data("digits", pixels, labels(found.target, "digits"), intake)


def _cut_data(name: str, pixels: Pixels, targets: Tensor, intake: Intake) -> Data:
    intake.check_targets(targets, name)
    makers: dict[str, Callable[[], AnySplit]] = {
        split: partial(_part, split, pixels, targets, indices, intake)
        for split, indices in cut(targets).items()
    }
    return Data(name, makers)


def _part(name: str, pixels: Pixels, targets: Tensor, indices: Indices, intake: Intake) -> Split:
    return Split(name, ArraySource(pixels[indices], targets[indices], intake))


def _npz_split(name: str, path: Path, intake: Intake) -> Split:
    pixels, targets = _read(path, intake)
    intake.check_targets(targets, str(path))
    return Split(name, ArraySource(pixels, targets, intake))


def _read(path: Path, intake: Intake) -> tuple[Pixels, Tensor]:
    x, y = _arrays(path)
    pixels = image_array(x, intake, str(path))
    targets = labels(y, str(path))
    if len(pixels) != len(targets):
        raise DataError(f"{path}: x has {len(pixels)} images, y has {len(targets)} labels.")
    return pixels, targets


def _arrays(path: Path) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    if not path.is_file():
        raise DataError(f"There is no data file {str(path)!r}.")
    try:
        # opened here, as numpy leaves a broken file open
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            missing = [key for key in ("x", "y") if key not in file]
            if not missing:
                return file["x"], file["y"]
            have = ", ".join(file.files) or "nothing"
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"Cannot read {str(path)!r}: {reason}. Write it with numpy.savez(path, x=images, "
            "y=labels)."
        ) from error
    raise DataError(
        f"{path} has no array {missing[0]!r} (it has: {have}). Write it with "
        "numpy.savez(path, x=images, y=labels)."
    )


def image_array(x: NDArray[np.generic], intake: Intake, where: str) -> Pixels:
    """Return uint8 images of shape (N, H, W, C); DataError unless they fit the network."""
    if x.dtype != np.uint8 or x.ndim not in (3, 4):
        raise DataError(
            f"{where}: x must be uint8 of shape (N, H, W, C) or (N, H, W), "
            f"not {x.dtype} of shape {x.shape}."
        )
    if len(x) == 0:
        raise DataError(f"{where} has no images. Give at least one.")
    pixels: Pixels = np.asarray(x, np.uint8)
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    intake.check_images(pixels.shape[1:], where)
    return pixels
