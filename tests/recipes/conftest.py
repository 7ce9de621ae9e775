"""A small network and its data, which every recipe is tried on."""

from __future__ import annotations

import numpy as np
import pytest

import hwflow as hf


@pytest.fixture(scope="module")
def net() -> hf.Network:
    return hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8))


@pytest.fixture(scope="module")
def data(net):
    return hf.load_data("digits", net)


@pytest.fixture
def overlapping(net, tmp_path):
    """Images whose validation split is a part of the training split."""
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    folder = tmp_path / "images"
    folder.mkdir()
    for name, part in (("train", images), ("val", images[:20]), ("test", images[:10])):
        np.savez(folder / f"{name}.npz", x=part, y=np.arange(len(part)) % 10)
    return hf.load_data(str(folder), net)
