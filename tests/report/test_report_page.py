from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_reader import Page
from sample_data import sample

from hwflow.errors import HwflowError
from hwflow.front import Front
from hwflow.report import ReportData, render, write_report
from hwflow.report import document as document_module
from hwflow.report.document import embed
from hwflow.report.page import page_data
from hwflow.report.series import plain
from hwflow.workload import Layer, Workload

HOSTILE = "</script><b>\"'&{{7*7}}<!--"


@pytest.fixture(scope="module")
def whole() -> str:
    return render(sample())


@pytest.fixture(scope="module")
def page(whole: str) -> Page:
    return Page(whole)


@pytest.fixture
def without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave five megabytes out that these tests do not look at."""
    monkeypatch.setattr(document_module, "_plotly", lambda: "const Plotly = {};")


def small(data: ReportData) -> Page:
    return Page(render(data))


def test_every_element_is_closed(page: Page) -> None:
    assert page.faults == []
    assert page.open == []


def test_headline_comes_first_and_in_full(page: Page) -> None:
    headline = "networks on the front; at"
    assert headline in page.text
    assert page.text.index(headline) < page.text.index("Every network that was tried")


def test_sections_are_labelled_by_headings(page: Page) -> None:
    ids = {attrs.get("id") for _, attrs in page.tags}
    sections = page.all("section")
    assert len(sections) == 10
    assert all(section["aria-labelledby"] in ids for section in sections)


def test_ids_are_unique(page: Page) -> None:
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_scripts_find_every_element_they_ask_for(page: Page) -> None:
    ids = {attrs.get("id") for _, attrs in page.tags}
    asked = set(re.findall(r'byId\("([^"]+)"\)', page.code[-1]))
    asked |= set(re.findall(r'draw\("([^"]+)"', page.code[-1]))
    assert len(asked) > 10
    assert asked <= ids


def test_page_loads_nothing(page: Page) -> None:
    loading = {"src", "href", "srcset", "action", "data", "poster", "background", "ping"}
    found = [(tag, key) for tag, attrs in page.tags for key in attrs if key in loading]
    assert found == []
    assert not {"link", "iframe", "img", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    own = "".join(page.code[1:]) + "".join(page.styles)
    for word in ("http:", "https:", "url(", "@import", "fetch(", "import(", "XMLHttp", "eval("):
        assert word not in own


def test_no_attribute_runs_code(page: Page) -> None:
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]


def test_policy_admits_exactly_the_scripts_of_the_page(page: Page) -> None:
    (meta,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    policy = str(meta["content"])
    assert policy.startswith("default-src 'none';")
    hashes = [base64.b64encode(hashlib.sha256(c.encode()).digest()).decode() for c in page.code]
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes
    assert "http" not in policy
    assert "unsafe-eval" not in policy


def test_plotly_is_inlined_whole(page: Page) -> None:
    from plotly.offline import get_plotlyjs

    assert page.code[0] == get_plotlyjs()


def test_embedded_data_equal_the_input(page: Page) -> None:
    data = sample()
    expected = plain(page_data(data, None)) | {"selected": page.data["selected"]}
    assert page.data == json.loads(json.dumps(expected))


def test_embedded_trials_are_the_evaluated_ones(page: Page) -> None:
    data, trials = sample(), page.data["trials"]
    assert trials["number"] == [t.number for t in data.trials if t.quality is not None]
    assert trials["quality"] == [t.quality for t in data.trials if t.quality is not None]
    energies = [t.total["energy_j"] for t in data.evaluated]
    assert trials["energy_j"] == pytest.approx(energies, rel=1e-6)
    on_front = [n for n, on in zip(trials["number"], trials["front"], strict=True) if on]
    assert sorted(on_front) == sorted(t.number for t in data.front)


def test_table_of_the_front_has_every_network_with_its_numbers(page: Page) -> None:
    data = sample()
    rows = [attrs["data-row"] for attrs in page.all("tr") if "data-row" in attrs]
    assert sorted(map(int, filter(None, rows))) == sorted(t.number for t in data.front)
    values = {attrs["data-value"] for attrs in page.all("td") if "data-value" in attrs}
    assert {str(t.quality) for t in data.front} <= values
    assert {str(t.total["energy_j"]) for t in data.front} <= values


def test_totals_of_the_selected_network_stand_in_the_html(page: Page) -> None:
    network = page.data["networks"][str(page.data["selected"])]
    for row in network["rows"]:
        assert row["after"].replace("\N{NO-BREAK SPACE}", " ") in page.text
    assert network["command"] in page.text


def test_provenance_and_machine_sources_are_shown(page: Page) -> None:
    data = sample()
    assert data.machine.digest() in page.text
    assert "versions: torch 2.9.0" in page.text
    for path, figure in data.machine.figures():
        assert path in page.text
        assert " ".join(figure.source.split()) in page.text


def test_same_data_give_the_same_page(whole: str) -> None:
    assert render(replace(sample())) == whole


def test_plan_can_be_read_back_from_the_page(page: Page) -> None:
    data = sample()
    trial = data.front.trials[0]
    choices, plan = page.data["choices"], page.data["networks"][str(trial.number)]["plan"]
    assert trial.space is not None
    values = {c["name"]: c["options"][i] for c, i in zip(choices, plan, strict=True)}
    assert values == trial.space.values(trial.plan)


@pytest.mark.usefixtures("without_plotly")
def test_hostile_names_are_shown_as_text() -> None:
    data = hostile(sample())
    page = small(data)
    assert page.faults == []
    assert page.all("b") == []
    assert page.data["model"] == HOSTILE
    assert f"evil{HOSTILE}" in page.data["layers"]["names"]
    assert page.text.count(" ".join(HOSTILE.split())) >= 6
    assert page.text.count("{{7*7}}") >= 6  # shown, not computed
    assert len(page.code) == 6  # Plotly and our own


def hostile(data: ReportData) -> ReportData:
    return replace(
        data,
        title=HOSTILE,
        model=HOSTILE,
        run=HOSTILE,
        level=HOSTILE,
        quality=HOSTILE,
        workload_before=renamed(data.workload_before),
        cost_before=replace(
            data.cost_before,
            layers=tuple(replace(c, name=rename(c.name)) for c in data.cost_before.layers),
        ),
        details={},
        roofline=None,
        provenance={HOSTILE: {HOSTILE: [HOSTILE]}},
        notes=(HOSTILE,),
        machine=data.machine.model_copy(update={"name": HOSTILE, "description": HOSTILE}),
    )


def rename(name: str) -> str:
    return f"evil{HOSTILE}" if name == "conv1" else name


def renamed(workload: Workload) -> Workload:
    layers = [
        replace(layer, name=rename(layer.name), inputs=tuple(map(rename, layer.inputs)))
        for layer in workload
    ]
    strange = replace(layers[-2], name=f"odd{HOSTILE}", op="unknown")
    return replace(workload, layers=(*layers, replace(strange, inputs=(layers[-3].name,))))


@given(st.text())
def test_embedded_json_cannot_leave_its_element(text: str) -> None:
    found = str(embed({text: [text]}))
    assert not set(found) & set("<>&\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}")
    assert json.loads(found) == {text: [text]}


def test_embedding_refuses_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        embed({"energy": float("nan")})


@pytest.mark.usefixtures("without_plotly")
def test_empty_front_is_reported_as_it_is() -> None:
    data = sample()
    broken = [t for t in data.trials if t.infeasible]
    page = small(
        replace(data, front=Front.of(broken, data.front.objectives), trials=broken, details={})
    )
    assert page.faults == []
    assert page.data["selected"] is None
    assert f"All {len(broken)} networks tried break a limit" in page.text
    assert f"{len(broken)} × energy above 1 mJ" in page.text
    assert page.all("select", id="network") == []
    assert "The front is empty." in page.text


@pytest.mark.usefixtures("without_plotly")
def test_search_without_any_trial_has_a_page() -> None:
    data = sample()
    page = small(replace(data, front=Front.of([], data.front.objectives), trials=[], details={}))
    assert "Nothing has been evaluated yet." in page.text
    assert page.data["progress"] == []


@pytest.mark.usefixtures("without_plotly")
def test_front_of_one_network_is_selected() -> None:
    data = sample()
    one = data.front.trials[-1]
    front = Front.of([one], data.front.objectives)
    page = small(
        replace(data, front=front, trials=[one], details={one.number: data.details[one.number]})
    )
    assert page.data["selected"] == one.number
    assert "1 network on the front" in page.text


@pytest.mark.usefixtures("without_plotly")
def test_missing_roofline_and_baseline_are_said() -> None:
    page = small(replace(sample(), roofline=None, baseline=None))
    assert page.data["roofline"] is None
    assert "There is no roofline here" in page.text
    assert "The original's accuracy was not measured" in page.text
    assert page.all("div", id="chart-roofline") == []


@pytest.mark.usefixtures("without_plotly")
def test_values_that_are_not_finite_become_gaps() -> None:
    data = sample()
    odd = [
        replace(data.front.trials[0], number=1000, quality=float("nan")),
        replace(
            data.front.trials[0],
            number=1001,
            total={**data.front.trials[0].total, "energy_j": float("inf")},
        ),
    ]
    trials = [*data.trials, *odd]
    page = small(replace(data, trials=trials, front=Front.of(trials, data.front.objectives)))
    row = page.data["trials"]["number"].index(1000)
    assert page.data["trials"]["quality"][row] is None
    assert page.data["trials"]["energy_j"][row + 1] is None
    assert "nan" not in page.text.lower().split()


@pytest.mark.usefixtures("without_plotly")
def test_unknown_layers_are_named() -> None:
    data = sample()
    odd = Layer("mystery", "unknown", ("linear",), ((1, 10),), (1, 10), input_bits=(32,))
    before = replace(data.workload_before, layers=(*data.workload_before.layers, odd))
    page = small(replace(data, workload_before=before))
    assert "1 layer with an operator that hwflow does not know" in page.text
    assert "mystery" in page.text


@pytest.mark.usefixtures("without_plotly")
def test_relative_energies_are_said_to_be_no_joules() -> None:
    assert "no joules of a chip" in small(sample(machine="eyeriss-isca16")).text
    assert "no joules of a chip" not in small(sample()).text


@pytest.mark.usefixtures("without_plotly")
def test_details_of_a_trial_off_the_front_are_refused() -> None:
    data = sample()
    detail = next(iter(data.details.values()))
    with pytest.raises(HwflowError, match=r"#9999.*not on the front"):
        render(replace(data, details={9999: detail}))


@pytest.mark.usefixtures("without_plotly")
def test_command_line_survives_a_shell() -> None:
    page = small(replace(sample(), run="my runs/a; rm -rf $HOME"))
    for number, network in page.data["networks"].items():
        words = shlex.split(network["command"])
        assert words == [
            "hwflow",
            "build",
            "my runs/a; rm -rf $HOME",
            "--pick",
            f"#{number}",
            "--to",
            "net.onnx",
        ]


@pytest.mark.usefixtures("without_plotly")
def test_report_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(sample(), path)
    assert path.read_text(encoding="utf-8") == render(sample())
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.usefixtures("without_plotly")
def test_failed_write_leaves_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(HwflowError, match="No space left on device"):
        write_report(sample(), path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.usefixtures("without_plotly")
def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(HwflowError, match=r"Cannot write the report .*nowhere"):
        write_report(sample(), tmp_path / "nowhere" / "report.html")


@pytest.mark.usefixtures("without_plotly")
def test_deep_network_keeps_every_layer() -> None:
    data = sample(blocks=13, count=20)
    page = small(data)
    costly = [c.name for c in data.cost_before.layers if c.bound_by != "free"]
    assert len(costly) == 120
    assert page.data["layers"]["names"] == costly
