"""Unpack CIFAR-10 (JPEG q75) into train.npz, val.npz and test.npz, which hwflow reads.

    python benchmarks/unpack_cifar10_jpeg.py SHARED_DIR OUT_DIR

SHARED_DIR holds (or is) cifar10-jpeg/ with train_0.npz, train_1.npz and test.npz: JPEG streams.
Each file written has `x`, uint8 (N, 32, 32, 3), and `y`, the class numbers. The splits are the
project's: train, all 50,000 training images; val, test images 0 to 1,999; test, the other 8,000.
(The pretrained weights have seen every training image, so a slice of those would validate nothing.)

A file is there whole or not at all; files that are there already, from the same source, are kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

PARTS = ("train_0.npz", "train_1.npz", "test.npz")
VALIDATION = 2000
RECORD = "unpacked.json"
"""What OUT_DIR was unpacked from: the digests of the source's files."""

Arrays = tuple[np.ndarray, np.ndarray]


def decode(path: Path) -> Arrays:
    """Return images (N, 32, 32, 3) and labels of one file of JPEG streams."""
    with np.load(path) as packed:
        stream, offsets = packed["jpeg"].tobytes(), packed["offsets"]
        labels = packed["labels"].astype(np.int64)
    images = [
        np.asarray(Image.open(io.BytesIO(stream[start:stop])).convert("RGB"))
        for start, stop in pairwise(offsets)
    ]
    return np.stack(images), labels


def splits(source: Path) -> dict[str, Arrays]:
    """Return the project's splits of the unpacked source."""
    halves = [decode(source / name) for name in PARTS[:2]]
    train = tuple(np.concatenate(arrays) for arrays in zip(*halves, strict=True))
    images, labels = decode(source / PARTS[2])
    return {
        "train": (train[0], train[1]),
        "val": (images[:VALIDATION], labels[:VALIDATION]),
        "test": (images[VALIDATION:], labels[VALIDATION:]),
    }


def find_source(folder: Path) -> Path:
    """Return the folder with the JPEG streams; leave the program if there is none."""
    for candidate in (folder / "cifar10-jpeg", folder):
        if all((candidate / name).is_file() for name in PARTS):
            return candidate
    sys.exit(f"{folder} holds no cifar10-jpeg: expected the files {', '.join(PARTS)}.")


def refuse_inside_git(out: Path) -> None:
    """Leave the program if `out` lies in a git checkout: 180 MB do not belong there."""
    for folder in (out, *out.parents):
        if (folder / ".git").exists():
            sys.exit(f"{out} lies inside the git checkout {folder}. Choose a folder outside it.")


def write(path: Path, arrays: Arrays) -> None:
    """Write a file under another name, then rename it, so that it is never there in part."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, x=arrays[0], y=arrays[1])
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def digests(source: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of the source."""
    return {name: hashlib.sha256((source / name).read_bytes()).hexdigest() for name in PARTS}


def is_done(out: Path, wanted: dict[str, str]) -> bool:
    """Whether `out` was unpacked from this source before."""
    record = out / RECORD
    files = [out / f"{name}.npz" for name in ("train", "val", "test")]
    if not record.is_file() or not all(file.is_file() for file in files):
        return False
    return bool(json.loads(record.read_text()) == wanted)


def unpack(shared: Path, out: Path) -> None:
    """Unpack into `out`, unless that has been done."""
    refuse_inside_git(out)
    source = find_source(shared)
    wanted = digests(source)
    if is_done(out, wanted):
        print(f"{out} is unpacked already.")
        return
    out.mkdir(parents=True, exist_ok=True)
    (out / RECORD).unlink(missing_ok=True)
    for name, arrays in splits(source).items():
        write(out / f"{name}.npz", arrays)
        print(f"{out / name}.npz: {len(arrays[1])} images")
    part = out / f"{RECORD}.part"
    part.write_text(json.dumps(wanted, indent=2))
    part.replace(out / RECORD)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("Usage: python benchmarks/unpack_cifar10_jpeg.py SHARED_DIR OUT_DIR")
    unpack(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
