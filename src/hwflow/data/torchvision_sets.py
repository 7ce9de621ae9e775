"""torchvision's data sets of labelled images by name, as "torchvision:CIFAR10".

Nothing is downloaded unless asked. A set without a validation split gets one from its training
split by :func:`hwflow.data.arrays.cut`: every tenth image of each class.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwflow.data.arrays import Indices, cut
from hwflow.data.intake import Intake, Pixels
from hwflow.data.sources import ArraySource, DatasetSource, labels
from hwflow.data.split import Data, Split
from hwflow.errors import DataError, unknown_name

_BY_FLAG = ("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "USPS")
"""Sets that are opened by train=True and train=False."""

_BY_NAME: Mapping[str, Mapping[str, str]] = {
    "Country211": {"train": "train", "val": "valid", "test": "test"},
    "DTD": {"train": "train", "val": "val", "test": "test"},
    "FGVCAircraft": {"train": "train", "val": "val", "test": "test"},
    "Flowers102": {"train": "train", "val": "val", "test": "test"},
    "Food101": {"train": "train", "test": "test"},
    "GTSRB": {"train": "train", "test": "test"},
    "ImageNet": {"train": "train", "val": "val"},
    "Imagenette": {"train": "train", "val": "val"},
    "OxfordIIITPet": {"train": "trainval", "test": "test"},
    "PCAM": {"train": "train", "val": "val", "test": "test"},
    "RenderedSST2": {"train": "train", "val": "val", "test": "test"},
    "STL10": {"train": "train", "test": "test"},
    "SVHN": {"train": "train", "test": "test"},
    "StanfordCars": {"train": "train", "test": "test"},
}
"""Sets that are opened by split="...": our name of the split -> theirs."""

Options = dict[str, Any]


def torchvision_set(name: str, intake: Intake, root: Path, download: bool) -> Data:
    """Take the torchvision data set called `name`, kept under `root`.

    Raises DataError for an unknown name, and when it is not there and `download` is false.
    """
    parts = _parts(name)
    read = partial(_split, name, intake, root, download)
    makers = {split: partial(read, split, options) for split, options in parts.items()}
    if "val" not in parts:
        makers["train"] = partial(read, "train", parts["train"], keep="rest")
        makers["val"] = partial(read, "val", parts["train"], keep="val")
    return Data(f"torchvision:{name}", makers)


def _parts(name: str) -> dict[str, Options]:
    """Return the splits that a set comes with -> the arguments that open each."""
    if name in _BY_FLAG:
        return {"train": {"train": True}, "test": {"train": False}}
    if name in _BY_NAME:
        return {ours: {"split": theirs} for ours, theirs in _BY_NAME[name].items()}
    hint = "Give another one by a function of yours: package.module:function."
    raise DataError(unknown_name("torchvision data set", name, (*_BY_FLAG, *_BY_NAME), hint))


def _open(name: str, root: Path, download: bool, options: Options) -> Any:
    from torchvision import datasets

    kind = getattr(datasets, name)
    if "download" in inspect.signature(kind).parameters:
        options = options | {"download": download}
    try:
        return kind(str(root), **options)
    except Exception as error:  # each set has its own way to say that it is not there
        raise DataError(
            f"Cannot open torchvision:{name} under {str(root)!r}: {error} "
            "Say where it is (root), or allow the download (download=True)."
        ) from error


def _split(
    name: str, intake: Intake, root: Path, download: bool, split: str, options: Options,
    keep: str = "all",
) -> Split:  # fmt: skip
    dataset = _open(name, root, download, options)
    where = f"torchvision:{name} ({split})"
    targets = _targets(dataset, where)
    intake.check_targets(targets, where)
    indices = _kept(targets, keep)
    pixels = _pixels(dataset)
    if pixels is not None:
        intake.check_images(pixels.shape[1:], where)
        return Split(split, ArraySource(pixels[indices], targets[indices], intake))
    items = tuple(int(index) for index in indices)
    return Split(split, DatasetSource(dataset, items, targets, intake, where))


def _kept(targets: Tensor, keep: str) -> Indices:
    """Return which items to take: "all", those that are cut off for "val", or the "rest"."""
    everything = np.arange(len(targets))
    if keep == "all":
        return everything
    val = cut(targets)["val"]
    return val if keep == "val" else np.setdiff1d(everything, val)


def _targets(dataset: Any, where: str) -> Tensor:
    """Return all class numbers, from the set's own list if it keeps one."""
    for key in ("targets", "labels", "_labels"):
        found = getattr(dataset, key, None)
        if found is not None and len(found) == len(dataset):
            return labels(found, where)
    listed = [dataset[index][1] for index in range(len(dataset))]
    return labels(torch.tensor(listed), where)


def _pixels(dataset: Any) -> Pixels | None:
    """Return the images as one array (N, H, W, C) where the set keeps them so."""
    data = getattr(dataset, "data", None)
    if data is None or not hasattr(data, "shape"):
        return None
    pixels = np.asarray(data)
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        return None
    if pixels.ndim == 3:
        return pixels[..., None]
    return pixels.transpose(0, 2, 3, 1) if pixels.shape[1] == 3 else pixels
