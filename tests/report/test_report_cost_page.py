from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from page_reader import Page
from sample_fine import costed, fine_run

from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.report import document as document_module
from hwflow.report import render, render_cost, write_cost_page
from hwflow.report.cost_page import CostData, headline
from hwflow.units import show

HOSTILE = "</script><b>\"'&{{7*7}}<!--"


@pytest.fixture(autouse=True)
def without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave five megabytes out that these tests do not look at."""
    monkeypatch.setattr(document_module, "_plotly", lambda: "const Plotly = {};")


@pytest.fixture
def page() -> Page:
    return Page(render_cost(costed()))


def test_the_page_is_whole(page: Page) -> None:
    assert page.faults == []
    assert page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all(section["aria-labelledby"] in ids for section in page.all("section"))


def test_scripts_find_every_element_they_ask_for(page: Page) -> None:
    ids = {attrs.get("id") for _, attrs in page.tags}
    asked = set(re.findall(r'(?:byId|draw|legend)\("([^"]+)"', "".join(page.code[1:])))
    assert len(asked) > 8
    assert asked - {"mapping-side"} <= ids


def test_policy_admits_exactly_the_scripts_of_the_page(page: Page) -> None:
    (meta,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    hashes = [base64.b64encode(hashlib.sha256(c.encode()).digest()).decode() for c in page.code]
    assert re.findall(r"'sha256-([^']+)'", str(meta["content"])) == hashes
    own = "".join(page.code[1:]) + "".join(page.styles)
    for word in ("http:", "https:", "url(", "@import", "fetch(", "import(", "XMLHttp", "eval("):
        assert word not in own


def test_totals_and_headline_are_those_of_the_cost(page: Page) -> None:
    data = costed()
    latency = show(data.cost.total["latency_s"], "s")
    assert page.text.count(latency) >= 3  # headline, card, table
    assert headline(data).replace("\N{NO-BREAK SPACE}", " ") in page.text
    assert "binds take" in headline(data)


def test_every_layer_says_what_binds_it_and_what_helps(page: Page) -> None:
    data = costed()
    assert data.relief is not None
    for layer in data.relief.layers:
        assert layer.sentence in page.text
    buttons = [attrs["data-layer"] for attrs in page.all("button") if "data-layer" in attrs]
    assert buttons == [report.name for report in data.reports]


def test_remedies_are_ranked_with_what_they_save(page: Page) -> None:
    relief = costed().relief
    assert relief is not None
    places = [
        page.text.index(gain.doing, page.text.index("change latency")) for gain in relief.total
    ]
    assert places == sorted(places)
    assert "Latency saved in each layer" in page.text


def test_page_data_hold_one_network(page: Page) -> None:
    data = page.data
    assert data["single"] is True
    assert data["layers"]["after"] == {}
    assert set(data["anatomy"]["sides"]) == {"before"}
    assert data["roofline"]["before"]["spots"]


def coarse_only() -> CostData:
    data = costed()
    design = Design(data.workload, data.machine)
    return replace(
        data, level="mid", cost=Mid().cost(design), reports=(), relief=None, roofline=None
    )


def test_a_level_without_mappings_has_a_page_without_their_sections() -> None:
    page = Page(render_cost(coarse_only()))
    assert page.faults == []
    assert page.data["anatomy"] is None
    titles = {attrs["aria-labelledby"] for attrs in page.all("section")}
    assert not {"relief-title", "energy-title", "mapping-title"} & titles
    assert "There is no roofline here" in page.text
    assert page.all("button", **{"data-layer": "conv1"}) == []


def test_hostile_names_are_shown_as_text() -> None:
    data = coarse_only()
    machine = data.machine.model_copy(update={"name": HOSTILE, "description": HOSTILE})
    layers = tuple(
        replace(layer, name=layer.name.replace("linear", HOSTILE)) for layer in data.workload
    )
    odd = replace(
        data, model=HOSTILE, machine=machine, notes=(HOSTILE,), provenance={HOSTILE: HOSTILE},
        workload=replace(data.workload, name=HOSTILE, layers=layers, outputs=(HOSTILE,)),
        cost=replace(data.cost, layers=tuple(
            replace(c, name=c.name.replace("linear", HOSTILE)) for c in data.cost.layers
        )),
    )  # fmt: skip
    page = Page(render_cost(odd))
    assert page.faults == []
    assert page.all("b") == []
    assert HOSTILE in page.data["layers"]["names"]
    assert page.text.count("{{7*7}}") >= 6


def test_the_page_is_written_whole(tmp_path: Path) -> None:
    write_cost_page(costed(), tmp_path / "cost.html")
    assert (tmp_path / "cost.html").read_text(encoding="utf-8") == render_cost(costed())


def test_the_runs_page_shares_the_sections(page: Page) -> None:
    run = Page(render(fine_run()))
    assert run.faults == []
    titles = [{attrs["aria-labelledby"] for attrs in p.all("section")} for p in (page, run)]
    assert {"energy-title", "mapping-title", "roofline-title"} <= titles[0] & titles[1]
    assert run.all("select", id="mapping-side")
    assert not page.all("select", id="mapping-side")
    assert run.code[2:4] == page.code[2:4]


def test_operands_that_nobody_quantised_are_called_float(page: Page) -> None:
    assert "w float a float" in page.text
    data = costed()
    narrow = data.workload.with_bits(
        dict.fromkeys([x.name for x in data.workload.mac_layers], 4), {}
    )
    assert "w4 a float" in Page(render_cost(replace(data, workload=narrow))).text


def test_a_measured_network_has_no_energy_and_nothing_that_binds_it() -> None:
    data = coarse_only()
    layers = tuple(
        replace(
            row, bound_by="measured",
            values={k: v for k, v in row.values.items() if k in ("latency_s", "macs")},
        )
        for row in data.cost.layers
    )  # fmt: skip
    cost = replace(
        data.cost, layers=layers, standing={"latency_s": "measured", "macs": "exact"},
        total={"latency_s": data.cost.total["latency_s"], "macs": data.cost.total["macs"]},
    )  # fmt: skip
    measured = replace(data, level="measured", cost=cost)
    slowest = max(layers, key=lambda layer: layer.latency_s)
    assert slowest.name in headline(measured)
    assert "binds" not in headline(measured)
    page = Page(render_cost(measured))
    assert page.faults == []
    assert "energy" not in page.text.split("The layers as bars")[0].lower()
    assert "binds" not in page.text
