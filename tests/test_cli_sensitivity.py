"""`hwflow sensitivity` on a small network and the digits."""

import json

import pytest

from hwflow.cli import main

COMMAND = (
    "sensitivity", "cifar:resnet8", "--data", "digits", "--input", "1x8x8", "--classes", "10",
    "--quantize", "--bits", "2,8", "--images", "8", "--calibration", "8",
)  # fmt: skip


def test_the_table_names_the_most_sensitive_choices_and_the_file_is_gone_on_from(tmp_path, capsys):
    file = tmp_path / "found.json"
    main([*COMMAND, "--out", str(file), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 8
    losses = [entry["loss"] for entry in found["ranking"]]
    assert losses == sorted(losses, reverse=True)
    kept = json.loads(file.read_text())["sensitivity"]
    assert kept["loss"] == found["loss"]
    main([*COMMAND, "--out", str(file), "--top", "2"])
    shown = capsys.readouterr().out
    assert found["ranking"][0]["choice"].partition(":")[2] in shown
    assert "whole evaluations" in shown


def test_without_an_edit_it_says_what_to_add(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["sensitivity", "cifar:resnet8", "--data", "digits"])
    assert ended.value.code == 2
    assert "add --quantize" in capsys.readouterr().err
