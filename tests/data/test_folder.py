"""Image folders: as torchvision's ImageFolder reads them, and what is said about broken ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_sets import CLASSES, network_for
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from hwflow.data import load_data
from hwflow.errors import DataError
from hwflow.network import Network, Preprocess


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_images_and_labels_are_those_of_torchvision(
    folder: Path, colour: Network, split: str
) -> None:
    found = load_data(folder, colour).split(split)
    theirs = ImageFolder(str(folder / split))
    assert len(found) == len(theirs)
    assert found.targets.tolist() == theirs.targets
    for index, (image, _) in enumerate(theirs):
        np.testing.assert_allclose(found.inputs[index], pil_to_tensor(image) / 255, rtol=1e-6)


def test_validation_may_be_written_in_full(folder: Path, colour: Network) -> None:
    (folder / "val").rename(folder / "validation")
    assert len(load_data(folder, colour).val) == 6


def test_a_class_may_be_missing_from_a_split(folder: Path, colour: Network) -> None:
    shutil.rmtree(folder / "val" / "ant")
    assert load_data(folder, colour).val.targets.tolist() == [1, 1, 2, 2]


def test_images_lie_in_sub_folders_too_and_other_files_are_left(
    folder: Path, colour: Network
) -> None:
    deep = folder / "val" / "bee" / "more"
    deep.mkdir()
    (folder / "val" / "bee" / "0.png").rename(deep / "0.PNG")
    (folder / "val" / "bee" / "notes.txt").write_text("not an image")
    (folder / "val" / ".cache").mkdir()
    assert load_data(folder, colour).val.targets.tolist() == [0, 0, 1, 1, 2, 2]


def test_another_number_of_classes_is_refused(folder: Path) -> None:
    network = network_for((3, 6, 5), 1000, Preprocess((0.0,) * 3, (1.0,) * 3))
    with pytest.raises(DataError, match="3 class folders, the network 1000 classes") as error:
        load_data(folder, network)
    assert "classes.txt" in str(error.value)
    assert "--classes 3" in str(error.value)


def test_a_list_gives_the_networks_own_class_numbers(folder: Path) -> None:
    network = network_for((3, 6, 5), 5, Preprocess((0.0,) * 3, (1.0,) * 3))
    (folder / "classes.txt").write_text("dog\ncat\n\nbee\neel\nant\n")
    data = load_data(folder, network)
    assert data.test.targets.tolist() == [4, 2, 1]


def test_a_folder_that_the_list_lacks_is_named(folder: Path, colour: Network) -> None:
    (folder / "classes.txt").write_text("cat\nbees\nant\n")
    with pytest.raises(DataError, match=r"'bee'.*Did you mean 'bees'"):
        load_data(folder, colour)


def test_a_list_longer_than_the_networks_classes_is_refused(folder: Path, colour: Network) -> None:
    (folder / "classes.txt").write_text("\n".join([*CLASSES, "dog"]))
    with pytest.raises(DataError, match="names 4 classes, the network has 3"):
        load_data(folder, colour)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", None])
def test_an_image_that_cannot_be_read_is_named(
    folder: Path, colour: Network, content: bytes | None
) -> None:
    bad = folder / "val" / "bee" / "1.png"
    bad.write_bytes(bad.read_bytes()[:70] if content is None else content)
    data = load_data(folder, colour)
    with pytest.raises(DataError, match=r"Cannot read the image .*bee/1\.png"):
        _ = data.val.inputs


def test_an_image_of_another_size_is_named(folder: Path, colour: Network) -> None:
    Image.new("RGB", (9, 9)).save(folder / "val" / "cat" / "0.png")
    with pytest.raises(DataError, match=r"cat/0\.png: the images have 9x9 pixels"):
        _ = load_data(folder, colour).val.inputs


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_other_colour_modes_become_rgb(folder: Path, colour: Network, mode: str) -> None:
    ending = "tif" if mode == "CMYK" else "png"
    (folder / "val" / "ant" / "0.png").unlink()
    Image.new(mode, (5, 6)).save(folder / "val" / "ant" / f"0.{ending}")
    assert load_data(folder, colour).val.inputs.shape == (6, 3, 6, 5)


def test_colour_becomes_grey_for_a_grey_network(folder: Path) -> None:
    network = network_for((1, 6, 5), 3, Preprocess((0.0,), (1.0,)))
    found = load_data(folder, network).val.inputs
    with Image.open(folder / "val" / "ant" / "0.png") as image:
        wanted = np.asarray(image.convert("L")) / 255
    np.testing.assert_allclose(found[0, 0], wanted, rtol=1e-6)


def test_image_files_have_no_five_channels(folder: Path) -> None:
    network = network_for((5, 6, 5), 3, Preprocess((0.0,) * 5, (1.0,) * 5))
    with pytest.raises(DataError, match="takes 5 channels; image files have 1, 3 or 4"):
        _ = load_data(folder, network).val.inputs


def test_images_are_resized_where_the_network_says_so(folder: Path) -> None:
    size = Preprocess((0.0,) * 3, (1.0,) * 3, size=(4, 4))
    network = network_for((3, 4, 4), 3, size)
    assert load_data(folder, network).val.inputs.shape == (6, 3, 4, 4)


def test_an_empty_split_has_no_images(folder: Path, colour: Network) -> None:
    for image in (folder / "val").rglob("*.png"):
        image.unlink()
    with pytest.raises(DataError, match="val has no images"):
        _ = load_data(folder, colour).val


def test_a_folder_without_classes_has_no_images(tmp_path: Path, colour: Network) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"no images: expected .*/train/CLASS/IMAGE"):
        load_data(tmp_path, colour)


def test_a_folder_without_splits_says_what_is_expected(tmp_path: Path, colour: Network) -> None:
    (tmp_path / "ant").mkdir()
    with pytest.raises(DataError, match="train, val and test"):
        load_data(tmp_path, colour)


def test_the_digest_sees_files_and_classes(folder: Path, colour: Network) -> None:
    digest = load_data(folder, colour).val.digest
    assert load_data(folder, colour).val.digest == digest
    (folder / "classes.txt").write_text("bee\nant\ncat\n")
    renumbered = load_data(folder, colour).val.digest
    (folder / "classes.txt").unlink()
    Image.new("RGB", (5, 6)).save(folder / "val" / "bee" / "1.png")
    assert len({digest, renumbered, load_data(folder, colour).val.digest}) == 3


def test_the_digest_does_not_depend_on_where_the_folder_lies(
    folder: Path, colour: Network, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "moved")
    assert load_data(tmp_path / "moved", colour).val.digest == load_data(folder, colour).val.digest
