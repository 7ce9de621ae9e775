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
from page_reader import Page
from sample_data import sample

from hwflow.front import Front
from hwflow.report import ReportData, render

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


def opened(data: ReportData, folder: Path, width: int = 1280) -> Any:
    """Open the report with a script that watches it and one that uses it."""
    text = render(data)
    for script in (WATCH, ACT):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        text = text.replace("script-src ", f"script-src &#39;sha256-{digest}&#39; ", 1)
    text = text.replace("<style>", f"<script>{WATCH}</script><style>", 1)
    head, _, tail = text.rpartition("</body>")
    path = folder / "report.html"
    path.write_text(f"{head}<script>{ACT}</script></body>{tail}", encoding="utf-8")
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
    found = opened(sample(), tmp_path, width)
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
    found = opened(data, tmp_path)
    assert found["faults"] == []
    assert found["loaded"] == []
    assert not found["wide"]
