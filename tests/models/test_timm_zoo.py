"""timm by name, with a stand-in for the optional package (and the real one where it is there)."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from hwflow.errors import ModelError
from hwflow.models import load

CONFIG = {
    "input_size": (3, 32, 48), "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7),
    "crop_pct": 0.95, "interpolation": "bicubic",
}  # fmt: skip


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A package called timm with one network; the list takes down how it was built."""
    calls: list[dict[str, Any]] = []

    def create_model(name: str, **options: Any) -> nn.Module:
        calls.append({"name": name, **options})
        return nn.Conv2d(options["in_chans"], options.get("num_classes", 4), 1)

    fake = ModuleType("timm")
    fake.create_model = create_model  # type: ignore[attr-defined]
    fake.is_model = lambda name: name == "tiny"  # type: ignore[attr-defined]
    fake.list_models = lambda: ["tiny"]  # type: ignore[attr-defined]
    config = SimpleNamespace(to_dict=lambda: CONFIG)
    fake.get_pretrained_cfg = lambda name: config  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", fake)
    return calls


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"pip install 'hwflow\[timm\]'"):
        load("timm:resnet18")


def test_shape_and_preprocessing_are_timms(made: list[dict[str, Any]]) -> None:
    network = load("timm:tiny")
    assert network.example.shape == (1, 3, 32, 48)
    assert network.preprocess.mean == (0.1, 0.2, 0.3)
    assert network.preprocess.crop == 0.95
    assert network.preprocess.size == (32, 48)
    assert network.preprocess.interpolation == "bicubic"
    assert made == [{"name": "tiny", "pretrained": False, "in_chans": 3}]
    assert network.weights is None


def test_classes_and_input_are_handed_on(made: list[dict[str, Any]]) -> None:
    network = load("timm:tiny", num_classes=7, input_shape=(1, 16, 16))
    assert made[0]["num_classes"] == 7
    assert made[0]["in_chans"] == 1
    assert network.preprocess.mean == (0.5,)
    assert network.module(network.example).shape == (1, 7, 16, 16)


def test_published_weights_are_timms_to_fetch(made: list[dict[str, Any]]) -> None:
    network = load("timm:tiny", weights="DEFAULT")
    assert made[0]["pretrained"] is True
    assert network.weights is not None


def test_an_unknown_name_gets_the_nearest(made: list[dict[str, Any]]) -> None:
    with pytest.raises(ModelError, match="Did you mean 'tiny'"):
        load("timm:tine")
    assert made == []


def test_the_real_package() -> None:
    pytest.importorskip("timm", reason="timm is an optional package")
    network = load("timm:resnet10t", num_classes=3)
    with torch.no_grad():
        assert network.module(network.example).shape == (1, 3)
