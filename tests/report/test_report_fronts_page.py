"""The page and the picture of several fronts, and the heat map in a search's report."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from page_reader import Page
from sample_data import sample

from hwflow.compare import NamedFront
from hwflow.errors import HwflowError
from hwflow.report import render, render_bits_svg, render_fronts, render_fronts_svg

LOW = NamedFront(
    "bismo", "bismo", "fine", (4, 0), (0.7, 0.9),
    {"latency_s": (0.3, 1.0), "energy_j": (0.6, 1.0)},
    {"weight_bits:conv1": (2, 8), "activation_bits:conv1": (4, 8)}, 40,
)  # fmt: skip
HIGH = replace(LOW, name="simd <b>", machine="simd-16", numbers=(7, 3), quality=(0.8, 0.91))


def test_the_page_has_every_front_in_shares_with_its_bits():
    page = Page(render_fronts([LOW, HIGH], "Engine against engine"))
    assert not page.faults
    assert not page.open
    first, second = page.data["fronts"]
    assert first["shares"] == {"latency_s": [0.3, 1.0], "energy_j": [0.6, 1.0]}
    assert first["weights"] == {"names": ["conv1"], "bits": [[2, 8]]}
    assert second["activations"]["bits"] == [[4, 8]]
    assert first["color"] != second["color"]
    assert [entry["id"] for entry in page.data["metrics"]] == ["latency_s", "energy_j"]
    assert "90.0 %" in page.text
    assert "30.0 %" in page.text


def test_names_are_shown_as_they_are_and_nothing_is_loaded():
    source = render_fronts([LOW, HIGH], "Title <i>")
    assert "simd <b>" not in source
    page = Page(source)
    assert "simd <b>" in page.text
    assert not page.all("link")
    assert not [a for a in page.all("script") if "src" in a]


def test_only_costs_that_all_fronts_have_are_drawn():
    single = replace(HIGH, shares={"energy_j": (0.5, 1.0)})
    page = Page(render_fronts([LOW, single], "One cost"))
    assert [entry["id"] for entry in page.data["metrics"]] == ["energy_j"]
    assert not page.all("div", id="chart-second")


@pytest.mark.parametrize("fault", ["empty", "disjoint"])
def test_nothing_to_show_is_said(fault):
    empty = NamedFront("a", "bismo", "fine", (), (), {"energy_j": ()}, {}, 3)
    other = replace(HIGH, shares={"macs": (1.0, 1.0)})
    given, text = ([empty], "no front") if fault == "empty" else ([LOW, other], "in common")
    with pytest.raises(HwflowError, match=text):
        render_fronts(given, "Nothing")


def test_a_search_for_bits_has_a_heat_map_and_one_that_changes_none_has_not():
    data = sample()
    assert Page(render(data)).all("div", id="chart-weight-bits")
    before = (data.workload_before, data.cost_before)
    same = replace(data, details=dict.fromkeys(data.details, before))
    assert not Page(render(same)).all("div", id="chart-weight-bits")


def test_the_pictures_are_well_formed_and_show_every_network():
    fronts = ElementTree.fromstring(render_fronts_svg([LOW, HIGH], "Engines <1>"))
    assert len(fronts.findall(".//{*}circle")) == 2 * 2 * 2  # two fronts and costs, two networks
    words = [text.text for text in fronts.findall(".//{*}text")]
    assert {"Engines <1>", "bismo", "simd <b>"} <= set(words)
    bits = ElementTree.fromstring(render_bits_svg(LOW))
    fills = [cell.get("fill") for cell in bits.findall(".//{*}rect")]
    assert fills.count("#440154") == 2  # two bits: one cell, and the key
    assert fills.count("#fde725") == 3
