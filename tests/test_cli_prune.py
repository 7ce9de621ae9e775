"""Pruning on the command line: its options, its runs, and what it refuses."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from command_line import run

from hwflow.cli import main

SMALL = ["cifar:resnet8", "--input", "1x8x8", "--classes", "10"]
SEARCH = ["search", *SMALL, "--data", "digits", "--on", "systolic-16x16", "--level", "coarse"]

NETS = """
import torch
from torch import nn

class Branches(nn.Module):
    def forward(self, x):
        return x if x.mean() > 0 else -x

def branching():
    body = nn.Sequential(nn.Conv2d(1, 8, 3), Branches())
    return nn.Sequential(body, nn.Flatten(), nn.Linear(288, 10))

class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.gate = nn.Conv2d(8, 8, 1), nn.Parameter(torch.rand(1, 8, 1, 1))

    def forward(self, x):
        return torch.where(self.gate > 0.5, self.conv(x), x)

def gated():
    body = nn.Sequential(nn.Conv2d(1, 8, 3), Gate(), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3))
    return nn.Sequential(body, nn.Flatten(), nn.Linear(32, 10))

def one_layer():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: pruned and quantised, below a share of the original's latency."""
    out = tmp_path_factory.mktemp("runs") / "run"
    words = [
        *SEARCH, "--quantize", "--bits", "4,8", "--prune", "--step", "array", "--min-keep", "0.5",
        "--exclude", "layer3.0.conv1", "--below", "latency=80%", "--images", "40", "--calibration",
        "32", "--solver", "nsga2", "--set", "population=4", "--evaluations", "4",
    ]  # fmt: skip
    with pytest.raises(SystemExit) as left:
        main([*words, "--out", str(out), "--json"])
    assert left.value.code in (0, None)
    return out


def test_a_run_keeps_what_was_asked_and_what_it_came_to(finished: Path) -> None:
    settings = tomllib.loads((finished / "run.toml").read_text())
    job, provenance = settings["job"], settings["provenance"]
    assert job["edits"] == ["prune", "quantize"]
    assert job["pruning"] == {
        "min_keep": 0.5, "step": "array", "min_channels": 1, "exclude": ["layer3.0.conv1"],
        "ranking": "l2", "mend": "statistics", "branches": False,
    }  # fmt: skip
    assert job["set"] == {"population": 4}
    assert job["below"] == ["latency=80%"]
    assert 0 < provenance["limits"]["latency_s"] < 1e-3
    assert provenance["channels_not_followed"] == []
    assert (job["images"], job["calibration"], provenance["validation_images"]) == (40, 32, 40)


def test_the_networks_found_keep_the_shares_allowed(finished: Path) -> None:
    header, *rows = (finished / "front.csv").read_text().splitlines()
    groups = [i for i, name in enumerate(header.split(",")) if name.startswith("channels:")]
    assert "channels:layer3.0.conv1" not in header
    assert groups
    assert {float(row.split(",")[i]) for row in rows for i in groups} <= {0.5, 0.625, 0.75, 1.0}


def test_a_pruned_run_is_repeated_from_its_file(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path
) -> None:
    words = ["search", "--from", str(finished / "run.toml"), "--out", str(tmp_path / "again")]
    code, _, err = run(capsys, *words, "--json")
    assert code == 0, err
    again = (tmp_path / "again" / "front.csv").read_text()
    assert again == (finished / "front.csv").read_text()


def test_a_pruned_network_is_built_and_exported(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path
) -> None:
    target = tmp_path / "net.onnx"
    words = ["build", str(finished), "--pick", "fastest", "--finetune", "1", "--to", str(target)]
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["total"]["params"] < found["original"]["params"]
    assert found["finetuned_epochs"] == 1
    assert found["export"]["agreement"] >= 0.99
    assert target.stat().st_size > 0


def test_the_same_command_goes_on_with_a_share_as_limit(
    capsys: pytest.CaptureFixture[str], finished: Path
) -> None:
    words = ["search", "--from", str(finished / "run.toml"), "--out", str(finished), "--json"]
    code, out, err = run(capsys, *words)
    assert code == 0, err
    assert json.loads(out)["evaluated"] == 4


def test_shares_in_a_file_give_way_to_those_on_the_command_line(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path
) -> None:
    words = [
        "search", "--from", str(finished / "run.toml"), "--prune", "--keep", "0.5,0.75", "--step",
        "1", "--solver", "random", "--out", str(tmp_path / "run"), "--json",
    ]  # fmt: skip
    code, _, err = run(capsys, *words)
    assert code == 0, err
    job = tomllib.loads((tmp_path / "run" / "run.toml").read_text())["job"]
    assert job["pruning"]["keep"] == [0.5, 0.75]
    assert "min_keep" not in job["pruning"]
    assert job["pruning"]["exclude"] == ["layer3.0.conv1"]
    assert job["set"] == {}  # those of another solver


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--quantize", "--keep", "0.5"], "--keep belongs to --prune"),
        (["--quantize", "--min-channels", "8"], "--min-channels belongs to --prune"),
        (["--prune", "--bits", "4"], "--bits belongs to --quantize"),
        (["--prune", "--keep", "half"], "--keep 'half' is no list of shares"),
        (["--prune", "--keep", "0.5", "--min-keep", "0.25"], "not both"),
        (["--prune", "--keep", "1.5"], "must be in (0, 1], not 1.5"),
        (["--prune", "--min-keep", "2"], "pruning.min_keep"),
        (["--prune", "--step", "wide"], "--step 'wide' is neither a number of channels nor"),
        (["--prune", "--step", "0"], "step must be at least 1, not 0"),
        (["--prune", "--step", "500"], "Take a smaller step"),
        (["--prune", "--exclude", "layer9"], "Unknown layer to exclude 'layer9'"),
        (["--prune", "--ranking", "l3"], "Unknown ranking 'l3'"),
        (["--prune", "--mend", "glue"], "Unknown mend 'glue'"),
        (["--prune", "--below", "latency=0%"], "must be above zero"),
        (["--prune", "--below", "latency=x%"], "'x' is not a quantity"),
        (["--prune", "--set", "population"], "is no NAME=VALUE"),
        (["--prune", "--set", "size=3"], "nsga2 has no setting 'size'"),
        (["--prune", "--set", "population=many"], "population of nsga2 is a whole number"),
        (["--prune", "--set", "population=1"], "a population of 2 or more, not 1"),
        (["--prune", "--level", "chip"], "no row-stationary chip"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *SEARCH, "--evaluations", "3", *words)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_budget_below_reach_says_what_can_be_had_and_what_bars_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = [*SEARCH, "--prune", "--keep", "0.5", "--exclude", "layer3.0.conv1", "--out", str(out)]
    code, _, err = run(capsys, *words, "--below", "latency=5%")
    assert code == 3
    said = " ".join(err.split())
    assert "the fastest of 32 plans takes" in said
    assert "What bars it: layer3.0.conv2: " in said
    assert "32 of 64 channels from 64 of 64 (the fewest allowed of conv1, layer2.0.conv2, " in said
    assert "reads all of layer3.0.conv1)" in said
    assert "% of the original's), allow fewer channels (--min-keep 0.25), " in said
    assert "exclude fewer layers (layer3.0.conv1)" in said
    assert not out.exists()


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's networks in the current folder."""
    name = f"nets_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("branching", "cannot be exported: in layer '0.1' (nets_"),
        ("one_layer", "has no channels that can be removed."),
    ],
)
def test_a_network_that_cannot_be_pruned_is_explained_by_layer(
    capfd: pytest.CaptureFixture[str], nets: str, function: str, message: str
) -> None:
    words = ["search", f"{nets}:{function}", "--input", "1x8x8", "--data", "digits"]
    with pytest.raises(SystemExit) as left:
        main([*words, "--on", "eyeriss", "--prune", "--evaluations", "3"])
    shown = capfd.readouterr()
    assert left.value.code == 2
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert "def forward" not in shown.err


def test_layers_whose_channels_are_not_followed_are_in_the_run_file(
    capsys: pytest.CaptureFixture[str], nets: str, tmp_path: Path
) -> None:
    words = [*SEARCH, "--prune", "--evaluations", "1", "--out", str(tmp_path / "run"), "--json"]
    words[words.index(SMALL[0])] = f"{nets}:gated"
    words = [word for word in words if word not in ("--classes", "10")]
    code, _, err = run(capsys, *words)
    assert code == 0, err
    provenance = tomllib.loads((tmp_path / "run" / "run.toml").read_text())["provenance"]
    assert {"0.0", "0.1.conv"} <= set(provenance["channels_not_followed"])


def split_file(path: Path, overlapping: int) -> Path:
    """Write images with index arrays, of which so many of `val` are in `train` too."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (80, 8, 8, 1), dtype=np.uint8)
    val = np.arange(60 - overlapping, 70)
    np.savez(path, x=images, y=np.arange(80) % 10, train=np.arange(60), val=val, test=[70, 71])
    return path


def test_overlapping_splits_are_refused_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [*SEARCH, "--prune", "--evaluations", "1", "--out", str(tmp_path / "run")]
    words[words.index("digits")] = str(split_file(tmp_path / "set.npz", 2))
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "2 of the 12 images of 'val' are in 'train' too (known by index): index 58" in err
    assert not (tmp_path / "run").exists()


def test_build_refuses_splits_that_have_come_to_overlap(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, run_folder = tmp_path / "set", tmp_path / "run"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    for index, name in enumerate(("train", "val", "test")):
        np.savez(folder / f"{name}.npz", x=images[index * 10 :][:10], y=np.arange(10))
    words = [*SEARCH, "--prune", "--keep", "0.5", "--solver", "uniform", "--evaluations", "1"]
    words[words.index("digits")] = str(folder)
    code, _, err = run(capsys, *words, "--out", str(run_folder), "--json")
    assert code == 0, err
    np.savez(folder / "test.npz", x=images[15:25], y=np.arange(10))
    code, _, err = run(capsys, "build", str(run_folder))
    assert code == 2
    assert "5 of the 10 images of 'test' are in 'val' too (known by content)" in err


def test_levels_compares_pruned_plans_on_paper(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["levels", *SMALL, "--on", "systolic-16x16", "--prune", "--keep", "0.5", "--plans", "6"]
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert {row["target"] for row in found["verdicts"]} >= {"latency", "energy"}
    assert "plans of cifar:resnet8 on systolic-16x16" in found["summary"]


def test_levels_needs_an_edit_and_takes_options_of_its_own_edits_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["levels", *SMALL, "--on", "eyeriss"]
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "add --prune, --quantize or both" in err
    code, _, err = run(capsys, *words, "--quantize", "--step", "8")
    assert code == 2
    assert "--step belongs to --prune" in err
