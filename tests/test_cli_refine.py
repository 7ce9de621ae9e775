"""Searching level after level on the command line: what it leaves, says and refuses."""

import json
from pathlib import Path

import pytest
from command_line import run

from hwflow.cli import main
from hwflow.job import Job
from hwflow.problem import Problem
from hwflow.study import Study

SMALL = ["cifar:resnet8", "--input", "1x8x8", "--classes", "10", "--data", "digits"]
FEW = ["--evaluations", "12", "--images", "40", "--calibration", "32"]
PRUNE = ["refine", *SMALL, "--on", "systolic-8x8", "--prune", "--min-keep", "0.5",
         "--exclude", "layer3.0.conv1", "--below", "latency=80%", *FEW]  # fmt: skip
QUANTIZE = ["refine", *SMALL, "--on", "bismo", "--quantize", "--bits", "2,4,8",
            "--below", "latency=70%", "--seeded", "20", *FEW]  # fmt: skip


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("refined") / "pruned"
    with pytest.raises(SystemExit):
        main([*PRUNE, "--out", str(out), "--json"])
    return out


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("refined") / "quantized"
    with pytest.raises(SystemExit):
        main([*QUANTIZE, "--out", str(out), "--json"])
    return out


def problem_of(folder: Path) -> Problem:
    from hwflow.job import Parts

    return Parts(Job.read(folder / "run.toml"), calibrated=False).problem


@pytest.mark.parametrize("kind", ["pruned", "quantized"])
def test_every_level_is_a_run_whose_settings_give_the_limits_of_its_search(kind, request):
    out = request.getfixturevalue(kind)
    for level in ("coarse", "mid", "fine"):
        folder = out / level
        problem = problem_of(folder)
        with Study.read(folder) as study:
            assert study.settings["cost"]["level"] == problem.cost.level == level
            assert study.settings["limits"] == dict(problem.below.items())  # to the last bit
            assert tuple(study.settings["objectives"]) == problem.objectives
            assert study.evaluated >= 2
        assert (folder / "front.csv").exists()
        assert "<html" in (folder / "report.html").read_text()


def test_excluded_layers_keep_their_channels_and_the_shift_is_told(pruned, capsys):
    code, text, _ = run(capsys, *PRUNE, "--out", str(pruned))  # goes on: nothing is left to do
    assert code == 0
    text = " ".join(text.split())  # lines are folded
    assert "coarse -> mid: the best plan of coarse" in text
    assert "mid -> fine" in text
    assert "hwflow build " in text
    names = [choice.name for choice in problem_of(pruned / "fine").space.choices]
    assert "channels:layer3.0.conv1" not in names
    assert "channels:layer2.0.conv1" in names
    assert not (pruned / "levels.html").exists()  # one plan a level is no front


def test_fronts_of_bits_are_drawn_at_the_last_level(quantized, capsys):
    code, text, _ = run(capsys, *QUANTIZE, "--out", str(quantized))
    assert code == 0
    assert "% of its hypervolume" in text
    page = (quantized / "levels.html").read_text()
    assert all(level in page for level in ("coarse", "mid", "fine"))
    assert (quantized / "sensitivity.json").exists()


def test_a_level_can_be_built_and_reported_as_any_run(quantized, capsys, tmp_path):
    target = tmp_path / "net.onnx"
    code, text, _ = run(
        capsys, "build", str(quantized / "fine"), "--pick", "most accurate", "--to", str(target),
        "--no-measure", "--json",
    )  # fmt: skip
    assert code == 0
    built = json.loads(text)
    limit = dict(problem_of(quantized / "fine").below.items())["latency_s"]
    assert built["total"]["latency_s"] <= limit
    assert target.exists()
    assert run(capsys, "report", str(quantized / "mid"))[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Say what is searched: --prune (HW-Flow) or --quantize (HW-FlowQ)"),
        (["--prune", "--quantize"], "Say what is searched"),
        (["--prune", "--bits", "2,4"], "--bits belongs to --quantize"),
        (["--quantize", "--branches"], "--branches belongs to --prune"),
        (["--prune", "--levels", "fine,coarse"], "in this order"),
        (["--prune", "--below", "latency=abc"], "is not a quantity"),
        (["--prune", "--exclude", "nothing"], "nothing"),
        (["--prune", "--on", "cpu"], "cpu is measured, which is one level only"),
    ],
)
def test_what_cannot_be_searched_is_refused(words, said, capsys, tmp_path):
    out = tmp_path / "run"
    code, _, error = run(
        capsys, "refine", *SMALL, "--on", "systolic-8x8", "--out", str(out), *words
    )
    assert code == 2
    assert said in error
    assert not out.exists()


def test_a_folder_of_another_search_is_refused(pruned, capsys):
    code, _, error = run(capsys, *PRUNE, "--seed", "1", "--out", str(pruned))
    assert code == 2
    assert "holds a search with" in error
