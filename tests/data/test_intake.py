"""From images to inputs: scale, size and crop as torchvision's presets have them; checks."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_sets import network_for
from torch import Tensor, nn
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.functional import InterpolationMode

from hwflow.data.intake import Intake, fit, intake
from hwflow.errors import DataError, ModelError
from hwflow.network import Network, Preprocess

PLAIN = Preprocess((0.0,) * 3, (1.0,) * 3)


def picture(height: int, width: int) -> Image.Image:
    rng = np.random.default_rng(height * 100 + width)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@given(
    height=st.integers(20, 90),
    width=st.integers(20, 90),
    crop=st.sampled_from([16, 24]),
    resize=st.sampled_from([24, 28, 32]),
    bicubic=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_resizing_and_cropping_are_torchvisions(
    height: int, width: int, crop: int, resize: int, bicubic: bool
) -> None:
    assume((height, width) != (crop, crop))  # such an image is taken whole, see Preprocess.size
    mode = InterpolationMode.BICUBIC if bicubic else InterpolationMode.BILINEAR
    preset = ImageClassification(crop_size=crop, resize_size=resize, interpolation=mode)
    mean, std = tuple(preset.mean), tuple(preset.std)
    wanted = Preprocess(
        mean, std, size=(crop, crop), crop=crop / resize,
        interpolation="bicubic" if bicubic else "bilinear",
    )  # fmt: skip
    image = picture(height, width)
    pixels = np.asarray(fit(image, wanted))[None]
    found = Intake((3, crop, crop), wanted).inputs(pixels)[0]
    torch.testing.assert_close(found, preset(image), rtol=1e-5, atol=1e-5)


def test_an_image_of_the_right_size_is_taken_whole() -> None:
    image = picture(24, 24)
    assert fit(image, Preprocess(size=(24, 24), crop=0.5)) is image


def test_without_a_size_images_stay_as_they_are() -> None:
    image = picture(24, 31)
    assert fit(image, Preprocess()) is image


@given(st.integers(4, 60), st.integers(4, 60), st.integers(2, 30), st.integers(2, 30))
@settings(max_examples=50, deadline=None)
def test_the_crop_has_the_size_asked_for(height: int, width: int, rows: int, columns: int) -> None:
    out = fit(picture(height, width), Preprocess(size=(rows, columns)))
    assert out.size == (columns, rows)


@given(st.floats(1, 300), st.floats(-1, 1), st.floats(0.1, 3))
@settings(deadline=None)
def test_inputs_follow_the_formula(scale: float, mean: float, std: float) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    wanted = Preprocess((mean,) * 3, (std,) * 3, scale=scale)
    found = Intake((3, 2, 4), wanted).inputs(pixels).numpy()
    formula = (pixels.transpose(0, 3, 1, 2) / scale - mean) / std
    np.testing.assert_allclose(found, formula, rtol=1e-4, atol=1e-4)


def test_images_that_may_not_be_written_are_read() -> None:
    pixels = np.full((1, 4, 4, 3), 255, np.uint8)
    pixels.flags.writeable = False
    assert bool((Intake((3, 4, 4), PLAIN).inputs(pixels[:, ::-1]) == 1).all())


def test_inputs_lie_channels_last_in_memory() -> None:
    found = Intake((3, 4, 4), PLAIN).inputs(np.zeros((2, 4, 4, 3), np.uint8))
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)


class Answers(nn.Module):
    """A module that returns what it is told."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> object:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "classes"),
    [
        (torch.zeros(1, 7), 7),
        (torch.zeros(1, 21, 4, 4), 21),
        ({"out": torch.zeros(1, 5, 4, 4), "aux": torch.zeros(1, 9, 4, 4)}, 5),
        (torch.zeros(1), None),
        ("nothing", None),
    ],
)
def test_classes_are_read_off_the_output(answer: object, classes: int | None) -> None:
    network = Network("answers", Answers(answer), torch.zeros(1, 3, 4, 4), PLAIN)
    assert intake(network).classes == classes


def test_counting_the_classes_leaves_the_mode_as_it_was() -> None:
    network = network_for((3, 4, 4), 2)
    network.module.train()
    intake(network)
    assert network.module.training


def test_a_network_that_cannot_take_its_input_says_so() -> None:
    network = Network("odd", nn.Linear(9, 2), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ModelError, match=r"odd cannot run on .*\(1, 3, 4, 4\)"):
        intake(network)


@pytest.mark.parametrize("values", [[], [0, 1, 2], [2]])
def test_labels_within_the_classes_pass(values: list[int]) -> None:
    Intake((3, 4, 4), PLAIN, classes=3).check_targets(torch.tensor(values).long(), "here")


def test_labels_are_not_checked_where_there_are_no_classes() -> None:
    Intake((3, 4, 4), PLAIN).check_targets(torch.tensor([99]), "here")
    Intake((3, 4, 4), PLAIN, classes=3).check_targets(torch.tensor([99.5]), "here")


def test_maps_of_labels_may_leave_pixels_out() -> None:
    taken = Intake((3, 4, 4), PLAIN, classes=3)
    taken.check_targets(torch.tensor([[[0, 255], [2, 1]]]), "here")
    with pytest.raises(DataError, match="here: there is a label 3"):
        taken.check_targets(torch.tensor([[[0, 255], [3, 1]]]), "here")
    with pytest.raises(DataError, match="a label 255"):
        taken.check_targets(torch.tensor([0, 255]), "here")


def test_the_digest_is_that_of_shape_and_preprocessing() -> None:
    one = Intake((3, 4, 4), PLAIN, classes=3)
    assert one.digest() == Intake((3, 4, 4), PLAIN).digest()
    assert one.digest() != Intake((3, 4, 5), PLAIN).digest()
    assert one.digest() != Intake((3, 4, 4), Preprocess()).digest() or Preprocess() == PLAIN
