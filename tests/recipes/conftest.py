"""A small network and its data, which every recipe is tried on."""

from __future__ import annotations

import pytest

import hwflow as hf


@pytest.fixture(scope="module")
def net() -> hf.Network:
    return hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8))


@pytest.fixture(scope="module")
def data(net):
    return hf.load_data("digits", net)
