from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from made_runs import made_comparison, made_run
from page_reader import Page

from hwflow.compare import Comparison, verdict
from hwflow.errors import HwflowError
from hwflow.report import document as document_module
from hwflow.report import render_comparison, render_svg, write_compare_page, write_compare_svg
from hwflow.report.compare_lines import COLORS, GREY, quality_range, series
from hwflow.report.compare_page import cells, compare_page_data, headings
from hwflow.report.compare_svg import labels, ticks

NODE = shutil.which("node")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_module, "_plotly", lambda: "const Plotly = {};")


def sample(**changed: Any) -> Comparison:
    """Return three contenders, one of them slow to find anything and one <named> oddly."""
    runs = [made_run("random", [0.4, 0.6, 0.7, 0.8], seed) for seed in (0, 1)]
    runs += [
        made_run("nsga2", [0.5, 0.7, 0.85, 0.9], 0),
        made_run("nsga2", [0.1, 0.6, 0.7, 0.8], 1),
    ]
    runs += [made_run("greedy", [0.9, 0.85, 0.75, 0.7], infeasible=[0, 1])]
    labels = [None, None, "<b>&", "<b>&", None]
    return made_comparison(runs, labels, **changed)


@pytest.fixture
def page() -> Page:
    return Page(render_comparison(sample()))


def test_the_page_is_whole_and_its_scripts_find_their_elements(page: Page) -> None:
    assert page.faults == []
    ids = {attrs.get("id") for _, attrs in page.tags}
    assert set(re.findall(r'(?:byId|draw)\("([^"]+)"', page.code[-1])) <= ids
    assert all(section["aria-labelledby"] in ids for section in page.all("section"))


def test_the_verdict_comes_first_and_the_figures_follow(page: Page) -> None:
    found = sample()
    assert verdict(found) in page.text
    assert "energy ≤ 9 µJ" in page.text
    for row in found.rows:
        assert (
            " ".join([row.name, *cells(found, row)]).replace("\N{NO-BREAK SPACE}", " ") in page.text
        )
    for one in found.contenders:
        assert all(run.folder in page.text for run in one.runs)


def test_names_are_shown_as_they_are(page: Page) -> None:
    assert "<b>&" in page.text
    assert not page.all("b")


def test_columns_have_headings_with_and_without_a_yardstick() -> None:
    alone = made_comparison([made_run("greedy", [0.5]), made_run("milp", [0.4])])
    for found in (sample(), alone):
        assert all(len(cells(found, row)) == len(headings(found)) for row in found.rows)
    assert len(headings(alone)) == len(headings(sample())) - 1


def test_curves_start_where_the_median_run_has_found_something() -> None:
    greedy = next(one for one in series(sample()) if one.name == "greedy")
    assert greedy.quality.x == (3, 4)
    assert greedy.quality.middle == (0.75, 0.75)
    assert greedy.volume.x == (1, 2, 3, 4)


def test_a_band_without_a_lower_end_goes_to_the_edge_of_the_axis() -> None:
    runs = [made_run("random", [0.5, 0.6], 0, [0, 1]), made_run("random", [0.5, 0.6], 1)]
    found = made_comparison([*runs, made_run("random", [0.7, 0.8], 2)])
    (one,) = series(found)
    assert one.quality.low == (quality_range(found)[0],) * 2
    assert one.quality.middle == (0.5, 0.6)


def test_the_yardstick_is_grey_and_colours_that_return_are_dashed() -> None:
    names = [f"s{number}" for number in range(len(COLORS) + 1)]
    runs = [made_run(name, [0.9 - 0.01 * number]) for number, name in enumerate(names)]
    looks = series(made_comparison([*runs, made_run("random", [0.95])]))
    assert looks[0].color == GREY
    assert [one.color for one in looks[1:-1]] == list(COLORS)
    assert (looks[-1].color, looks[-1].dashed) == (COLORS[0], True)
    assert not any(one.dashed for one in looks[:-1])


def test_the_quality_axis_leaves_out_a_slow_start() -> None:
    runs = [made_run("a", [0.1, *[0.9] * 9]), made_run("b", [0.2, *[0.92] * 9])]
    runs += [made_run("slow", [*[0.1] * 9, 0.91])]
    low, high = quality_range(made_comparison(runs))
    assert 0.89 < low < 0.9
    assert 0.92 < high < 0.93


def test_nothing_within_the_limits_is_said_and_drawn_as_nothing() -> None:
    found = made_comparison([made_run("random", [0.5, 0.6], infeasible=[0, 1])])
    page = Page(render_comparison(found))
    assert page.faults == []
    assert "Nobody found a plan within the limits" in page.text
    assert page.data["contenders"][0]["quality"]["x"] == []
    assert ET.fromstring(render_svg(found)).tag == f"{SVG}svg"


@pytest.mark.parametrize("write", [write_compare_page, write_compare_svg])
def test_files_are_written_or_refused(tmp_path: Path, write: Any) -> None:
    write(sample(), tmp_path / "compare.file")
    assert "greedy" in (tmp_path / "compare.file").read_text(encoding="utf-8")
    with pytest.raises(HwflowError, match="Cannot write"):
        write(sample(), tmp_path / "missing" / "compare.file")


def test_the_picture_is_white_labelled_and_clipped() -> None:
    root = ET.fromstring(render_svg(sample()))
    rect = root.find(f"{SVG}rect")
    assert rect is not None
    assert rect.get("fill") == "white"
    words = {text.text for text in root.iter(f"{SVG}text")}
    assert {"random", "<b>&", "greedy", "evaluations", "hypervolume"} <= words
    assert "best accuracy within the limits" in words
    clips = {clip.get("id") for clip in root.iter(f"{SVG}clipPath")}
    groups = [group.get("clip-path") for group in root.iter(f"{SVG}g")]
    assert len(clips) == len(groups) == 2
    assert {f"url(#{name})" for name in clips} == set(groups)
    assert len(list(root.iter(f"{SVG}polygon"))) == 6


def test_the_picture_is_large_enough_for_its_legend_and_names() -> None:
    runs = [made_run(f"contender with a long name {number}", [0.5]) for number in range(9)]
    root = ET.fromstring(render_svg(made_comparison(runs)))
    width, height = (float(root.get(key, "0")) for key in ("width", "height"))
    for text in root.iter(f"{SVG}text"):
        assert 0 < float(text.get("x", "0")) < width
        assert 0 < float(text.get("y", "0")) < height
    rows = {text.get("y") for text in root.iter(f"{SVG}text") if "contender" in (text.text or "")}
    assert len(rows) == 3


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.9812, 0.9951), (0, 400), (3, 3.0001)])
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 7
    assert low - 1e-9 <= min(found) <= max(found) <= high + 1e-9
    assert len(set(labels(found, share=high <= 1))) == len(found)


def test_tick_labels_have_the_digits_of_their_step() -> None:
    assert labels([0.98, 0.985, 0.99], share=True) == ["98.0 %", "98.5 %", "99.0 %"]
    assert labels([0.0, 0.2, 0.4], share=False) == ["0.0", "0.2", "0.4"]
    assert labels([0, 50, 100], share=False) == ["0", "50", "100"]


DRAW = """
const report = JSON.parse(require("fs").readFileSync(0, "utf8"));
const figures = ["quality", "volume"].map((key) => hwflowCompare.curves(report, key));
console.log(JSON.stringify(figures));
"""


@pytest.fixture
def drawn() -> Any:
    if NODE is None:
        pytest.skip("node is not installed")
    texts = [files("hwflow.report").joinpath(n).read_text() for n in ("figures.js", "compare.js")]
    script = "\n".join(texts).replace('"use strict";', "") + DRAW
    given = json.dumps(compare_page_data(sample(), series(sample())))
    done = subprocess.run([NODE, "-e", script], input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_charts_draw_a_band_and_a_line_for_every_contender(drawn: Any) -> None:
    for figure, look in zip(drawn, ("quality", "volume"), strict=True):
        bands = [trace for trace in figure["data"] if trace.get("fill") == "tonexty"]
        lines = [trace for trace in figure["data"] if trace.get("text")]
        assert len(bands) == len(lines) == 3
        assert figure["layout"]["xaxis"]["range"][1] >= 4
        best = getattr(series(sample())[0], look)
        assert lines[-1]["y"] == pytest.approx(list(best.middle))
        assert lines[-1]["x"] == list(best.x)


def test_hover_texts_give_the_figure_its_range_and_names_as_they_are(drawn: Any) -> None:
    texts = [text for trace in drawn[0]["data"] for text in trace.get("text", [])]
    assert "<b>&lt;b&gt;&amp;</b>, 4 evaluations<br>accuracy 85.00 % (80.00 % to 90.00 %)" in texts
    assert "<b>random</b>, 4 evaluations<br>accuracy 80.00 %" in texts
