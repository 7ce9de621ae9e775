"""Data sets of arrays: .npz files, how one file is cut, and the digits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_sets import network_for

import hwflow as hf
from hwflow.data import load_data
from hwflow.data.arrays import cut
from hwflow.errors import DataError
from hwflow.network import Network

Arrays = tuple[np.ndarray, np.ndarray]


def save(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    np.savez(path, x=images, y=labels)
    return path


@given(st.lists(st.integers(0, 4), max_size=200), st.integers(0, 3))
def test_the_cut_gives_every_image_to_one_split(values: list[int], seed: int) -> None:
    parts = cut(torch.tensor(values, dtype=torch.int64), seed)
    together = np.concatenate(list(parts.values()))
    assert sorted(together) == list(range(len(values)))
    assert set(parts) == {"train", "val", "test"}


@given(st.integers(1, 40), st.integers(2, 5))
def test_the_cut_keeps_the_classes_in_proportion(tens: int, classes: int) -> None:
    targets = torch.arange(classes).repeat(10 * tens)
    parts = cut(targets)
    for name, share in (("train", 8), ("val", 1), ("test", 1)):
        counts = np.bincount(targets.numpy()[parts[name]], minlength=classes)
        assert set(counts) == {share * tens}


def test_the_cut_is_a_matter_of_labels_and_seed() -> None:
    targets = torch.arange(5).repeat(20)
    assert all(np.array_equal(cut(targets)[k], v) for k, v in cut(targets).items())
    assert not np.array_equal(cut(targets)["val"], cut(targets, seed=1)["val"])


def test_one_file_is_cut(tmp_path: Path, colour: Network, arrays: Arrays) -> None:
    data = load_data(save(tmp_path / "set.npz", *arrays), colour)
    assert [len(data.split(name)) for name in data.names] == [48, 6, 6]
    wanted = cut(torch.from_numpy(arrays[1]))["val"]
    scaled = arrays[0][wanted].transpose(0, 3, 1, 2) / np.float32(255)
    np.testing.assert_allclose(data.val.inputs.numpy(), scaled, rtol=1e-6)
    assert data.val.targets.tolist() == arrays[1][wanted].tolist()


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_a_folder_holds_one_file_per_split(
    tmp_path: Path, colour: Network, arrays: Arrays, validation: str
) -> None:
    images, labels = arrays
    save(tmp_path / "train.npz", images[:40], labels[:40])
    save(tmp_path / f"{validation}.npz", images[40:50], labels[40:50])
    save(tmp_path / "test.npz", images[50:], labels[50:])
    data = load_data(tmp_path, colour)
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [40, 10, 10]
    assert data.test.targets.tolist() == labels[50:].tolist()


def test_splits_are_read_when_they_are_asked_for(
    tmp_path: Path, colour: Network, arrays: Arrays
) -> None:
    save(tmp_path / "val.npz", *arrays)
    (tmp_path / "test.npz").write_bytes(b"broken")
    data = load_data(tmp_path, colour)
    assert len(data.val) == 60
    with pytest.raises(DataError, match=r"test\.npz"):
        _ = data.test


def test_a_missing_split_is_named(tmp_path: Path, colour: Network, arrays: Arrays) -> None:
    save(tmp_path / "val.npz", *arrays)
    data = load_data(tmp_path, colour)
    with pytest.raises(DataError, match=r"no split 'train' \(it has: val\)"):
        _ = data.train
    with pytest.raises(DataError, match="no split 'train'"):
        data.calibration()


def test_grey_images_may_lack_the_axis_of_channels(tmp_path: Path) -> None:
    images = np.full((20, 4, 4), 255, np.uint8)
    network = network_for((1, 4, 4), 2)
    with pytest.raises(DataError):  # the default preprocessing is for three channels
        load_data(save(tmp_path / "x.npz", images[:0], np.zeros(0, int)), network)
    one = hf.Preprocess((0.0,), (1.0,))
    data = load_data(
        save(tmp_path / "grey.npz", images, np.arange(20) % 2), network_for((1, 4, 4), 2, one)
    )
    assert data.val.inputs.shape == (2, 1, 4, 4)
    assert bool((data.val.inputs == 1).all())


def images(*shape: int, kind: type = np.uint8) -> np.ndarray:
    return np.zeros(shape, kind)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (images(0, 6, 5, 3), images(0, kind=int), "no images"),
        (images(9, 6, 5, 1), images(9, kind=int), "1 channel, the network takes 3"),
        (images(9, 6, 5), images(9, kind=int), "1 channel, the network takes 3"),
        (images(9, 7, 5, 3), images(9, kind=int), "7x5 pixels, the network takes 6x5"),
        (images(9, 3, 6, 5), images(9, kind=int), "5 channels, the network takes 3"),
        (images(9, 6, 5, 3, kind=float), images(9, kind=int), "must be uint8 .* not float64"),
        (images(9, 90), images(9, kind=int), r"must be uint8 of shape .* not uint8 .*\(9, 90\)"),
        (images(9, 6, 5, 3), images(8, kind=int), "9 images, y has 8 labels"),
        (images(9, 6, 5, 3), images(9, kind=float), "whole numbers .* not float64"),
        (images(9, 6, 5, 3), images(9, 1, kind=int), r"shape \(N,\), not int64 of shape \(9, 1\)"),
        (images(9, 6, 5, 3), images(9, kind=int) + 3, "a label 3, .* classes 0 to 2"),
        (images(9, 6, 5, 3), images(9, kind=int) - 1, "a label -1"),
    ],
)
def test_what_is_wrong_with_arrays_is_said(
    tmp_path: Path, colour: Network, x: np.ndarray, y: np.ndarray, words: str
) -> None:
    path = save(tmp_path / "bad.npz", x, y)
    with pytest.raises(DataError, match=words) as error:
        load_data(path, colour)
    assert "bad.npz" in str(error.value)


def test_the_advice_for_another_size_is_the_option_that_mends_it(
    tmp_path: Path, colour: Network
) -> None:
    path = save(tmp_path / "wide.npz", images(9, 8, 7, 1), images(9, kind=int))
    with pytest.raises(DataError, match="--input 1x8x7"):
        load_data(path, colour)


def test_missing_arrays_are_named(tmp_path: Path, colour: Network) -> None:
    np.savez(tmp_path / "set.npz", images=images(9, 6, 5, 3), y=images(9, kind=int))
    with pytest.raises(DataError, match=r"no array 'x' \(it has: images, y\)"):
        load_data(tmp_path / "set.npz", colour)


def test_pickled_arrays_are_not_opened(tmp_path: Path, colour: Network) -> None:
    np.savez(tmp_path / "set.npz", x=np.array([{"a": 1}], object), y=images(1, kind=int))
    with pytest.raises(DataError, match=r"set\.npz.*allow_pickle"):
        load_data(tmp_path / "set.npz", colour)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_refused(
    tmp_path: Path, colour: Network, arrays: Arrays, keep: float
) -> None:
    path = save(tmp_path / "set.npz", *arrays)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    with pytest.raises(DataError, match=r"Cannot read .*set\.npz"):
        load_data(path, colour)


def test_a_garbled_file_is_refused(tmp_path: Path, colour: Network) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 6, 5, 3), dtype=np.uint8)
    np.savez_compressed(tmp_path / "set.npz", x=images, y=np.arange(60) % 3)
    whole = bytearray((tmp_path / "set.npz").read_bytes())
    whole[400:600] = b"\xff" * 200
    (tmp_path / "set.npz").write_bytes(bytes(whole))
    with pytest.raises(DataError, match=r"Cannot read .*set\.npz"):
        load_data(tmp_path / "set.npz", colour)


def test_digits_are_seventeen_hundred_in_three_splits(grey: Network) -> None:
    data = load_data("digits", grey)
    assert [len(data.split(name)) for name in data.names] == [1437, 180, 180]
    assert data.train.inputs.shape == (1437, 1, 8, 8)
    for name in data.names:
        assert set(data.split(name).targets.tolist()) == set(range(10))


def test_digits_keep_their_seventeen_grey_levels(grey: Network) -> None:
    inputs = load_data("digits", grey).train.inputs
    assert len(inputs.unique()) == 17
    assert float(inputs.min()) == -1
    assert float(inputs.max()) == 1


def test_digits_are_enlarged_for_larger_inputs() -> None:
    network = network_for((1, 16, 16), 10, hf.Preprocess((0.5,), (0.5,)))
    assert load_data("digits", network).val.inputs.shape == (180, 1, 16, 16)


def test_digits_do_not_fit_a_colour_network(colour: Network) -> None:
    with pytest.raises(DataError, match="1 channel, the network takes 3"):
        load_data("digits", colour)


def test_digits_do_not_fit_fewer_classes() -> None:
    network = network_for((1, 8, 8), 5, hf.Preprocess((0.5,), (0.5,)))
    with pytest.raises(DataError, match="a label 9"):
        load_data("digits", network)


def test_the_digest_is_that_of_content_and_preprocessing(
    tmp_path: Path, colour: Network, arrays: Arrays
) -> None:
    path = save(tmp_path / "set.npz", *arrays)
    digest = load_data(path, colour).val.digest
    assert load_data(path, colour).val.digest == digest
    assert load_data(path, colour).test.digest != digest
    other = network_for((3, 6, 5), 3, hf.Preprocess((0.1,) * 3, (1.0,) * 3))
    assert load_data(path, other).val.digest != digest
    flipped = save(tmp_path / "flipped.npz", arrays[0][:, ::-1], arrays[1])
    assert load_data(flipped, colour).val.digest != digest


def test_the_digest_sees_a_changed_label(tmp_path: Path, colour: Network, arrays: Arrays) -> None:
    save(tmp_path / "val.npz", *arrays)
    digest = load_data(tmp_path, colour).val.digest
    arrays[1][0] = 2
    save(tmp_path / "val.npz", *arrays)
    assert load_data(tmp_path, colour).val.digest != digest
