"""From a name or a path to a data set: ``load_data("cifar/", network)``."""

from __future__ import annotations

from pathlib import Path

from hwflow.data.arrays import digits, has_npz, npz_file, npz_folder
from hwflow.data.folder import has_splits, image_folder
from hwflow.data.intake import Intake, intake
from hwflow.data.own import own_data
from hwflow.data.split import Data
from hwflow.data.torchvision_sets import torchvision_set
from hwflow.errors import DataError
from hwflow.factory import is_factory
from hwflow.network import Network


def load_data(
    spec: str | Path, network: Network, *, root: str | Path = "data", download: bool = False
) -> Data:
    """Open a data set for `network`: its images are preprocessed as the network wants them.

    `spec` is a folder train/CLASS/IMAGE, val/..., test/...; a folder with train.npz, val.npz and
    test.npz, or one .npz (x: uint8 (N, H, W, C) or (N, H, W); y: class numbers; train, val, test:
    which images are in each split, else 80 %, 10 % and 10 % of each class); "digits";
    "torchvision:NAME", kept under `root` and only downloaded if asked; or "package.module:function"
    (see :func:`hwflow.data.own.own_data`).

    Splits are read when they are first asked for; whether they share images is looked into by
    :meth:`hwflow.data.Data.check_disjoint`. Raises DataError, with the file's name, for what is
    missing, empty, unreadable, of another size or number of channels than the network takes,
    labelled beyond its classes, or in two of the index arrays.
    """
    text, wanted = str(spec), intake(network)
    if text == "digits":
        return digits(wanted)
    family, _, name = text.partition(":")
    if family == "torchvision" and name:
        return torchvision_set(name, wanted, Path(root), download)
    path = Path(spec)
    if path.exists():
        return _from_path(path, wanted)
    if is_factory(text):
        return own_data(text, wanted)
    raise DataError(
        f"There is no data set {text!r}. Give a folder with train/, val/ and test/, an .npz file, "
        "digits, torchvision:NAME, or package.module:function."
    )


def _from_path(path: Path, wanted: Intake) -> Data:
    if path.is_file():
        if path.suffix != ".npz":
            raise DataError(f"{path} is no .npz file. Give an .npz file or a folder of splits.")
        return npz_file(path, wanted)
    if has_npz(path):
        return npz_folder(path, wanted)
    if has_splits(path):
        return image_folder(path, wanted)
    raise DataError(
        f"{path} has no images: expected the folders train, val and test with one folder per "
        "class in each, or the files train.npz, val.npz and test.npz."
    )
