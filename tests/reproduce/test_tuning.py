"""Comparisons in reproductions: as image by image, and every network run once."""

from __future__ import annotations

import pytest

import hwflow as hf
from hwflow.quality.accuracy import compare
from hwflow.reproduce import Settings, tuning
from hwflow.reproduce.tuning import length, paired, plain_flips


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(tmp_path, tmp_path, "digits", quick=True)


def nets() -> list[hf.Network]:
    return [hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8)) for _ in range(3)]


def test_pairs_are_compared_image_by_image_and_each_network_runs_once(settings, monkeypatch):
    first, second, third = nets()
    runs = []
    honest = tuning.predictions
    monkeypatch.setattr(
        tuning, "predictions", lambda net, *a, **k: runs.append(net) or honest(net, *a, **k)
    )
    found = paired(settings, first, {"a": (first, second), "b": (first, third)})
    assert runs == [first, second, third]
    test = settings.splits(first).test
    for key, other in (("a", second), ("b", third)):
        wanted = compare(first, other, test, limit=tuning.QUICK_IMAGES)
        assert found[key] == plain_flips(wanted)
        assert found[key]["drop"] == (wanted.lost - wanted.gained) / wanted.images


def test_how_long_is_said_by_the_user_unless_it_is_quick(settings, tmp_path):
    assert length(settings) == {"steps": tuning.QUICK_STEPS}
    assert length(Settings(tmp_path, tmp_path, "digits")) == {"epochs": tuning.EPOCHS}
    assert length(Settings(tmp_path, tmp_path, "digits", epochs=4)) == {"epochs": 4}
