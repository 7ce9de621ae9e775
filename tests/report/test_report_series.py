from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_data import quantized, sample

from hwflow.report import ReportData
from hwflow.report.roofline import roofs
from hwflow.report.series import charts, layer_metrics, merged, plain, product_bits, stored_bits
from hwflow.workload import Workload


@cache
def found() -> Any:
    return charts(sample())


def test_everything_drawn_is_json_with_finite_numbers() -> None:
    def check(value: Any) -> None:
        if isinstance(value, dict):
            assert all(isinstance(key, str) for key in value)
            for item in value.values():
                check(item)
        elif isinstance(value, list):
            for item in value:
                check(item)
        else:
            assert value is None or isinstance(value, str | bool | int | float)
            assert not isinstance(value, float) or math.isfinite(value)

    check(found())


def test_layer_costs_before_add_up_to_the_total() -> None:
    layers = found()["layers"]
    assert layers["metrics"] == ["energy_j", "latency_s", "dram_bytes"]
    for name in layers["metrics"]:
        assert sum(layers["before"][name]) == pytest.approx(
            sample().cost_before.total[name], rel=1e-5
        )


def test_layer_costs_after_add_up_to_the_trial() -> None:
    layers = found()["layers"]
    for trial in sample().front:
        side = layers["after"][str(trial.number)]
        assert sum(side["energy_j"]) == pytest.approx(trial.total["energy_j"], rel=1e-5)


def test_bits_by_layer_are_those_of_the_workload() -> None:
    data, layers = sample(), found()["layers"]
    trial = data.front.trials[0]
    after = quantized(data.workload_before, trial.plan)
    side = layers["after"][str(trial.number)]
    for row, name in enumerate(layers["names"]):
        layer = after[name]
        assert side["weight_bits"][row] == (layer.weight_bits if layer.is_mac else None)
        assert side["input_bits"][row] == max(layer.input_bits)


def test_layers_that_cost_nothing_are_left_out() -> None:
    data = sample()
    free = replace(
        data.cost_before.layers[0], name="view", op="reshape", values={}, bound_by="free"
    )
    view = replace(
        data.workload_before.layers[-1], name="view", op="reshape", inputs=("linear",),
        in_shapes=((1, 10),), params=0,
    )  # fmt: skip
    workload = replace(data.workload_before, layers=(*data.workload_before.layers, view))
    cost = replace(data.cost_before, layers=(*data.cost_before.layers, free))
    names = charts(replace(data, workload_before=workload, cost_before=cost))["layers"]["names"]
    assert names == found()["layers"]["names"]
    assert "view" not in names


def test_level_without_energy_shows_what_it_has() -> None:
    cost = sample().cost_before
    layers = tuple(replace(c, values={"macs": 5.0, "bit_ops": 80.0}) for c in cost.layers)
    assert layer_metrics(replace(cost, layers=layers)) == ["bit_ops", "macs"]


def test_layer_that_an_edit_adds_or_drops_leaves_a_gap_on_the_other_side() -> None:
    data = sample()
    trial = data.front.trials[0]
    workload, cost = data.details[trial.number]

    def swap(name: str) -> str:
        return "linear.new" if name == "linear" else name

    changed = (
        replace(workload, outputs=("linear.new",),
                layers=tuple(replace(x, name=swap(x.name)) for x in workload)),
        replace(cost, layers=tuple(replace(c, name=swap(c.name)) for c in cost.layers)),
    )  # fmt: skip
    layers = charts(replace(data, details={trial.number: changed}))["layers"]
    old, new = layers["names"].index("linear"), layers["names"].index("linear.new")
    side = layers["after"][str(trial.number)]
    assert side["energy_j"][old] is None
    assert side["weight_bits"][old] is None
    assert side["energy_j"][new] > 0
    assert layers["before"]["energy_j"][new] is None


def test_new_names_follow_the_names_they_follow() -> None:
    assert merged(["a", "b", "c"], ["a", "a2", "b", "c"]) == ["a", "a2", "b", "c"]
    assert merged(["a", "c"], ["z", "c", "d", "e"]) == ["z", "a", "c", "d", "e"]
    assert merged([], ["a", "b"]) == ["a", "b"]


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.permutations("abcdefgh"))
def test_merging_keeps_every_name_once_and_the_first_order(
    first: list[str], second: list[str]
) -> None:
    names = merged(first, second)
    assert sorted(names) == sorted({*first, *second})
    assert [name for name in names if name in first] == first


def test_mean_bits_follow_their_definitions() -> None:
    total = {"model_bytes": 100.0, "params": 200.0, "macs": 10.0, "bit_ops": 160.0}
    assert stored_bits(total) == 4.0
    assert product_bits(total) == 4.0
    assert stored_bits({"params": 5.0}) is None
    assert product_bits({"macs": 0.0, "bit_ops": 1.0}) is None


def test_uniform_eight_bits_are_about_eight_bits() -> None:
    columns = found()["trials"]
    row = columns["number"].index(4)
    assert columns["weight_bits"][row] == pytest.approx(8, abs=0.2)
    assert columns["product_bits"][row] == pytest.approx(8)


def test_spots_of_the_original_are_those_of_the_roofline() -> None:
    data = sample()
    names, roof = found()["layers"]["names"], found()["roofline"]
    spots = dict(zip(names, roof["before"]["spots"], strict=True))
    assert data.roofline is not None
    for name, x, y in zip(
        data.roofline.layers, data.roofline.ops_per_bit, data.roofline.ops_per_s, strict=True
    ):
        assert spots[name] == pytest.approx([x, y], rel=1e-6)
    assert spots["layer1.0.add"] is None


def test_spots_at_the_mid_level_agree_with_the_costs() -> None:
    drawn = found()
    for number, side in drawn["roofline"]["after"].items():
        costs = {layer.name: layer for layer in sample().details[int(number)][1].layers}
        for name, place in zip(drawn["layers"]["names"], side["spots"], strict=True):
            if place is not None:
                ops, cost = 2 * costs[name].macs, costs[name]
                expected = [ops / (8 * cost.dram_bytes), ops / cost.latency_s]
                assert place == pytest.approx(expected, rel=1e-6)


def workloads(data: ReportData) -> dict[int, Workload]:
    return {number: workload for number, (workload, _) in data.details.items()}


def test_spots_do_not_depend_on_the_level_that_was_searched() -> None:
    data, names = sample(), found()["layers"]["names"]
    drawn = roofs(data.roofline, data.machine, workloads(data), names)
    assert plain(drawn) == found()["roofline"]


def test_no_spot_lies_above_the_roofs() -> None:
    roof = found()["roofline"]
    for side in (roof["before"], *roof["after"].values()):
        top = max(r["ops_per_s"] for r in side["roofs"])
        for x, y in filter(None, side["spots"]):
            assert y <= min(top, x * roof["bits_per_s"]) * (1 + 1e-6)


def test_roofs_of_one_height_share_a_label() -> None:
    data = sample(machine="bitfusion")
    drawn = roofs(data.roofline, data.machine, workloads(data), [])
    assert drawn is not None
    for side in drawn["after"].values():
        heights = [roof["ops_per_s"] for roof in side["roofs"]]
        assert heights == sorted(set(heights), reverse=True)
    crowded = [roof["label"] for side in drawn["after"].values() for roof in side["roofs"]]
    assert any(" more" in label for label in crowded)
    assert all(label.count("w") <= 3 for label in crowded)


def test_plain_rounds_and_drops_what_json_cannot_say() -> None:
    assert plain(
        {1: (1.23456789, float("inf"), float("-inf"), float("nan"), True, 7, None, "x")}
    ) == {"1": [1.234568, None, None, None, True, 7, None, "x"]}
