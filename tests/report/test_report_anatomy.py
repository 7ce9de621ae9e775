from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from math import prod
from typing import Any

import pytest
from sample_data import sample
from sample_fine import costed, fine_run

from hwflow.report.anatomy import anatomy, part_name
from hwflow.report.cost_page import cost_page_data
from hwflow.report.page import page_data
from hwflow.report.series import charts

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def found() -> Any:
    return charts(fine_run())["anatomy"]


def test_parts_of_every_layer_add_up_to_its_energy() -> None:
    data, inside = fine_run(), found()
    costs = {"before": data.cost_before}
    costs |= {str(number): cost for number, (_, cost) in data.details.items()}
    for key, cost in costs.items():
        side, by_name = inside["sides"][key], {layer.name: layer for layer in cost.layers}
        for row, name in enumerate(inside["layers"]):
            parts = [side["energy"][part["id"]][row] or 0 for part in inside["parts"]]
            assert sum(parts) == pytest.approx(by_name[name].energy_j, rel=1e-5)
        assert sum(side["total"].values()) == pytest.approx(cost.total["energy_j"], rel=1e-5)


def test_memories_go_by_the_machines_own_names() -> None:
    inside, machine = found(), fine_run().machine
    names = {part["id"]: part["name"] for part in inside["parts"]}
    assert names["dram"] == "DRAM"
    assert names["buffer"] == "GLB"
    assert part_name(machine, "mac") == "MACs"
    assert inside["levels"] == ["DRAM", "GLB"]


def test_mappings_are_those_of_the_reports() -> None:
    data, inside = fine_run(), found()
    side = inside["sides"]["before"]
    for report in data.reports_before:
        drawn = inside["maps"][side["maps"][inside["layers"].index(report.name)]]
        assert drawn["text"] == report.mapping
        assert drawn["active_pes"] == report.score.active_pes
        assert prod(f for _, f in drawn["rows"] + drawn["cols"]) == report.score.active_pes
        assert drawn["bytes"]["dram"] == pytest.approx(report.score.bytes_by_memory()["dram"])


def test_loops_over_tiles_cover_the_layer() -> None:
    for drawn in found()["maps"]:
        loops = [dict(map(tuple, nest["loops"])) for nest in drawn["nests"]]
        assert len(loops) == len(drawn["tiles"]) - 1
        for place, loop in enumerate("NKCPQRSG"):
            sizes = [tile[place] for tile in drawn["tiles"]]
            assert sizes == sorted(sizes, reverse=True)
            trips = prod(level.get(loop, 1) for level in loops)
            assert trips * drawn["tiles"][-2][place] >= drawn["dims"][place]


def test_equal_mappings_are_kept_once() -> None:
    texts = [json.dumps(one) for one in found()["maps"]]
    assert len(texts) == len(set(texts))
    assert len(texts) < sum(len(side["maps"]) for side in found()["sides"].values())


def test_layers_without_macs_have_energy_and_no_mapping() -> None:
    inside = found()
    row = inside["layers"].index("layer1.0.add")
    side = inside["sides"]["before"]
    assert side["maps"][row] is None
    assert side["energy"]["dram"][row] > 0
    assert side["energy"]["mac"][row] is None


def test_levels_without_mappings_have_no_anatomy() -> None:
    assert charts(sample())["anatomy"] is None
    data = costed()
    sides = {"before": (data.workload, data.cost, ())}
    assert anatomy(data.machine, sides, ["conv1"]) is None


DRAW = """
const report = JSON.parse(require("fs").readFileSync(0, "utf8"));
const others = Object.keys(report.anatomy.sides).filter((side) => side !== "before");
const key = report.single ? "before" : others[0];
console.log(JSON.stringify({
  key,
  layers: hwflowAnatomy.energyByLayer(report, key, 1000),
  total: hwflowAnatomy.energyTotal(report, key),
  legend: hwflowAnatomy.legend(report.anatomy),
  maps: report.anatomy.maps.map((map) => hwflowAnatomy.mapping(report.anatomy, map)),
}));
"""


def draw(report: Any) -> Any:
    texts = [files("hwflow.report").joinpath(n).read_text() for n in ("figures.js", "anatomy.js")]
    assert NODE is not None
    done = subprocess.run(
        [NODE, "-e", "\n".join(texts).replace('"use strict";', "") + DRAW],
        input=json.dumps(report), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def elements(tree: Any) -> Iterator[Any]:
    """Every element of a drawing, itself included."""
    yield tree
    for child in tree[2:]:
        if isinstance(child, list):
            yield from elements(child)


def words(tree: Any) -> list[str]:
    return [e[2] for e in elements(tree) if e[0] == "text"]


@needs_node
def test_stacks_reach_the_energy_of_each_layer() -> None:
    report = page_data(fine_run(), None)
    drawn = draw(report)
    for key, trace_of in (("before", -0.4), (drawn["key"], 0.0)):
        traces = [t for t in drawn["layers"]["data"] if t["offset"] == trace_of]
        side = report["anatomy"]["sides"][key]
        for row in range(len(report["anatomy"]["layers"])):
            whole = sum(column[row] or 0 for column in side["energy"].values())
            tops = [t["base"][row] + t["y"][row] for t in traces]
            assert max(tops) == pytest.approx(whole)
            assert tops == sorted(tops)


@needs_node
def test_totals_of_both_networks_are_drawn() -> None:
    drawn = draw(page_data(fine_run(), None))
    assert len(drawn["total"]["data"][0]["y"]) == 2
    assert drawn["total"]["data"][0]["y"][1].startswith("original, ")
    single = draw(cost_page_data(costed()))
    assert len(single["total"]["data"][0]["y"]) == 1
    assert [name for name, _ in single["legend"]][:2] == ["MACs", "scratchpads"]


@needs_node
def test_the_drawing_shows_tiles_array_and_cycles() -> None:
    report = cost_page_data(costed())
    drawn = draw(report)
    assert len(drawn["maps"]) == len(report["anatomy"]["maps"])
    for tree, one in zip(drawn["maps"], report["anatomy"]["maps"], strict=True):
        texts = words(tree)
        assert {"DRAM", "GLB", "array, one pass", "one PE"} <= set(texts)
        assert any(t.endswith("of 14 columns") for t in texts)
        assert any(t.endswith("of 12 rows") for t in texts)
        assert (
            f"{one['active_pes']} of 168 PEs work ({round(100 * one['active_pes'] / 168)} %)"
            in (texts)
        )
        used = [e[1] for e in elements(tree) if e[0] == "rect" and e[1]["fill"] == "#56b4e9"]
        assert used


@needs_node
def test_every_layer_has_a_drawing_that_fits_its_frame() -> None:
    for tree in draw(cost_page_data(costed("systolic-16x16")))["maps"]:
        width, height = tree[1]["width"], tree[1]["height"]
        assert 500 < width < 1400
        assert 200 < height < 600


def test_reports_of_networks_without_details_are_refused() -> None:
    from hwflow.errors import HwflowError
    from hwflow.report import render

    data = fine_run()
    with pytest.raises(HwflowError, match="not on the front"):
        render(replace(data, reports={**data.reports, 9999: ()}))
