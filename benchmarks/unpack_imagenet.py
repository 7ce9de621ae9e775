"""Unpack ImageNet samples and imagenette's held-out images into what hwflow reads.

    python benchmarks/unpack_imagenet.py SHARED_DIR OUT_DIR

SHARED_DIR holds imagenet-samples/ (one image a class) and imagenette/ (500 images of the validation
set, 10 classes). Written are train.npz, the samples of odd classes; val.npz, those of even ones;
test.npz, imagenette's holdout. Each has `x`, uint8 (N, 224, 224, 3), and `y`, the class, 0 to 999.
Samples are cropped in the middle; their short side is 256, as EfficientNet-Lite0 wants them.

The samples are most likely training images of ImageNet: they calibrate and rank, and only the test
split says what a network is worth.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from unpack_cifar10_jpeg import Arrays, refuse_inside_git, write

SIZE = 224


def read(folder: Path, split: str | None) -> Arrays:
    """Return the images of a folder with labels.csv, of one of its splits where it has some."""
    table = folder / "labels.csv"
    if not table.is_file():
        sys.exit(f"{folder} holds no labels.csv. Give the folder above it as SHARED_DIR.")
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if split is None or row["split"] == split]
    images = [middle(Image.open(folder / row["file"]).convert("RGB")) for row in rows]
    return np.stack(images), np.array([int(row["class_index"]) for row in rows], np.int64)


def middle(image: Image.Image) -> np.ndarray:
    """Return the middle of an image, (SIZE, SIZE, 3)."""
    left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
    return np.asarray(image.crop((left, top, left + SIZE, top + SIZE)))


def main(shared: Path, out: Path) -> None:
    """Write the three splits."""
    refuse_inside_git(out)
    out.mkdir(parents=True, exist_ok=True)
    images, classes = read(shared / "imagenet-samples", None)
    splits = {name: (images[classes % 2 == rest], classes[classes % 2 == rest])
              for name, rest in (("train", 1), ("val", 0))}  # fmt: skip
    splits["test"] = read(shared / "imagenette", "holdout")
    for name, arrays in splits.items():
        write(out / f"{name}.npz", arrays)
        print(f"{out / name}.npz: {len(arrays[1])} images")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("Usage: python benchmarks/unpack_imagenet.py SHARED_DIR OUT_DIR")
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
