"""The pass model against the Eyeriss chip, and the committed figures of that comparison."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAPERS = ROOT / "benchmarks" / "papers"
SILICON = ROOT / ".." / "shared" / "validation" / "eyeriss_alexnet.csv"

needs_silicon = pytest.mark.skipif(
    not SILICON.exists(), reason="needs the measurements in ../shared/validation"
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    sys.path.insert(0, str(PAPERS))
    try:
        import eyeriss_silicon
    finally:
        sys.path.remove(str(PAPERS))
    return eyeriss_silicon


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    data: dict[str, Any] = json.loads((PAPERS / "eyeriss_silicon.json").read_text())
    return data


@pytest.mark.shared
@needs_silicon
def test_the_committed_figures_are_what_the_script_computes_now(
    script: ModuleType, committed: dict[str, Any]
) -> None:
    assert json.loads(json.dumps(script.figures(SILICON))) == committed


@pytest.mark.parametrize("what", ["processing", "buffer", "energy"])
def test_errors_against_silicon_are_within_what_is_accepted(
    committed: dict[str, Any], what: str
) -> None:
    mean, worst = committed["allowed_percent"][what]
    errors = [abs(row[what]["error_percent"]) for row in committed["layers"].values()]
    assert len(errors) == 5
    assert sum(errors) / 5 <= mean
    assert max(errors) <= worst


def test_active_pes_equal_the_chips(committed: dict[str, Any]) -> None:
    for row in (*committed["layers"].values(), committed["conv3_printed"]):
        assert row["active_pes"]["model"] == row["active_pes"]["measured"]


def test_conv3_as_printed_misses_the_measured_traffic(committed: dict[str, Any]) -> None:
    assert committed["conv3_printed"]["buffer"]["error_percent"] == pytest.approx(37, abs=0.5)
    assert committed["layers"]["conv3"]["buffer"]["error_percent"] == pytest.approx(0.6, abs=0.1)


def test_every_layer_was_predicted_without_itself(committed: dict[str, Any]) -> None:
    assert set(committed["left_out"]) == set(committed["layers"])
    for name, fit in committed["left_out"].items():
        assert abs(fit["errors"]["processing"][name]) < 12
        assert abs(fit["errors"]["energy"][name]) < 10


def test_the_constants_in_use_are_near_the_least_squares(committed: dict[str, Any]) -> None:
    used, best = committed["constants"]["used"], committed["constants"]["least_squares"]
    assert used == {"load_cycles": 0.3, "pass_cycles": 450.0, "base_mW": 195.0}
    assert all(best[key] == pytest.approx(used[key], rel=0.15) for key in used)


def test_searched_parameters_are_no_worse_than_the_chips_own(committed: dict[str, Any]) -> None:
    for found in committed["search"].values():
        assert found["latency"]["processing_ms"] <= found["replay"]["processing_ms"]
        assert found["energy"]["energy_mJ"] <= found["replay"]["energy_mJ"]
        assert found["chip"]["passes"] == found["replay"]["passes"]


def test_the_documentation_shows_the_committed_tables(
    script: ModuleType, committed: dict[str, Any]
) -> None:
    text = (ROOT / "docs" / "eyeriss.md").read_text()
    assert script.fill(text, script.tables(committed)) == text
    assert text.count("<!-- table ") == len(script.tables(committed))


def test_the_plot_is_drawn_from_the_committed_figures(
    script: ModuleType, committed: dict[str, Any]
) -> None:
    drawn = (PAPERS / "eyeriss_silicon.svg").read_text()
    assert drawn == script.drawing(committed)
    tree = ElementTree.fromstring(drawn)
    dots = tree.findall("{http://www.w3.org/2000/svg}circle")
    assert len(dots) == 3 * 5 + 1  # every layer in every panel, and the legend


def test_a_documentation_without_a_mark_is_reported(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="lacks the mark <!-- table silicon -->"):
        script.fill("# nothing", {"silicon": "| a |"})


def test_least_squares_never_give_a_negative_constant(script: ModuleType) -> None:
    import numpy as np

    matrix = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    assert script.nonnegative(matrix, matrix @ [2.0, 3.0]) == pytest.approx((2.0, 3.0))
    assert script.nonnegative(matrix, matrix @ [-1.0, 3.0])[0] == 0.0
