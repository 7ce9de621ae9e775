"""`hwflow sensitivity` on a small network and the digits."""

import json

from command_line import run
from safetensors.torch import save_file

import hwflow as hf


def test_the_table_names_the_most_sensitive_choices_and_the_file_is_gone_on_from(tmp_path, capsys):
    weights, file = tmp_path / "resnet8.safetensors", tmp_path / "found.json"
    net = hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8))
    save_file(net.module.state_dict(), weights)
    command = (
        "sensitivity", "cifar:resnet8", "--data", "digits", "--input", "1x8x8", "--classes", "10",
        "--quantize", "--bits", "2,8", "--images", "8", "--calibration", "8",
        "--weights", str(weights), "--out", str(file),
    )  # fmt: skip
    code, out, _ = run(capsys, *command, "--json")
    found = json.loads(out)
    assert (code, found["images"]) == (0, 8)
    apart = [entry["divergence"] for entry in found["ranking"]]
    assert apart == sorted(apart, reverse=True)
    assert json.loads(file.read_text())["sensitivity"]["loss"] == found["loss"]
    code, shown, _ = run(capsys, *command, "--top", "2")
    assert code == 0
    assert found["ranking"][0]["choice"].partition(":")[0] in shown
    assert "whole evaluations" in shown


def test_without_an_edit_it_says_what_to_add(capsys):
    code, _, err = run(capsys, "sensitivity", "cifar:resnet8", "--data", "digits")
    assert code == 2
    assert "add --quantize" in err


def test_a_search_says_what_the_single_changes_were_worth_that_it_began_with(capsys, tmp_path):
    words = [
        "search", "cifar:resnet8", "--input", "1x8x8", "--classes", "10", "--data", "digits",
        "--on", "bismo", "--level", "mid", "--quantize",
        "--bits", "2,4,8", "--seeded", "20", "--images", "60", "--calibration", "32",
        "--set", "population=6", "--evaluations", "8", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    code, shown, _ = run(capsys, *words)
    assert code == 0
    assert "Single changes: their sums rank the networks with" in shown
    assert "networks of the front lose more than need be at their costs" in shown
    code, shown, _ = run(capsys, *words, "--json")
    found = json.loads(shown)
    told = found["single_changes"]
    assert -1 <= told["rank_correlation"] <= 1
    assert [gap["trial"] for gap in told["gaps"]] == [row["trial"] for row in found["front"]]
    assert all(0 <= gap["gap"] <= gap["proven"] + 1e-12 for gap in told["gaps"])
