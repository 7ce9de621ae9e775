"""Data of the user's own function: arrays, data sets, loaders, and what is said about others."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_sets import network_for
from torch.utils.data import DataLoader, TensorDataset

from hwflow.data import Data, Split, Stream, load_data
from hwflow.data import own as own_module
from hwflow.data.intake import intake
from hwflow.data.own import own_split
from hwflow.errors import DataError
from hwflow.network import Network

X = torch.randn(20, 3, 6, 5)
Y = torch.arange(20) % 3

SETS = """
import numpy as np, torch
from torch.utils.data import DataLoader, TensorDataset

X, Y = torch.randn(20, 3, 6, 5), torch.arange(20) % 3

def loaders():
    data = TensorDataset(X, Y)
    return {"train": DataLoader(data, batch_size=4, shuffle=True), "val": DataLoader(data, 8)}

def arrays():
    return {"val": (np.zeros((9, 6, 5, 3), np.uint8), np.arange(9) % 3)}

def broken():
    raise KeyError("path")

def odd():
    return {"validation": (X, Y)}

def text():
    return "data"
"""


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the current folder."""
    (tmp_path / "their_sets.py").write_text(SETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "their_sets", raising=False)
    return "their_sets"


def test_loaders_of_a_function(sets: str, colour: Network) -> None:
    data = load_data(f"{sets}:loaders", colour)
    assert data.names == ("train", "val")
    assert isinstance(data.train, Stream)
    assert isinstance(data.val, Split)
    assert len(data.val) == 20
    assert data.calibration(7).shape == (7, 3, 6, 5)


def test_arrays_of_a_function_are_preprocessed(sets: str, colour: Network) -> None:
    assert not load_data(f"{sets}:arrays", colour).val.inputs.any()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("broken", "KeyError: 'path'"),
        ("odd", "train, val, test, not .'validation'"),
        ("text", "not str"),
        ("loader", "Did you mean 'loaders'"),
    ],
)
def test_what_is_wrong_with_a_function_is_said(
    sets: str, colour: Network, function: str, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        load_data(f"{sets}:{function}", colour)


def test_a_function_may_return_a_data_set(colour: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Data("mine", {})
    monkeypatch.setattr(own_module, "find_factory", lambda spec, error: lambda: mine)
    assert load_data("a.b:c", colour) is mine


def test_preprocessed_arrays_are_taken_as_they_are(colour: Network) -> None:
    split = own_split("val", (X.numpy(), Y.numpy()), intake(colour))
    assert torch.equal(split.inputs, X)
    assert isinstance(split, Split)
    assert torch.equal(split.targets, Y)


def test_a_torch_data_set_is_batched(colour: Network) -> None:
    split = own_split("val", TensorDataset(X, Y), intake(colour))
    assert torch.equal(split.inputs, X)


def test_a_split_is_taken_as_it_is(colour: Network) -> None:
    split = own_split("val", (X, Y), intake(colour))
    assert own_split("val", split, intake(colour)) is split


def test_a_validation_loader_is_read_once(colour: Network) -> None:
    reads = []

    class Loader:
        def __iter__(self) -> object:
            reads.append(1)
            yield X, Y

    split = own_split("val", Loader(), intake(colour))
    for _ in range(3):
        assert sum(len(targets) for _, targets in split) == 20
    assert len(reads) == 1


def test_a_large_loader_stays_a_loader(colour: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_module, "CACHE_BYTES", 1000)
    split = own_split("val", DataLoader(TensorDataset(X, Y), batch_size=4), intake(colour))
    assert isinstance(split, Stream)
    assert sum(len(targets) for _, targets in split) == 20


def test_the_digest_does_not_depend_on_the_order(colour: Network) -> None:
    order = torch.randperm(20)
    taken = intake(colour)
    one = own_split("val", (X, Y), taken)
    assert own_split("val", (X[order], Y[order]), taken).digest == one.digest
    assert own_split("val", (X[order], Y), taken).digest != one.digest


def test_maps_of_targets_are_taken(colour: Network) -> None:
    maps = torch.full((20, 6, 5), 255)
    maps[:, 0] = 1
    assert own_split("val", (X, maps), intake(colour)).targets.shape == (20, 6, 5)


def test_targets_that_are_no_classes_are_taken(colour: Network) -> None:
    split = own_split("val", (X, torch.rand(20)), intake(colour))
    assert split.targets.dtype == torch.float32


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([(X, Y, Y)], "must yield .inputs, targets."),
        ([X], "must yield .inputs, targets."),
        ([{"x": X}], "must yield .inputs, targets."),
        ([(X.long(), Y)], "floating-point inputs"),
        ([(X[0], Y)], "floating-point inputs"),
        ([(X, Y[:3])], "20, 3, 6, 5.* and 3 targets"),
        ([(X[:, :1], Y)], r"shape \(1, 6, 5\), the network takes \(3, 6, 5\)"),
        ([(X, Y + 1)], "a label 3"),
        ([], "no images"),
        ((X, Y[:4]), "20 images, y has 4 labels"),
        (7, "is int"),
    ],
)
def test_what_is_no_data_is_refused(colour: Network, value: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        own_split("val", value, intake(colour))


def test_a_training_loader_is_checked_when_it_is_read(colour: Network) -> None:
    split = own_split("train", [(X, Y + 1)], intake(colour))
    with pytest.raises(DataError, match="'train': there is a label 3"):
        next(iter(split))


def test_uint8_arrays_must_fit_the_network() -> None:
    network = network_for((3, 6, 5), 3)
    value = (np.zeros((9, 7, 7, 3), np.uint8), np.arange(9) % 3)
    with pytest.raises(DataError, match="7x7 pixels"):
        own_split("val", value, intake(network))
