"""EfficientNet-Lite0: parameters, names, TensorFlow's padding, and its accuracy on real images."""

import csv
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import hwflow as hf
from hwflow.data.intake import intake
from hwflow.data.sources import FileSource
from hwflow.data.split import Split
from hwflow.models.efficientnet_lite import EfficientNetLite0, same
from hwflow.quality.accuracy import evaluate
from hwflow.quality.metrics import TopK

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
WEIGHTS = SHARED / "weights" / "imagenet_efficientnet_lite0.safetensors"
IMAGENETTE = SHARED / "imagenette"
shared = pytest.mark.skipif(not WEIGHTS.is_file(), reason="the shared data folder is not there")


@pytest.fixture(scope="module")
def module() -> EfficientNetLite0:
    return EfficientNetLite0().eval()


def test_parameters_are_those_of_the_release(module: EfficientNetLite0) -> None:
    assert sum(p.numel() for p in module.parameters()) == 4_652_008


@pytest.mark.shared
@shared
def test_names_and_shapes_are_those_of_the_weights_file(module: EfficientNetLite0) -> None:
    from safetensors import safe_open

    with safe_open(WEIGHTS, "pt") as file:
        there = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    assert there == {key: tuple(value.shape) for key, value in module.state_dict().items()}


def test_norms_are_tensorflows(module: EfficientNetLite0) -> None:
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_there_is_no_squeeze_and_excitation_and_one_pooling(module: EfficientNetLite0) -> None:
    pools = [part for part in module.modules() if isinstance(part, nn.AdaptiveAvgPool2d)]
    assert len(pools) == 1
    assert not any(isinstance(part, nn.SiLU | nn.Sigmoid) for part in module.modules())


def test_classes_and_channels_can_be_chosen() -> None:
    module = EfficientNetLite0(num_classes=7, in_channels=1).eval()
    assert module(torch.zeros(1, 1, 64, 64)).shape == (1, 7)


def tensorflow_same(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    """TensorFlow's rule, written out: the output has ceil(n / stride) pixels, the odd one after."""
    kernel = weight.shape[-1]
    pads = []
    for size in (x.shape[-1], x.shape[-2]):
        out = (size + stride - 1) // stride
        total = max((out - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), weight, stride=stride)


@given(
    height=st.integers(1, 17),
    width=st.integers(1, 17),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
)
@settings(max_examples=60, deadline=None)
def test_padding_is_tensorflows(height: int, width: int, kernel: int, stride: int) -> None:
    padding = kernel // 2 if stride == 1 else 0
    conv = torch.nn.Conv2d(2, 3, kernel, stride, padding, bias=False)
    x = torch.randn(1, 2, height, width)
    with torch.no_grad():
        found = same(conv, x)
        wanted = tensorflow_same(x, conv.weight, stride)
    assert found.shape[-2:] == (-(-height // stride), -(-width // stride))
    torch.testing.assert_close(found, wanted)


def test_preprocessing_is_that_of_the_release() -> None:
    network = hf.load("efficientnet_lite0")
    taken = intake(network)
    pixels = torch.tensor([0, 127, 255], dtype=torch.uint8).repeat(3, 1).T.reshape(1, 1, 3, 3)
    found = taken.inputs(pixels.numpy())[0, 0, 0]
    torch.testing.assert_close(found, (torch.tensor([0.0, 127, 255]) - 127) / 128)
    assert network.preprocess.size == (224, 224)
    assert network.preprocess.crop == 0.875
    assert network.preprocess.interpolation == "bicubic"


@pytest.mark.slow
@pytest.mark.shared
@shared
def test_accuracy_on_true_imagenet_validation_images() -> None:
    network = hf.load("efficientnet_lite0", weights=WEIGHTS)
    rows = csv.DictReader((IMAGENETTE / "labels.csv").read_text().splitlines())
    held_out = [row for row in rows if row["split"] == "holdout"]
    files = tuple(row["file"] for row in held_out)
    targets = torch.tensor([int(row["class_index"]) for row in held_out])
    split = Split("holdout", FileSource(IMAGENETTE, files, targets, intake(network)))
    assert evaluate(network, split, batch_size=50) == pytest.approx(0.696, abs=1e-9)
    assert evaluate(network, split, metric=TopK(5), batch_size=50) == pytest.approx(0.910, abs=1e-9)
