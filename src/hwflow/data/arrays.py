"""Data sets of arrays: .npz files with uint8 `x` and `y`, and scikit-learn's digits.

One file is cut into splits by :func:`cut`, or by index arrays called `train`, `val` and `test` in
it; a folder holds train.npz, val.npz and test.npz.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hwflow.data.intake import Intake, Pixels
from hwflow.data.overlap import check_origins
from hwflow.data.sources import ArraySource, labels
from hwflow.data.split import SPLITS, AnySplit, Data, Origin, Split
from hwflow.errors import DataError

CUT = 10
"""Of every CUT images of a class, one goes to validation and one to test."""

Indices = NDArray[np.int64]
Arrays = Mapping[str, NDArray[np.generic]]

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
    """Read one .npz and cut it into splits: those of its index arrays, if it has any.

    Raises DataError for index arrays that share images or name images that are not there.
    """
    arrays = _arrays(path)
    pixels, targets = _labelled(path, arrays, intake)
    lists = {split: arrays[split] for split in SPLITS if split in arrays}
    if not lists:
        return _cut_data(str(path), pixels, targets, cut(targets), intake)
    chosen = {split: _indices(rows, len(targets), path, split) for split, rows in lists.items()}
    check_origins(str(path), {split: Origin(str(path), rows) for split, rows in chosen.items()})
    return _cut_data(str(path), pixels, targets, chosen, intake)


def _indices(rows: NDArray[np.generic], count: int, path: Path, split: str) -> Indices:
    """Return the indices of a split; DataError unless they are those of `count` images."""
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise DataError(
            f"{path}: {split} must be image numbers of shape (n,), not {rows.dtype} of shape "
            f"{rows.shape}. Write numpy.flatnonzero(mask) where you have a mask."
        )
    found = rows.astype(np.int64)
    wrong = found[(found < 0) | (found >= count)]
    if len(wrong):
        raise DataError(f"{path}: {split} names image {wrong[0]}, the images are 0 to {count - 1}.")
    return found


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
    targets = labels(found.target, "digits")
    return _cut_data("digits", pixels, targets, cut(targets), intake)


def _cut_data(
    name: str, pixels: Pixels, targets: Tensor, parts: Mapping[str, Indices], intake: Intake
) -> Data:
    intake.check_targets(targets, name)
    makers: dict[str, Callable[[], AnySplit]] = {
        split: partial(_part, split, pixels, targets, Origin(name, indices), intake)
        for split, indices in parts.items()
    }
    return Data(name, makers)


def _part(name: str, pixels: Pixels, targets: Tensor, origin: Origin, intake: Intake) -> Split:
    source = ArraySource(pixels[origin.indices], targets[origin.indices], intake)
    return Split(name, source, origin)


def _npz_split(name: str, path: Path, intake: Intake) -> Split:
    pixels, targets = _labelled(path, _arrays(path), intake)
    intake.check_targets(targets, str(path))
    return Split(name, ArraySource(pixels, targets, intake))


def _labelled(path: Path, arrays: Arrays, intake: Intake) -> tuple[Pixels, Tensor]:
    pixels = image_array(arrays["x"], intake, str(path))
    targets = labels(arrays["y"], str(path))
    if len(pixels) != len(targets):
        raise DataError(f"{path}: x has {len(pixels)} images, y has {len(targets)} labels.")
    return pixels, targets


def _arrays(path: Path) -> Arrays:
    """Return the arrays x and y of a file, and train, val and test where it has them."""
    if not path.is_file():
        raise DataError(f"There is no data file {str(path)!r}.")
    try:
        # opened here, as numpy leaves a broken file open
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            missing = [key for key in ("x", "y") if key not in file]
            if not missing:
                return {key: file[key] for key in ("x", "y", *SPLITS) if key in file}
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
