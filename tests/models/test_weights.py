"""Weights files: formats, wrappers, and the message for every way in which they do not fit."""

import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from hwflow.errors import ModelError
from hwflow.models import load
from hwflow.models.weights import check_finite, read_state

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    """The state of a ResNet-8 with other random weights than the default."""
    return load("cifar:resnet8", seed=5).module.state_dict()


def copied(state: State) -> State:
    return {key: value.clone() for key, value in state.items()}


def write(path: Path, state: State) -> Path:
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth", "w.th"])
def test_formats(tmp_path: Path, state: State, name: str) -> None:
    path = write(tmp_path / name, state)
    network = load("cifar:resnet8", weights=path)
    loaded = network.module.state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    assert network.weights == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
def test_what_training_scripts_wrap_around_is_taken_off(
    tmp_path: Path, state: State, wrapper: str
) -> None:
    parallel = {f"module.{key}": value for key, value in state.items()}
    path = tmp_path / "checkpoint.pth"
    torch.save({wrapper: parallel, "epoch": 3}, path)
    assert set(read_state(path)) == set(state)


def test_batch_counters_may_be_missing(tmp_path: Path, state: State) -> None:
    kept = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    path = write(tmp_path / "w.safetensors", kept)
    module = load("cifar:resnet8", weights=path).module
    assert torch.equal(module.get_parameter("linear.bias"), state["linear.bias"])


def test_half_precision_is_widened(tmp_path: Path, state: State) -> None:
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    network = load("cifar:resnet8", weights=write(tmp_path / "w.safetensors", half))
    assert network.module.get_parameter("conv1.weight").dtype == torch.float32


def test_missing_tensors_are_named(tmp_path: Path, state: State) -> None:
    kept = {k: v for k, v in state.items() if not k.startswith(("bn1", "layer3"))}
    with pytest.raises(ModelError, match=r"missing: bn1.weight, bn1.bias.* and \d+ more"):
        load("cifar:resnet8", weights=write(tmp_path / "w.safetensors", kept))


def test_unexpected_tensors_are_named(tmp_path: Path, state: State) -> None:
    more = copied(state) | {"head.weight": torch.zeros(2)}
    with pytest.raises(ModelError, match=r"not in the network: head\.weight"):
        load("cifar:resnet8", weights=write(tmp_path / "w.safetensors", more))


def test_another_number_of_classes_is_recognised(tmp_path: Path, state: State) -> None:
    path = write(tmp_path / "w.safetensors", state)
    with pytest.raises(ModelError, match="file has 10 classes, the network 100") as error:
        load("cifar:resnet8", weights=path, num_classes=100)
    assert "--classes 10" in str(error.value)
    assert "linear.weight has shape (10, 64), the network's (100, 64)" in str(error.value)


def test_another_number_of_channels_is_recognised(tmp_path: Path, state: State) -> None:
    path = write(tmp_path / "w.safetensors", state)
    with pytest.raises(ModelError, match="images of 3 channels, the network 1") as error:
        load("cifar:resnet8", weights=path, input_shape=(1, 8, 8))
    assert "conv1.weight" in str(error.value)


def test_weights_of_another_depth_do_not_fit(tmp_path: Path, state: State) -> None:
    path = write(tmp_path / "w.safetensors", state)
    with pytest.raises(ModelError, match=r"do not fit cifar:resnet20: missing: layer1\.1"):
        load("cifar:resnet20", weights=path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("key", ["linear.bias", "layer2.0.bn1.running_var"])
def test_values_that_are_no_numbers_are_refused(
    tmp_path: Path, state: State, key: str, value: float
) -> None:
    bad = copied(state)
    bad[key][1] = value
    with pytest.raises(ModelError, match=f"{key} holds 1 NaN or infinite"):
        load("cifar:resnet8", weights=write(tmp_path / "w.safetensors", bad))


@given(st.lists(st.sampled_from([0.0, 1.0, float("nan"), float("inf")]), min_size=1, max_size=9))
@settings(deadline=None)
def test_finite_means_every_value(values: list[float]) -> None:
    bad = sum(value not in (0.0, 1.0) for value in values)
    state = {"fine": torch.ones(2), "counter": torch.tensor(1), "w": torch.tensor(values)}
    if bad == 0:
        check_finite(state, "here")
        return
    with pytest.raises(ModelError, match=f"here: w holds {bad} NaN .* of {len(values)}"):
        check_finite(state, "here")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ModelError, match=r"no weights file 'nowhere\.pth'"):
        load("cifar:resnet8", weights="nowhere.pth")


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(b"x")
    with pytest.raises(ModelError, match=r"unknown ending.*\.safetensors"):
        load("cifar:resnet8", weights=path)


@given(st.binary(max_size=200))
@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_garbage_is_refused_with_the_files_name(tmp_path: Path, content: bytes) -> None:
    for name in ("garbage.safetensors", "garbage.pth"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ModelError, match=name):
            read_state(path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_truncated_file_is_refused(tmp_path: Path, state: State, name: str) -> None:
    path = write(tmp_path / name, state)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=name):
        load("cifar:resnet8", weights=path)


def test_a_pickled_module_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "module.pt"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ModelError, match="state_dict"):
        read_state(path)


@pytest.mark.parametrize(
    ("content", "word"), [([1, 2], "list"), ({"lr": 0.1}, "'lr'"), ({}, "dict"), (3, "int")]
)
def test_what_is_no_state_is_refused(tmp_path: Path, content: object, word: str) -> None:
    path = tmp_path / "w.pth"
    torch.save(content, path)
    with pytest.raises(ModelError, match=word):
        read_state(path)


def test_a_failed_load_changes_nothing(tmp_path: Path, state: State) -> None:
    bad = copied(state)
    bad["linear.bias"][0] = float("nan")
    path = write(tmp_path / "w.safetensors", bad)
    before = path.read_bytes()
    with pytest.raises(ModelError):
        load("cifar:resnet8", weights=path)
    assert path.read_bytes() == before
