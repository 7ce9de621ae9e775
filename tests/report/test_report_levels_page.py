from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from page_reader import Page
from sample_fine import compared

from hwflow.fidelity import summary, verdicts
from hwflow.fidelity.compare import COUNTS, TARGETS
from hwflow.report import document as document_module
from hwflow.report import render_levels, write_levels_page
from hwflow.report.levels_page import levels_page_data, rows_of

NODE = shutil.which("node")


@pytest.fixture(autouse=True)
def without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_module, "_plotly", lambda: "const Plotly = {};")


@pytest.fixture
def page() -> Page:
    return Page(render_levels(compared(), {"command": "hwflow levels"}))


def test_the_page_is_whole_and_its_scripts_find_their_elements(page: Page) -> None:
    assert page.faults == []
    ids = {attrs.get("id") for _, attrs in page.tags}
    assert set(re.findall(r'(?:byId|draw|chosen)\("([^"]+)"', page.code[-1])) <= ids
    assert all(section["aria-labelledby"] in ids for section in page.all("section"))


def test_the_verdict_comes_first_and_the_numbers_follow(page: Page) -> None:
    found = compared()
    assert summary(found) in page.text
    for verdict in verdicts(found):
        assert verdict.words in page.text
    for target in TARGETS:
        for cells, _ in rows_of(found, target):
            assert " ".join(cells) in page.text


def test_every_plan_is_in_the_data(page: Page) -> None:
    found, data = compared(), page.data
    assert len(data["change"]) == len(found.plans)
    for target in TARGETS:
        assert data["fine"][target] == pytest.approx(found.totals["fine"][target], rel=1e-6)
        assert data["mid"][target] == pytest.approx(found.totals["mid"][target], rel=1e-6)
        members = found.of(target, "mid").recall.members
        assert sum(data["front"][target]) == members
    assert set(data["coarse"]) == {*TARGETS, *COUNTS}


def test_a_stand_in_that_passes_is_marked() -> None:
    found = compared()
    marks = [mark for target in TARGETS for _, mark in rows_of(found, target)]
    assert any(marks)
    assert not all(marks)


def test_the_page_is_written(tmp_path: Path) -> None:
    write_levels_page(compared(), tmp_path / "levels.html")
    assert "Which level" in (tmp_path / "levels.html").read_text(encoding="utf-8")


DRAW = """
const report = JSON.parse(require("fs").readFileSync(0, "utf8"));
const own = report.metrics[0], bits = report.counts.find((count) => count.id === "bit_ops");
console.log(JSON.stringify({
  mid: hwflowLevels.scatter(report, own, "mid", own),
  coarse: hwflowLevels.scatter(report, own, "coarse", bits),
}));
"""


@pytest.fixture
def drawn() -> Any:
    if NODE is None:
        pytest.skip("node is not installed")
    texts = [files("hwflow.report").joinpath(n).read_text() for n in ("figures.js", "levels.js")]
    script = "\n".join(texts).replace('"use strict";', "") + DRAW
    given = json.dumps(levels_page_data(compared()))
    done = subprocess.run([NODE, "-e", script], input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_charts_show_every_plan_and_ring_the_front(drawn: Any) -> None:
    count = len(compared().plans)
    line, dots, rings = drawn["mid"]["data"]
    assert line["mode"] == "lines"
    assert len(dots["x"]) == count
    assert len(rings["x"]) == compared().of("latency_s", "mid").recall.members
    assert len(drawn["coarse"]["data"][0]["x"]) == count
    assert drawn["coarse"]["layout"]["xaxis"]["title"]["text"] == "coarse BitOPs"


def test_axes_hold_every_dot(drawn: Any) -> None:
    for figure in drawn.values():
        dots = next(t for t in figure["data"] if t["mode"] == "markers")
        for axis, values in (("xaxis", dots["x"]), ("yaxis", dots["y"])):
            low, high = figure["layout"][axis]["range"]
            assert low < min(values) <= max(values) < high
