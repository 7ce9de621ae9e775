"""Stages of a reproduction: run once, named, refused when unknown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwflow.errors import DataError, HwflowError
from hwflow.models import load
from hwflow.reproduce import Settings, Stage, run, stages_of
from hwflow.reproduce import stages as module


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    made: list[str] = []

    def stage(name: str) -> Stage:
        def make(settings: Settings) -> dict[str, object]:
            made.append(name)
            return {"figure": len(made)}

        return Stage(name, f"about {name}", make)

    monkeypatch.setattr(module, "stages_of", lambda name: (stage("a"), stage("b")))
    return made


def settings(out: Path) -> Settings:
    return Settings(out, out, "nowhere")


def test_a_stage_that_is_done_is_read_and_not_run_again(calls, tmp_path):
    first = run("any", settings(tmp_path))
    second = run("any", settings(tmp_path))
    assert calls == ["a", "b"]
    assert first == second
    kept = json.loads((tmp_path / "b.json").read_text())
    assert kept["figure"] == 2
    assert kept["made_with"]["versions"]["torch"]
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("first", "then", "words"),
    [
        ({"quick": True}, {}, r"made with --quick and .*, not without --quick"),
        ({}, {"quick": True}, "made without --quick"),
        ({"epochs": 4}, {}, r"with --epochs 4, not .*the reproduction's own epochs"),
        ({"epochs": 4}, {"epochs": 12}, r"--epochs 4, not .*--epochs 12"),
    ],
)
def test_a_result_that_was_made_with_other_settings_is_refused(calls, tmp_path, first, then, words):
    run("any", replace(settings(tmp_path), **first), ["b"])
    with pytest.raises(HwflowError, match=words) as refused:
        run("any", replace(settings(tmp_path), **then))
    assert str(tmp_path) in str(refused.value)
    assert "--out" in str(refused.value)
    assert calls == ["b"]  # the stage before it was not run either


def test_a_result_from_before_epochs_were_kept_goes_by_what_it_says(calls, tmp_path):
    (tmp_path / "a.json").write_text('{"figure": 7, "quick": false}')
    (tmp_path / "b.json").write_text('{"figure": 8}')
    found = run("any", replace(settings(tmp_path), epochs=4))
    assert [one["figure"] for one in found.values()] == [7, 8]
    with pytest.raises(HwflowError, match="stage a that was made without --quick"):
        run("any", replace(settings(tmp_path), quick=True))


def test_splits_that_share_images_are_refused(tmp_path):
    images = np.arange(12 * 64, dtype=np.uint8).reshape(12, 8, 8, 1)
    for name, part in (("train", images), ("val", images[:4]), ("test", images[:2])):
        np.savez(tmp_path / f"{name}.npz", x=part, y=np.arange(len(part)) % 10)
    network = load("cifar:resnet8", input_shape=(1, 8, 8))
    with pytest.raises(DataError, match="'val' are in 'train' too"):
        replace(settings(tmp_path), data=str(tmp_path)).splits(network)


def test_only_the_stages_that_are_named_run(calls, tmp_path):
    assert list(run("any", settings(tmp_path), ["b"])) == ["b"]
    assert calls == ["b"]


def test_unknown_stages_and_reproductions_are_answered_with_the_known_ones(calls, tmp_path):
    with pytest.raises(HwflowError, match=r"stage 'c'.*a, b"):
        run("any", settings(tmp_path), ["c"])
    assert not calls
    with pytest.raises(HwflowError, match="hw-flow"):
        stages_of("hw-flou")


def test_missing_weights_are_named_with_the_option(tmp_path):
    with pytest.raises(HwflowError, match=r"cifar10jpeg_resnet56.*--weights"):
        settings(tmp_path).network("resnet56")


def test_hw_flow_has_a_stage_for_every_figure_of_its_table():
    names = [stage.name for stage in stages_of("hw-flow")]
    assert len(set(names)) == len(names)
    assert {"compare-resnet20", "compare-resnet56", "reach"} <= set(names)
    assert "search-resnet56-eyeriss-2x-2" in names
    assert "tune-resnet56-systolic-8x8-2.5x-0" in names
