"""The page's figures, drawn by node where there is one; the page itself needs no node."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from sample_data import sample

from hwflow.front import Front
from hwflow.report import ReportData
from hwflow.report.headline import highlight
from hwflow.report.page import page_data
from hwflow.report.series import plain

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")

DRAW = """
const report = JSON.parse(require("fs").readFileSync(0, "utf8"));
const [cost, other] = report.metrics, chosen = report.selected;
const figures = {
  front: hwflowFigures.front(report, cost, chosen, null),
  near: hwflowFigures.front(report, cost, chosen, 0.85),
  costs: hwflowFigures.costs(report, cost, other, chosen, null),
  layers: hwflowFigures.byLayer(report, chosen, 1000),
  roofline: report.roofline ? hwflowFigures.roofline(report, chosen) : null,
  progress: report.progress.length ? hwflowFigures.progress(report) : null,
};
console.log(JSON.stringify(figures));
"""


def draw(data: ReportData) -> Any:
    script = files("hwflow.report").joinpath("figures.js").read_text(encoding="utf-8") + DRAW
    given = json.dumps(plain(page_data(data, highlight(data))))
    assert NODE is not None
    done = subprocess.run([NODE, "-e", script], input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def trace(figure: Any, name: str) -> Any:
    return next(t for t in figure["data"] if t.get("name") == name)


@pytest.fixture(scope="module")
def figures() -> Any:
    return draw(sample())


def test_front_shows_every_evaluated_network_once(figures: Any) -> None:
    data = sample()
    won, lost = (
        trace(figures["front"], "on the front"),
        trace(figures["front"], "other networks tried"),
    )
    assert sorted(won["customdata"]) == sorted(t.number for t in data.front)
    assert sorted(won["customdata"] + lost["customdata"]) == sorted(
        t.number for t in data.evaluated
    )
    assert trace(figures["front"], "original")["y"] == [data.original_quality]


def test_hover_says_number_quality_costs_and_bits(figures: Any) -> None:
    data = sample()
    won = trace(figures["front"], "on the front")
    trial = next(t for t in data.front if t.number == won["customdata"][0])
    text = won["text"][0]
    assert f"<b>#{trial.number}</b>" in text
    assert f"accuracy {100 * (trial.quality or 0):.2f} %" in text
    for word in ("energy", "latency", "DRAM traffic", "model size", "per parameter"):
        assert word in text


def test_ring_marks_the_selected_network(figures: Any) -> None:
    chosen = highlight(sample())
    assert chosen is not None
    ring = trace(figures["front"], "selected")
    assert ring["y"] == [chosen.quality]
    assert ring["x"] == [pytest.approx(chosen.total["energy_j"], rel=1e-6)]


def test_zoom_keeps_the_original_and_the_near_networks_in_view(figures: Any) -> None:
    low, high = figures["near"]["layout"]["yaxis"]["range"]
    assert 0.8 < low < high < 1
    assert low < (sample().original_quality or 0) < high
    assert figures["front"]["layout"]["yaxis"]["range"][0] < low


def test_outline_climbs_with_cost(figures: Any) -> None:
    line = figures["front"]["data"][0]
    assert line["x"] == sorted(line["x"])
    assert line["y"] == sorted(line["y"])


def test_layer_bars_have_one_place_per_layer(figures: Any) -> None:
    layers = figures["layers"]
    count = len(sample().cost_before.layers)
    assert all(len(t["x"]) == count for t in layers["data"])
    names = {name for name, _ in layers["legend"]}
    assert {"weight bits", "activation bits", "original"} < names
    assert layers["layout"]["xaxis"]["ticktext"][0] == "conv1"


def test_bars_after_are_coloured_once_each_by_their_bound(figures: Any) -> None:
    number = str(highlight(sample()).number)  # type: ignore[union-attr]
    side = plain(page_data(sample(), None))["layers"]["after"][number]
    bars = [t for t in figures["layers"]["data"] if t["yaxis"] == "y2" and t["name"] != "original"]
    for row, energy in enumerate(side["energy_j"]):
        assert [t["y"][row] for t in bars if t["y"][row] is not None] == [energy]


def test_names_are_not_read_as_markup() -> None:
    data = sample()
    evil = tuple(replace(c, name=f"<b>{c.name}") for c in data.cost_before.layers)
    layers = tuple(
        replace(
            x, name=f"<b>{x.name}", inputs=tuple(i if i == "input" else f"<b>{i}" for i in x.inputs)
        )
        for x in data.workload_before
    )
    before = replace(data.workload_before, layers=layers, outputs=("<b>linear",))
    drawn = draw(replace(
        data, workload_before=before, cost_before=replace(data.cost_before, layers=evil),
        details={}, quality="<i>accuracy",
    ))  # fmt: skip
    assert drawn["layers"]["layout"]["xaxis"]["ticktext"][0] == "&lt;b&gt;conv1"
    assert "<b>&lt;b&gt;conv1</b>" in drawn["layers"]["data"][0]["hovertext"][0]
    assert drawn["front"]["layout"]["yaxis"]["title"]["text"] == "&lt;i&gt;accuracy"


def test_narrow_charts_leave_labels_out_rather_than_overlap() -> None:
    drawn = draw(sample(blocks=13, count=20))["layers"]["layout"]["xaxis"]
    assert drawn["tickangle"] == -90
    assert len(drawn["tickvals"]) == 60  # every second of 120 layers on 1000 pixels


def test_axes_start_beside_the_points_and_show_units(figures: Any) -> None:
    assert figures["front"]["layout"]["xaxis"]["ticksuffix"] == "J"
    assert figures["costs"]["layout"]["yaxis"]["ticksuffix"] == "s"


@pytest.mark.parametrize("case", ["empty", "one", "bare", "no details", "infinite"])
def test_odd_searches_can_be_drawn(case: str) -> None:
    data = sample()
    first = data.front.trials[0]
    names = data.front.objectives
    lost = replace(first, number=999, quality=float("nan"))
    odd = {
        "empty": replace(data, front=Front.of([], names), trials=[], details={}),
        "one": replace(data, front=Front.of([first], names), trials=[first], details={}),
        "bare": replace(data, roofline=None, baseline=None),
        "no details": replace(data, details={}),
        "infinite": replace(data, trials=[*data.trials, lost]),
    }[case]  # fmt: skip
    drawn = draw(odd)
    assert drawn["layers"]["data"]
    assert (drawn["roofline"] is None) == (case == "bare")


def test_roofline_holds_both_networks(figures: Any) -> None:
    macs = len(sample().workload_before.mac_layers)
    number = highlight(sample()).number  # type: ignore[union-attr]
    assert len(trace(figures["roofline"], "original")["x"]) == macs
    after = [
        t for t in figures["roofline"]["data"] if t["name"].startswith(f"#{number}, limited by")
    ]
    assert sum(len(t["x"]) for t in after) == macs
    assert len({t["marker"]["color"] for t in after}) == len(after)
    assert figures["roofline"]["layout"]["xaxis"]["type"] == "log"
