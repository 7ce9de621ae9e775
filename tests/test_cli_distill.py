"""hwflow distill: what it writes, what it says, and what it refuses."""

import json
from pathlib import Path

import pytest

from hwflow.cli import main

SMALL = ("--data", "digits", "--input", "1x8x8", "--images", "64", "--held", "32",
         "--epochs", "1", "--score", "32", "--sites", "layer1.0")  # fmt: skip


def run(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        main(["distill", "cifar:resnet8", *SMALL, *words])
    assert left.value.code == 0
    return capsys.readouterr().out


def test_options_are_trained_scored_and_found_again(capsys, tmp_path: Path):
    out = tmp_path / "run"
    words = ("--options", "skip,conv_bn_act_k1_g1", "--out", str(out))
    found = json.loads(run(capsys, *words, "--json"))
    names = ["keep", "conv_bn_act_k1_g1", "skip"]
    assert sorted(row["option"] for row in found["options"]) == sorted(names)
    assert {row["option"] for row in found["scores"]} == set(names)
    assert (out / "weights" / "layer1.0" / "conv_bn_act_k1_g1.safetensors").exists()
    shown = run(capsys, *words)
    assert "layer1.0" in shown
    assert "Weights:" in shown
    assert json.loads(run(capsys, *words, "--json")) == found


def test_a_machine_leaves_only_promising_options(capsys, tmp_path: Path):
    words = ("--options", "conv_bn_act,skip", "--on", "eyeriss", "--promising", "1")
    words = (*words, "--out", str(tmp_path / "run"), "--score", "0", "--json")
    found = json.loads(run(capsys, *words))
    names = {row["option"] for row in found["options"]}
    assert (
        {"keep", "skip"}
        < names
        < {"keep", "skip"} | {f"conv_bn_act_k{k}_g{g}" for k in (1, 3, 5, 7) for g in (1, 2, 4, 8)}
    )
    assert "scores" not in found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--options", "convbnact"), "conv_bn_act"),
        (("--sites", "layer1.O"), "layer1.0"),
        (("--cost", "mid"), "--on MACHINE"),
    ],
)
def test_bad_options_are_said(capsys, tmp_path: Path, words, said):
    with pytest.raises(SystemExit) as left:
        main(["distill", "cifar:resnet8", *SMALL, *words, "--out", str(tmp_path / "run")])
    assert left.value.code == 2
    assert said in capsys.readouterr().err
