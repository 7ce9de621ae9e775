"""Splits that share images are refused, and the message says which and what to do."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from small_sets import network_for
from torch.utils.data import DataLoader, Subset, SubsetRandomSampler, TensorDataset

from hwflow.data import Data, Split, load_data
from hwflow.data import overlap as overlap_module
from hwflow.data.intake import intake
from hwflow.data.own import own_split
from hwflow.data.sources import ArraySource, DatasetSource
from hwflow.errors import DataError
from hwflow.network import Network

Arrays = tuple[np.ndarray, np.ndarray]
Lists = dict[str, list[int]]


def save_lists(path: Path, arrays: Arrays, lists: Lists) -> Path:
    np.savez(path, x=arrays[0], y=arrays[1], **{k: np.array(v) for k, v in lists.items()})
    return path


def save_folder(path: Path, **splits: np.ndarray) -> Path:
    path.mkdir()
    for name, images in splits.items():
        np.savez(path / f"{name}.npz", x=images, y=np.arange(len(images)) % 3)
    return path


def refusal(data: Data) -> str:
    with pytest.raises(DataError) as caught:
        data.check_disjoint()
    return str(caught.value)


def own(splits: dict[str, object], network: Network) -> Data:
    """Return a data set as a user's function gives it."""
    wanted = intake(network)
    return Data("mine", {k: (lambda k=k, v=v: own_split(k, v, wanted)) for k, v in splits.items()})


def test_index_arrays_say_what_is_in_which_split(
    tmp_path: Path, colour: Network, arrays: Arrays
) -> None:
    lists: Lists = {"train": list(range(0, 50)), "val": [59, 50, 51], "test": [52, 53]}
    data = load_data(save_lists(tmp_path / "set.npz", arrays, lists), colour)
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [50, 3, 2]
    assert data.val.targets.tolist() == arrays[1][[59, 50, 51]].tolist()
    data.check_disjoint()


def test_a_file_of_two_index_arrays_has_two_splits(
    tmp_path: Path, colour: Network, arrays: Arrays
) -> None:
    path = save_lists(tmp_path / "set.npz", arrays, {"train": [0, 1, 2], "val": [3, 4]})
    assert load_data(path, colour).names == ("train", "val")


def test_index_arrays_that_overlap_are_refused_with_the_first_indices(
    tmp_path: Path, colour: Network, arrays: Arrays
) -> None:
    lists: Lists = {"train": list(range(40)), "val": [45, 39, 33, 34, 35, 36, 37], "test": [50]}
    with pytest.raises(DataError) as caught:
        load_data(save_lists(tmp_path / "set.npz", arrays, lists), colour)
    assert str(caught.value) == (
        f"Data set '{tmp_path / 'set.npz'}': 6 of the 7 images of 'val' are in 'train' too (known "
        "by index): index 33, index 34, index 35, index 36, index 37, .... A search would be led "
        "by images that the network was trained on. Take them out of 'val'."
    )


@pytest.mark.parametrize(
    ("val", "message"),
    [([3, 60], "val names image 60, the images are 0 to 59"), ([-1], "names image -1")],
)
def test_index_arrays_beyond_the_images_are_refused(
    tmp_path: Path, colour: Network, arrays: Arrays, val: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_data(save_lists(tmp_path / "set.npz", arrays, {"val": val}), colour)


def test_masks_are_no_index_arrays(tmp_path: Path, colour: Network, arrays: Arrays) -> None:
    np.savez(tmp_path / "set.npz", x=arrays[0], y=arrays[1], val=np.ones(60, bool))
    with pytest.raises(DataError, match="flatnonzero"):
        load_data(tmp_path / "set.npz", colour)


def test_equal_images_of_two_files_are_refused(
    tmp_path: Path, colour: Network, arrays: Arrays
) -> None:
    images = arrays[0]
    root = save_folder(tmp_path / "set", train=images[:40], val=images[38:50], test=images[50:])
    said = refusal(load_data(root, colour))
    assert "2 of the 12 images of 'val' are in 'train' too (known by content)" in said
    assert "val image 0 is train image 38, val image 1 is train image 39. " in said
    assert "Take them out of 'val'" in said


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ((0, 40, 5), "images of 'test' are in 'train' too"),
        ((0, 40, 45), "search has chosen by. Take them out of 'val'"),
    ],
)
def test_the_test_split_must_share_nothing_either(
    tmp_path: Path, colour: Network, arrays: Arrays, starts: tuple[int, ...], message: str
) -> None:
    parts = [arrays[0][start : start + 10] for start in starts]
    root = save_folder(tmp_path / "set", train=parts[0], val=parts[1], test=parts[2])
    assert message in refusal(load_data(root, colour))


def test_a_few_equal_images_of_many_pass() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4000, 2, 2, 3), dtype=np.uint8)
    wanted = intake(network_for((3, 2, 2), 3))

    def split(name: str, rows: np.ndarray) -> Split:
        return Split(name, ArraySource(rows, torch.zeros(len(rows), dtype=torch.int64), wanted))

    def data(shared: int) -> Data:
        train, val = images[: 2000 + shared], images[2000:]
        return Data("large", {"train": lambda: split("train", train),
                              "val": lambda: split("val", val)})  # fmt: skip

    data(2).check_disjoint()
    assert "3 of the 2,000 images" in refusal(data(3))


def test_folders_without_common_images_pass(folder: Path, colour: Network) -> None:
    load_data(folder, colour).check_disjoint()


def test_links_to_one_image_file_are_refused(folder: Path, colour: Network) -> None:
    (folder / "val" / "ant" / "same.png").symlink_to(folder / "train" / "ant" / "1.png")
    os.link(folder / "train" / "cat" / "0.png", folder / "val" / "cat" / "hard.png")
    said = refusal(load_data(folder, colour))
    assert "2 of the 8 images of 'val' are in 'train' too (known by file)" in said
    assert "val/ant/same.png is train/ant/1.png, val/cat/hard.png is train/cat/0.png" in said


def test_copies_of_an_image_file_are_refused(folder: Path, colour: Network) -> None:
    copied = (folder / "val" / "bee" / "0.png").read_bytes()
    (folder / "test" / "bee" / "renamed.png").write_bytes(copied)
    said = refusal(load_data(folder, colour))
    assert "1 of the 4 images of 'test' are in 'val' too (known by content)" in said
    assert "test/bee/renamed.png is val/bee/0.png" in said


def test_of_large_folders_only_so_many_bytes_are_read(
    folder: Path, colour: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = (folder / "val" / "bee" / "0.png").read_bytes()
    (folder / "test" / "bee" / "renamed.png").write_bytes(copied)
    monkeypatch.setattr(overlap_module, "COMPARED_BYTES", -1)
    load_data(folder, colour).check_disjoint()


def test_subsets_of_one_set_are_compared_by_index(colour: Network) -> None:
    whole = TensorDataset(torch.randn(20, 3, 6, 5), torch.arange(20) % 3)
    even = Subset(whole, range(0, 20, 2))
    splits = {"train": Subset(whole, range(12)), "val": Subset(even, [5, 6, 7])}  # 10, 12, 14
    said = refusal(own(splits, colour))
    assert "1 of the 3 images of 'val' are in 'train' too (known by index): index 10. " in said
    own(splits | {"train": Subset(whole, range(10))}, colour).check_disjoint()


def test_loaders_are_compared_by_the_indices_of_their_samplers(colour: Network) -> None:
    whole = TensorDataset(torch.randn(20, 3, 6, 5), torch.arange(20) % 3)

    def loader(indices: range) -> DataLoader[object]:
        return DataLoader(whole, 4, sampler=SubsetRandomSampler(indices))

    own({"train": loader(range(10)), "val": loader(range(10, 20))}, colour).check_disjoint()
    said = refusal(own({"train": loader(range(12)), "val": loader(range(10, 20))}, colour))
    assert "index 10, index 11. " in said


class Opened(TensorDataset):
    """A set that is opened by root and flag, as torchvision's are."""

    def __init__(self, train: bool) -> None:
        super().__init__(torch.randn(20, 3, 6, 5), torch.arange(20) % 3)
        self.root, self.train = "data", train


def test_a_set_that_is_opened_twice_is_one_set(colour: Network) -> None:
    first, second = Subset(Opened(True), range(12)), Subset(Opened(True), range(11, 20))
    assert "index 11. " in refusal(own({"train": first, "val": second}, colour))
    other = Subset(Opened(False), range(11, 20))
    own({"train": first, "val": other}, colour).check_disjoint()


def test_arrays_in_memory_are_compared_by_content(colour: Network, arrays: Arrays) -> None:
    x, y = arrays
    said = refusal(own({"train": (x[:30], y[:30]), "val": (x[29:], y[29:])}, colour))
    assert "val image 0 is train image 29. " in said


def test_items_of_one_data_set_are_compared_by_index(colour: Network) -> None:
    targets, wanted, images = torch.arange(9) % 3, intake(colour), [None] * 9

    def split(name: str, items: tuple[int, ...]) -> Split:
        return Split(name, DatasetSource(images, items, targets, wanted, "set"))

    data = Data(
        "set", {"train": lambda: split("train", (0, 1, 2)), "val": lambda: split("val", (2,))}
    )
    assert "index 2. " in refusal(data)


def test_splits_that_were_not_asked_for_are_not_kept(folder: Path, colour: Network) -> None:
    data = load_data(folder, colour)
    kept = data.val
    data.check_disjoint()
    assert data._made == {"val": kept}
