from __future__ import annotations

import onnx
import pytest
from measured_fakes import fake_device, fake_measuring

import hwflow as hf
from hwflow.build import time_file
from hwflow.costs.measured.files import measure
from hwflow.costs.measured.networks import whole_network
from hwflow.costs.measured.staircase import layer_of, of_times, staircase, with_channels
from hwflow.errors import HwflowError
from hwflow.extract import extract


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name in ("resnet8", "resnet20"):
        workload = extract(hf.load(f"cifar:{name}", input_shape=(3, 8, 8)))
        onnx.save(whole_network(workload), folder / f"{name}.onnx")
    return folder


def test_a_slower_file_is_flagged_and_a_faster_one_is_not(files, tmp_path):
    small, large = files / "resnet8.onnx", files / "resnet20.onnx"
    slower = measure(large, small, fake_device(tmp_path), fake_measuring())
    assert slower.faster is False
    assert any(
        text.startswith("NO SPEED-UP: resnet20.onnx is slower") for text in slower.sentences()
    )
    faster = measure(small, large, fake_device(tmp_path), fake_measuring())
    assert faster.faster is True
    assert faster.speedup.value == pytest.approx(1 / slower.speedup.value)
    assert not any("NO SPEED-UP" in text for text in faster.sentences())


def test_a_file_held_against_itself_is_no_speedup(files, tmp_path):
    same = measure(files / "resnet8.onnx", files / "resnet8.onnx", fake_device(tmp_path),
                   fake_measuring())  # fmt: skip
    assert same.faster is False
    assert "not measurably faster" in same.sentences()[0]


def test_build_holds_a_file_against_the_unedited_network(files, tmp_path):
    network = hf.load("cifar:resnet8", input_shape=(3, 8, 8))
    found = time_file(network, files / "resnet20.onnx", tmp_path, fake_measuring())
    assert found.faster is False
    assert found.against.name == "original.onnx"
    assert found.to_json()["notes"][0].startswith("NO SPEED-UP")


def test_times_are_really_taken_by_onnx_runtime(files, tmp_path):
    from hwflow.costs.measured.fill import Measuring
    from hwflow.costs.measured.timing import Repetitions

    found = measure(files / "resnet8.onnx", None, fake_device(tmp_path),
                    Measuring(Repetitions(3, turn_s=0)))  # fmt: skip
    assert found.file.latency_s > 0
    assert found.faster is None
    assert found.device["runtime"].startswith("onnxruntime")


@pytest.mark.parametrize("name", ["missing.onnx", "table.csv"])
def test_what_is_no_onnx_file_is_refused(name, tmp_path):
    with pytest.raises(HwflowError, match=name):
        measure(tmp_path / name, None, fake_device(tmp_path), fake_measuring())


@pytest.mark.parametrize("step", [2, 4, 8, 16])
def test_the_step_of_a_staircase_is_found(step):
    channels = range(8, 73)
    times = [1e-6 * (-(-count // step) * step) for count in channels]
    found = of_times(channels, times)
    assert found.step == step


def test_a_straight_line_has_no_step():
    channels = list(range(8, 73))
    assert of_times(channels, [1e-6 * count + 1e-5 for count in channels]).step == 1


def test_a_found_step_is_the_pruning_step_of_the_device(tmp_path):
    from hwflow.edits.prune import channel_step

    device = fake_device(tmp_path)
    with pytest.raises(HwflowError, match="--staircase"):
        channel_step(device)
    found = staircase(layer_of("conv:4@4"), device, fake_measuring(), most=12)
    assert channel_step(device) == found.step


@pytest.mark.parametrize("spec", ["conv", "conv:0", "pool:3", "conv:64x"])
def test_a_staircase_of_no_layer_is_refused(spec):
    with pytest.raises(HwflowError, match="conv:64@28x3"):
        layer_of(spec)


def test_a_depthwise_layer_keeps_one_filter_per_channel():
    layer = with_channels(layer_of("depthwise:64"), 24)
    assert (layer.groups, layer.in_channels, layer.out_channels) == (24, 24, 24)
    assert layer.in_shapes[0] == layer.out_shape
