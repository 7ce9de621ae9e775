"""Image folders: DATA/{train,val,test}/CLASS/IMAGE, as torchvision's ImageFolder reads them.

Class numbers are the places of the class folders' names in alphabetical order (of all splits
together), or in DATA/classes.txt, one name per line, where the network knows other classes too.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from hwflow.data.arrays import FILE_NAMES
from hwflow.data.intake import Intake
from hwflow.data.sources import FileSource
from hwflow.data.split import SPLITS, Data, Split
from hwflow.errors import DataError, unknown_name

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp")
CLASS_FILE = "classes.txt"


def has_splits(root: Path) -> bool:
    """Whether a folder has a sub-folder of a split."""
    return bool(_split_folders(root))


def image_folder(root: Path, intake: Intake) -> Data:
    """Take a folder of splits of class folders.

    Raises DataError when the class folders are not the network's classes.
    """
    folders = _split_folders(root)
    classes = _classes(root, folders, intake)
    makers = {split: partial(_split, split, path, classes, intake)
              for split, path in folders.items()}  # fmt: skip
    return Data(str(root), makers)


def _split_folders(root: Path) -> dict[str, Path]:
    return {
        split: root / name
        for split in SPLITS
        for name in reversed(FILE_NAMES[split])
        if (root / name).is_dir()
    }


def _class_folders(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _classes(root: Path, folders: dict[str, Path], intake: Intake) -> tuple[str, ...]:
    found = sorted({name for path in folders.values() for name in _class_folders(path)})
    if not found:
        raise DataError(
            f"{root} has no images: expected {root}/train/CLASS/IMAGE, and the same in val and "
            "test."
        )
    listed = root / CLASS_FILE
    if listed.is_file():
        return _listed(listed, found, intake)
    if intake.classes is not None and len(found) != intake.classes:
        raise DataError(
            f"{root} has {len(found)} class folders, the network {intake.classes} classes. Load "
            f"the network with num_classes={len(found)} (--classes {len(found)}), or write the "
            f"names of its classes into {listed}, one per line in the network's order."
        )
    return tuple(found)


def _listed(path: Path, found: list[str], intake: Intake) -> tuple[str, ...]:
    classes = tuple(path.read_text().split("\n"))
    classes = tuple(name.strip() for name in classes if name.strip())
    for name in found:
        if name not in classes:
            raise DataError(unknown_name(f"class folder (not in {path})", name, classes))
    if intake.classes is not None and len(classes) > intake.classes:
        raise DataError(f"{path} names {len(classes)} classes, the network has {intake.classes}.")
    return classes


def _split(name: str, path: Path, classes: tuple[str, ...], intake: Intake) -> Split:
    number = {folder: index for index, folder in enumerate(classes)}
    files = [
        (file.relative_to(path).as_posix(), number[folder])
        for folder in _class_folders(path)
        for file in sorted((path / folder).rglob("*"))
        if file.suffix.lower() in ENDINGS and file.is_file()
    ]
    if not files:
        raise DataError(
            f"{path} has no images. Put them in one folder per class; known endings: "
            f"{', '.join(ENDINGS)}."
        )
    targets = torch.tensor([target for _, target in files])
    return Split(name, FileSource(path, tuple(file for file, _ in files), targets, intake))
