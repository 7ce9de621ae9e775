"""The command line: what it prints, what it refuses, and with which exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run
from safetensors.torch import load_file, save_file

import hwflow as hf
from hwflow.cli import main, uniform_bits
from hwflow.errors import HwflowError

TOTALS = {
    "latency_s", "energy_j", "dram_bytes", "macs", "params", "bit_ops", "model_bytes", "peak_bytes",
}  # fmt: skip
SMALL = ["cifar:resnet8", "--input", "1x8x8", "--classes", "10"]


def search(out: Path, weights: Path, *more: str) -> list[str]:
    """Return the words of a small search."""
    return [
        "search", *SMALL, "--weights", str(weights), "--data", "digits", "--on", "eyeriss",
        "--quantize", "--bits", "2,4,8", "--evaluations", "6", "--out", str(out), *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an untrained ResNet-8 for digits."""
    path = tmp_path_factory.mktemp("weights") / "resnet8.safetensors"
    network = hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8))
    save_file(network.module.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """A finished run folder."""
    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.raises(SystemExit) as left:
        main([*search(out, weights), "--json"])
    assert left.value.code in (0, None)
    return out


@pytest.mark.parametrize("level", ["coarse", "mid"])
def test_cost_prints_the_promised_json(capsys: pytest.CaptureFixture[str], level: str) -> None:
    code, out, _ = run(capsys, "cost", *SMALL, "--on", "eyeriss", "--level", level, "--json")
    found = json.loads(out)
    assert code == 0
    assert {"model", "machine", "level", "batch", "total", "layers"} <= set(found)
    assert set(found["total"]) >= TOTALS
    first = found["layers"][0]
    assert {
        "name",
        "op",
        "macs",
        "params",
        "latency_s",
        "energy_j",
        "dram_bytes",
        "bound_by",
    } <= set(first)
    assert found["total"]["macs"] == sum(layer["macs"] for layer in found["layers"])
    assert found["level"] == level
    assert found["batch"] == 1


def test_the_fine_level_says_how_each_layer_is_mapped(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cost", *SMALL, "--on", "eyeriss", "--no-cache", "--json", "--level"]
    fine = json.loads(run(capsys, *words, "fine")[1])
    mid = json.loads(run(capsys, *words, "mid")[1])
    first = fine["layers"][0]
    assert first["gap"] == 0
    assert "parallel" in first["mapping"]
    assert first["active_pes"] <= 168
    assert set(first["bytes_by_memory"]) >= {"dram"}
    assert fine["total"]["latency_s"] >= mid["total"]["latency_s"]


def test_cost_in_batches_and_bits(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cost", *SMALL, "--on", "eyeriss", "--json"]
    one = json.loads(run(capsys, *words)[1])["total"]
    four = json.loads(run(capsys, *words, "--batch", "4")[1])["total"]
    narrow = json.loads(run(capsys, *words, "--bits", "w4a8")[1])["total"]
    assert four["macs"] == 4 * one["macs"]
    assert four["params"] == one["params"]
    assert narrow["bit_ops"] == one["macs"] * 4 * 8
    assert narrow["dram_bytes"] < one["dram_bytes"]


def test_cost_shows_every_layer_that_costs_anything(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "cost", *SMALL, "--on", "eyeriss")
    assert code == 0
    for name in ("conv1", "layer3.0.conv2", "linear", "latency", "estimate"):
        assert name in out


def test_a_layer_list_is_costed_without_torch(tmp_path: Path) -> None:
    example = Path(__file__).parents[1] / "examples" / "layers.yaml"
    script = (
        "import sys; from hwflow.cli import main\n"
        f"try: main(['cost', {str(example)!r}, '--on', 'eyeriss', '--json'])\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["total"]["macs"] > 0
    assert done.stderr.strip().endswith("False")


@pytest.mark.parametrize("what", ["machines", "models", "costs", "edits", "qualities", "solvers"])
def test_list(capsys: pytest.CaptureFixture[str], what: str) -> None:
    code, out, _ = run(capsys, "list", what, "--json")
    assert code == 0
    assert len(json.loads(out)[what]) >= 1


def test_search_leaves_a_whole_run_folder(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {"run.toml", "study.db", "front.csv", "report.html"} <= names
    rows = (finished / "front.csv").read_text().splitlines()
    assert len(rows) >= 2
    assert "accuracy" in rows[0]
    assert "<html" in (finished / "report.html").read_text()


def test_the_same_command_pays_nothing_twice(
    capsys: pytest.CaptureFixture[str], finished: Path, weights: Path
) -> None:
    before = (finished / "front.csv").read_text()
    code, out, _ = run(capsys, *search(finished, weights), "--json")
    assert code == 0
    assert json.loads(out)["evaluated"] == 6
    assert (finished / "front.csv").read_text() == before


def test_a_run_is_repeated_from_its_file(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    code, _, err = run(
        capsys, "search", "--from", str(finished / "run.toml"), "--out", str(again), "--json"
    )
    assert code == 0, err
    assert (again / "front.csv").read_text() == (finished / "front.csv").read_text()


def test_report_writes_its_files_again(capsys: pytest.CaptureFixture[str], finished: Path) -> None:
    (finished / "report.html").unlink()
    code, out, _ = run(capsys, "report", str(finished))
    assert code == 0
    assert "Front" in out
    assert (finished / "report.html").exists()


def test_build_exports_a_checked_network(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path
) -> None:
    target = tmp_path / "net.onnx"
    words = ["build", str(finished), "--pick", "knee", "--to", str(target), "--json"]
    code, out, err = run(capsys, *words)
    assert code == 0, err
    found = json.loads(out)
    assert target.exists()
    assert found["export"]["agreement"] >= 0.99
    assert 0 <= found["test"]["after"] <= 1


def test_build_writes_weights(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path
) -> None:
    target = tmp_path / "net.safetensors"
    code, _, err = run(capsys, "build", str(finished), "--pick", "knee", "--to", str(target))
    assert code == 0, err
    assert "conv1.weight" in load_file(target)


def test_a_wish_out_of_reach_leaves_with_3(
    capsys: pytest.CaptureFixture[str], finished: Path
) -> None:
    code, _, err = run(capsys, "build", str(finished), "--pick", "latency < 1 ps")
    assert code == 3
    assert "the best reaches" in err


def test_an_impossible_limit_says_what_is_reachable(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, weights: Path
) -> None:
    out = tmp_path / "run"
    code, _, err = run(capsys, *search(out, weights, "--below", "latency=1ns"))
    assert code == 3
    assert "latency" in err
    assert "eyeriss" in err
    assert "fastest" in err
    assert not out.exists()


def bad_weights(tmp_path: Path, weights: Path) -> tuple[Path, Path]:
    """Return weights with a NaN, and weights of another network."""
    state = load_file(weights)
    nan = tmp_path / "nan.safetensors"
    save_file(state | {"linear.bias": torch.full((10,), float("nan"))}, nan)
    other = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(16, 3, 3, 3)}, other)
    return nan, other


def test_bad_weights_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, weights: Path
) -> None:
    nan, other = bad_weights(tmp_path, weights)
    for path, word in ((nan, "linear.bias"), (other, "conv1.weight")):
        code, _, err = run(capsys, *search(tmp_path / "run", path))
        assert code == 2
        assert word in err
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cost", "cifar:resnet21", "--on", "eyeriss"], "resnet20"),
        (["cost", "torchvision:resnet51", "--on", "eyeriss"], "resnet50"),
        (["cost", *SMALL, "--on", "eyeris"], "Did you mean 'eyeriss'"),
        (["cost", *SMALL, "--on", "eyeriss", "--level", "middle"], "Did you mean 'mid'"),
        (["cost", *SMALL, "--on", "eyeriss", "--bits", "w0a8"], "1 to 16 bits"),
        (["cost", "nowhere.onnx", "--on", "eyeriss"], "nowhere.onnx"),
        (["cost", "nowhere.yaml", "--on", "eyeriss"], "nowhere.yaml"),
        (["cost", *SMALL[:1], "--on", "eyeriss", "--input", "8x8"], "CxHxW"),
        (["search", *SMALL, "--data", "digits", "--on", "eyeriss"], "--quantize"),
        (["search", *SMALL, "--data", "nowhere", "--on", "eyeriss", "--quantize"], "nowhere"),
        (
            ["search", "--on", "eyeriss", "--quantize"],
            "needs a model, such as cifar:resnet20, --data",
        ),
        (["report", "nowhere"], "nowhere"),
        (["list", "machine"], "Did you mean 'machines'"),
    ],
)
def test_what_is_wrong_is_said_and_leaves_with_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert code == 2
    assert message in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_errors_are_json_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "cost", *SMALL, "--on", "eyeris", "--json")
    assert code == 2
    assert json.loads(out)["exit_code"] == 2
    assert "eyeriss" in json.loads(out)["error"]
    assert err == ""


def test_a_malformed_machine_names_file_and_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bad = tmp_path / "mine.yaml"
    bad.write_text("extends: eyeriss\nname: mine\nclock: {value: 200 kg, source: test}\n")
    code, _, err = run(capsys, "cost", *SMALL, "--on", str(bad))
    assert code == 2
    assert "mine.yaml" in err
    assert "clock" in err


def npz(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """Write a data set of one file."""
    np.savez(path, x=images, y=labels)
    return path


def test_bad_data_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, weights: Path
) -> None:
    none = npz(tmp_path / "none.npz", np.zeros((0, 8, 8, 1), np.uint8), np.zeros(0, np.int64))
    wide = npz(tmp_path / "wide.npz", np.zeros((40, 8, 8, 3), np.uint8), np.zeros(40, np.int64))
    for path, word in ((none, "no images"), (wide, "channel")):
        words = search(tmp_path / "run", weights)
        words[words.index("digits")] = str(path)
        code, _, err = run(capsys, *words)
        assert code == 2
        assert word in err
        assert not (tmp_path / "run").exists()


def test_a_foreign_folder_is_left_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, weights: Path
) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter1.tex").write_text("precious")
    code, _, err = run(capsys, *search(out, weights))
    assert code == 2
    assert "thesis" in err
    assert [path.name for path in out.iterdir()] == ["chapter1.tex"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, weights: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir(mode=0o500)
    code, _, err = run(capsys, *search(out, weights))
    assert code == 2
    assert "write" in err


@pytest.mark.parametrize("damage", ["truncate", "garble"])
def test_a_damaged_study_is_refused_and_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: Path, weights: Path, damage: str
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    whole = (finished / "study.db").read_bytes()
    broken = whole[: len(whole) // 3] if damage == "truncate" else b"\0garbage" * 999
    (out / "study.db").write_bytes(broken)
    (out / "run.toml").write_bytes((finished / "run.toml").read_bytes())
    for words in (search(out, weights), ["report", str(out)]):
        code, _, err = run(capsys, *words)
        assert code == 2
        assert "study.db" in err
        assert (out / "study.db").read_bytes() == broken


def test_changed_settings_are_refused(
    capsys: pytest.CaptureFixture[str], finished: Path, weights: Path
) -> None:
    code, _, err = run(capsys, *search(finished, weights, "--seed", "7"))
    assert code == 2
    assert "seed" in err


def test_uniform_bits_leave_the_outputs_alone() -> None:
    from hwflow.extract import extract

    plain = extract(hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8)))
    narrow = uniform_bits(plain, "w4a8")
    assert {layer.weight_bits for layer in narrow.mac_layers} == {4}
    assert narrow[narrow.outputs[0]].output_bits == 32
    assert {bits for layer in narrow.mac_layers for bits in layer.input_bits} == {8}
    with pytest.raises(HwflowError, match="w4a8"):
        uniform_bits(plain, "4/8")


def test_every_command_is_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = run(capsys, "--help")
    assert code == 0
    for name in (
        "cost",
        "search",
        "refine",
        "build",
        "distill",
        "fronts",
        "measure",
        "profile",
        "convert",
    ):
        assert f" {name} " in shown


def test_operations_and_quantizers_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "low_rank" in run(capsys, "list", "operations")[1].split()
    assert run(capsys, "list", "quantizers")[1].split()[:2] == ["calibrated", "lsq"]


def test_a_missing_folder_of_trained_operations_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, said = run(
        capsys, "search", *SMALL, "--data", "digits", "--on", "eyeriss", "--replace",
        "--options", "skip", "--trained", str(tmp_path / "none"), "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert code == 2
    assert "hwflow distill" in said
    assert not (tmp_path / "run").exists()
