"""torchvision's data sets by name, from files laid down as a download would leave them."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_sets import network_for

from hwflow.data import load_data
from hwflow.data import torchvision_sets as sets_module
from hwflow.data.arrays import cut
from hwflow.errors import DataError
from hwflow.network import Network, Preprocess

GREY = Preprocess((0.0,), (1.0,))
COLOUR = Preprocess((0.0,) * 3, (1.0,) * 3)


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write an array in the format of MNIST."""
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(head + values.tobytes())


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    """Fashion-MNIST in small: 40 training and 10 test images."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, count in (("train", 40), ("t10k", 10)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(raw / f"{name}-images-idx3-ubyte", images)
        write_idx(raw / f"{name}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))
    return tmp_path


@pytest.fixture
def grey28() -> Network:
    return network_for((1, 28, 28), 10, GREY)


def test_a_set_of_arrays(fashion: Path, grey28: Network) -> None:
    data = load_data("torchvision:FashionMNIST", grey28, root=fashion)
    assert [len(data.split(name)) for name in data.names] == [36, 4, 10]
    assert data.test.inputs.shape == (10, 1, 28, 28)
    assert data.test.targets.tolist() == list(range(10))


def test_validation_is_cut_from_training_and_shares_no_image(
    fashion: Path, grey28: Network
) -> None:
    data = load_data("torchvision:FashionMNIST", grey28, root=fashion)
    train = {image.numpy().tobytes() for image in data.train.inputs}
    val = {image.numpy().tobytes() for image in data.val.inputs}
    assert len(train) == 36
    assert len(val) == 4
    assert not train & val
    assert data.val.targets.tolist() == [int(i) % 10 for i in cut(torch.arange(40) % 10)["val"]]


def test_images_of_another_size_are_refused(fashion: Path) -> None:
    data = load_data("torchvision:FashionMNIST", network_for((1, 8, 8), 10, GREY), root=fashion)
    with pytest.raises(DataError, match=r"FashionMNIST \(val\): the images have 28x28 pixels"):
        _ = data.val


def test_what_is_not_there_is_not_downloaded(
    tmp_path: Path, grey28: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr("torchvision.datasets.utils.urllib.request.urlopen", refuse)
    data = load_data("torchvision:FashionMNIST", grey28, root=tmp_path)
    with pytest.raises(DataError, match=r"Cannot open .*FashionMNIST.*download=True"):
        _ = data.test


def test_an_unknown_set_gets_the_nearest(grey28: Network) -> None:
    with pytest.raises(DataError, match="Did you mean 'FashionMNIST'"):
        load_data("torchvision:FasionMNIST", grey28)


def test_a_set_that_is_no_classification_is_not_known(grey28: Network) -> None:
    with pytest.raises(DataError, match=r"package\.module:function"):
        load_data("torchvision:CocoDetection", grey28)


class Pictures:
    """A set of PIL images without a list of its targets, opened by split="..."."""

    def __init__(self, root: str, split: str = "train", download: bool = False) -> None:
        self.count = {"train": 12, "valid": 6, "test": 3}[split]
        self.download = download

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.new("L", (9, 7), index), index % 3


@pytest.mark.parametrize("listed", [False, True])
def test_a_set_of_pictures(monkeypatch: pytest.MonkeyPatch, listed: bool) -> None:
    kind = type("Listed", (Pictures,), {"_labels": [0, 1, 2, 0, 1, 2]}) if listed else Pictures
    monkeypatch.setattr("torchvision.datasets.Country211", kind)
    network = network_for((3, 7, 9), 3, COLOUR)
    val = load_data("torchvision:Country211", network).val
    assert val.inputs.shape == (6, 3, 7, 9)
    assert val.targets.tolist() == [0, 1, 2, 0, 1, 2]
    np.testing.assert_allclose(val.inputs[4].numpy(), 4 / 255, rtol=1e-6)
    assert val.digest == load_data("torchvision:Country211", network).val.digest
    assert val.digest != load_data("torchvision:Country211", network).test.digest


def test_downloading_is_handed_on_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    class Watched(Pictures):
        def __init__(self, root: str, split: str = "train", download: bool = False) -> None:
            super().__init__(root, split)
            asked.append(download)

    monkeypatch.setattr("torchvision.datasets.Country211", Watched)
    network = network_for((3, 7, 9), 3, COLOUR)
    for download in (True, False):
        _ = load_data("torchvision:Country211", network, download=download).val
    assert asked == [True, False]


def test_labels_beyond_the_classes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.Country211", Pictures)
    with pytest.raises(DataError, match="a label 2"):
        _ = load_data("torchvision:Country211", network_for((3, 7, 9), 2, COLOUR)).val


def test_arrays_with_channels_first_are_turned() -> None:
    class Street:
        data = np.zeros((5, 3, 32, 32), np.uint8)

    found = sets_module._pixels(Street())
    assert found is not None
    assert found.shape == (5, 32, 32, 3)


def test_the_known_sets_are_torchvisions() -> None:
    from torchvision import datasets

    for name in (*sets_module._BY_FLAG, *sets_module._BY_NAME):
        assert hasattr(datasets, name)
