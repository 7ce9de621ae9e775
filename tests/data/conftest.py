"""Small networks and small data sets on disk, as fixtures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_sets import CLASSES, network_for

from hwflow.network import Network, Preprocess


@pytest.fixture
def colour() -> Network:
    """Takes RGB images of 6 x 5 pixels, 3 classes, and scales them to [0, 1]."""
    preprocess = Preprocess((0.0,) * 3, (1.0,) * 3)
    return network_for((3, 6, 5), 3, preprocess)


@pytest.fixture
def grey() -> Network:
    """Takes grey images of 8 x 8 pixels, 10 classes."""
    return network_for((1, 8, 8), 10, Preprocess((0.5,), (0.5,)))


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    """60 random RGB images of 6 x 5 pixels with labels 0, 1, 2 in turn."""
    images = np.random.default_rng(0).integers(0, 256, (60, 6, 5, 3), dtype=np.uint8)
    return images, np.arange(60) % 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image folder: train, val and test with 4, 2 and 1 images of each of three classes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2), ("test", 1)):
        for name in CLASSES:
            place = tmp_path / "pets" / split / name
            place.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{index}.png")
    return tmp_path / "pets"
