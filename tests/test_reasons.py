"""What the command line adds to a cost: reasons, pages and the comparison of levels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import run

from hwflow import costing, reasons, runs
from hwflow.costs.fine import Fine
from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.errors import HwflowError
from hwflow.machine import load_machine
from hwflow.report import document as document_module
from hwflow.testing.toy import toy_workload

LAYERS = str(Path(__file__).parents[1] / "examples" / "layers.yaml")
ON = ["--on", "systolic-16x16"]


@pytest.fixture(autouse=True)
def small_pages_and_own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(document_module, "_plotly", lambda: "const Plotly = {};")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_why_says_of_each_layer_what_binds_and_ranks_the_remedies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = run(capsys, "cost", LAYERS, *ON, "--why")
    assert code == 0
    text = " ".join(out.split())
    assert "fine level" in text  # --why chooses the level that can answer
    assert "binds (" in text
    assert "doubling DRAM bandwidth" in text
    assert "One change at a time, for the whole network" in text


def test_why_in_json_stands_with_the_layers_and_the_total(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = run(capsys, "cost", LAYERS, *ON, "--level", "fine", "--why", "--json")
    found = json.loads(out)
    assert code == 0
    macs = [layer for layer in found["layers"] if layer["macs"]]
    assert macs
    for layer in macs:
        assert layer["relief"]["binds"] in ("compute", "port", "dram", "ends")
        assert layer["relief"]["gains"][0]["latency_saved"] >= 0
        assert layer["relief"]["cycles_by"]["total"] == layer["cycles"]
    assert all("relief" not in layer for layer in found["layers"] if not layer["macs"])
    assert found["relief"]["sentence"].startswith("For the whole network")


def test_why_needs_a_level_that_searches(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "cost", LAYERS, *ON, "--level", "mid", "--why")
    assert code == 2
    assert "Use --level fine" in err


@pytest.mark.parametrize(("level", "mapped"), [("mid", False), ("fine", True)])
def test_page_is_written_at_any_level(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, level: str, mapped: bool
) -> None:
    path = tmp_path / "cost.html"
    code, _, _ = run(capsys, "cost", LAYERS, *ON, "--level", level, "--page", str(path))
    text = path.read_text(encoding="utf-8")
    assert code == 0
    assert ("How a layer is mapped" in text) == mapped
    assert ("What would relieve it" in text) == mapped
    assert ("proven optimal" in text) == mapped


def test_explaining_asks_the_level_that_costed() -> None:
    found = costing.run(toy_workload(), load_machine("eyeriss"), costing.Options("fine"))
    relief = reasons.explained(found)
    assert [layer.name for layer in relief.layers] == [r.name for r in found.reports]
    with pytest.raises(HwflowError, match="the coarse level cannot"):
        reasons.explained(
            costing.run(toy_workload(), load_machine("eyeriss"), costing.Options("coarse"))
        )


def test_runs_show_the_mappings_of_levels_that_have_them() -> None:
    design = Design(toy_workload(), load_machine("eyeriss"))
    reports = runs.layer_reports(Fine(), design)
    assert [report.name for report in reports] == [x.name for x in design.workload.mac_layers]
    assert runs.layer_reports(Mid(), design) == ()


def test_levels_prints_ranks_and_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "levels", LAYERS, *ON, "--quantize", "--plans", "12")
    assert code == 0
    text = " ".join(out.split())
    for word in ("bit_ops", "latency", "energy", "12 plans of example-net on systolic-16x16"):
        assert word in text


def test_levels_in_json_and_on_a_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "levels.html"
    words = ["levels", LAYERS, *ON, "--quantize", "--bits", "4,8", "--plans", "12"]
    code, out, _ = run(capsys, *words, "--seed", "3", "--json", "--page", str(page))
    found = json.loads(out)
    assert code == 0
    assert (found["plans"], found["seed"], found["machine"]) == (12, 3, "systolic-16x16")
    assert [v["target"] for v in found["verdicts"]] == ["latency", "energy", "dram"]
    assert found["summary"] in page.read_text(encoding="utf-8")


def test_levels_asks_what_may_change(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "levels", LAYERS, *ON)
    assert code == 2
    assert "--quantize" in err
