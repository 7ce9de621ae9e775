"""The page in a real browser: it draws, follows clicks, and breaks no rule of its own policy."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_runs import made_comparison, made_run
from page_reader import Page
from sample_data import sample
from sample_fine import compared, costed, fine_run

from hwflow.front import Front
from hwflow.report import render, render_comparison, render_cost, render_levels

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

WATCH = """
window.faults = [];
addEventListener("error", (event) => faults.push(event.message));
addEventListener("securitypolicyviolation", (event) => faults.push(event.violatedDirective));
"""
ACT = """
const first = (selector) => document.querySelector(selector);
const told = () => ({
  number: first('[data-field="number"]')?.textContent,
  energy: first('[data-field="energy_j.after"]')?.textContent,
  command: first('[data-field="command"]')?.textContent,
  current: first("tr[aria-current]")?.dataset.row,
  layers: first("#chart-layers").data.map((trace) => trace.name),
  roofline: first("#chart-roofline")?.data?.map((trace) => trace.name),
});
const before = told();
[...document.querySelectorAll("#front-table .link")].pop()?.click();
const after = told();
first("#cost-axis").value = "model_bytes";
first("#cost-axis").dispatchEvent(new Event("change"));
const axis = first("#chart-front").layout.xaxis.title.text;
const headings = [...document.querySelectorAll("#front-table thead th")];
headings[2]?.click();
const rows = [...document.querySelectorAll("#front-table tbody tr")];
const sorted = rows.map((row) => Number(row.cells[2].dataset.value));
const wide = document.documentElement.scrollWidth > innerWidth;
const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
const result = document.createElement("pre");
result.id = "result";
result.textContent = JSON.stringify({ faults, before, after, axis, sorted, loaded, wide });
document.body.append(result);
"""


def opened(text: str, folder: Path, width: int = 1280, act: str = ACT) -> Any:
    """Open a page with a script that watches it and one that uses it."""
    for script in (WATCH, act):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        text = text.replace("script-src ", f"script-src &#39;sha256-{digest}&#39; ", 1)
    text = text.replace("<style>", f"<script>{WATCH}</script><style>", 1)
    head, _, tail = text.rpartition("</body>")
    path = folder / "report.html"
    path.write_text(f"{head}<script>{act}</script></body>{tail}", encoding="utf-8")
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--disable-background-networking", f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},1000", "--virtual-time-budget=5000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    page = Page(done.stdout)
    place = next(i for i, word in enumerate(page.words) if word.startswith('{"faults"'))
    return json.loads(page.words[place])


@pytest.mark.parametrize("width", [1280, 800])
def test_page_follows_a_click_everywhere(tmp_path: Path, width: int) -> None:
    found = opened(render(sample()), tmp_path, width)
    assert found["faults"] == []
    assert found["loaded"] == []
    assert not found["wide"]
    before, after = found["before"], found["after"]
    assert after["number"] != before["number"]
    assert after["number"] in after["command"]
    assert after["current"] == after["number"].removeprefix("#")
    assert after["energy"] != before["energy"]
    assert any(name.startswith(after["number"]) for name in after["roofline"])
    assert any(name.startswith("limited by") for name in after["layers"])
    assert found["axis"] == "model size"
    assert found["sorted"] == sorted(found["sorted"])


@pytest.mark.parametrize("case", ["empty", "bare", "deep"])
def test_odd_reports_open_without_a_fault(tmp_path: Path, case: str) -> None:
    data = sample(blocks=13, count=20) if case == "deep" else sample()
    if case == "empty":
        data = replace(data, front=Front.of([], data.front.objectives), trials=[], details={})
    if case == "bare":
        data = replace(data, roofline=None, baseline=None, details={})
    found = opened(render(data), tmp_path)
    assert found["faults"] == []
    assert found["loaded"] == []
    assert not found["wide"]


TELL = """
const first = (selector) => document.querySelector(selector);
const change = (id, value) => {
  first(id).value = value;
  first(id).dispatchEvent(new Event("change"));
};
const tell = (found) => {
  const result = document.createElement("pre");
  result.id = "result";
  const wide = document.documentElement.scrollWidth > innerWidth;
  result.textContent = JSON.stringify({ faults, wide, ...found });
  document.body.append(result);
};
const drawing = () => first("#mapping-drawing").textContent;
const nest = () => first("#mapping-text").textContent;
"""
EXPLORE = f"""{TELL}
const start = drawing(), selected = nest();
change("#mapping-side", "before");
const before = nest();
change("#mapping-layer", first("#mapping-layer").options[0].value);
tell({{ start, selected, before, other: nest(), energy: first("#chart-energy").data.length }});
"""
CLICK = f"""{TELL}
const start = nest(), buttons = [...document.querySelectorAll("button[data-layer]")];
buttons[0].click();
const other = nest(), name = first("#mapping-layer").selectedOptions[0].textContent;
document.querySelectorAll("#layer-table thead th")[5].click();
const rows = [...document.querySelectorAll("#layer-table tbody tr")];
const sorted = rows.map((row) => Number(row.cells[5].dataset.value));
tell({{ start, other, name, wanted: buttons[0].dataset.layer, sorted }});
"""
CHOOSE = f"""{TELL}
const axis = () => first("#chart-coarse").layout.xaxis.title.text;
const start = axis();
change("#metric", "energy_j");
change("#stand-in", "own");
tell({{ start, axis: axis(), y: first("#chart-mid").layout.yaxis.title.text }});
"""

DRAWN = f"""{TELL}
const shown = (id) => first(id).querySelectorAll(".scatterlayer .trace").length;
tell({{ quality: shown("#chart-quality"), volume: shown("#chart-volume") }});
"""


@pytest.mark.parametrize("width", [1280, 800])
def test_comparison_draws_what_was_found_within_the_limits(tmp_path: Path, width: int) -> None:
    runs = [made_run("random", [0.4, 0.6, 0.7], seed) for seed in (0, 1)]
    runs += [made_run("greedy", [0.9, 0.8, 0.7], infeasible=[0, 1, 2])]
    found = opened(render_comparison(made_comparison(runs)), tmp_path, width, DRAWN)
    assert found["faults"] == []
    assert not found["wide"]
    assert found["quality"] >= 1
    assert found["volume"] >= 2


def test_explorer_follows_the_layer_and_the_network(tmp_path: Path) -> None:
    found = opened(render(fine_run()), tmp_path, act=EXPLORE)
    assert found["faults"] == []
    assert not found["wide"]
    assert "PEs work" in found["start"]
    assert found["selected"] != found["before"] != found["other"]
    assert found["energy"] >= 10


@pytest.mark.parametrize("width", [1280, 800])
def test_a_click_on_a_layer_shows_its_mapping(tmp_path: Path, width: int) -> None:
    found = opened(render_cost(costed()), tmp_path, width, CLICK)
    assert found["faults"] == []
    assert not found["wide"]
    assert found["name"] == found["wanted"]
    assert found["start"] != found["other"]
    assert found["sorted"] == sorted(found["sorted"])


def test_levels_page_follows_its_lists(tmp_path: Path) -> None:
    found = opened(render_levels(compared()), tmp_path, act=CHOOSE)
    assert found["faults"] == []
    assert not found["wide"]
    assert found["start"] == "coarse BitOPs"
    assert found["axis"] == "coarse energy"
    assert found["y"] == "fine energy"
