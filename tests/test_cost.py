"""Costs as tables, one cost as plain data, and limits."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.cost import METRICS, Bits, Cost, Costs, LayerCost, Limits, metric
from hwflow.errors import HwflowError
from hwflow.units import UnitError
from hwflow.workload import Input, Layer, Workload


def workload() -> Workload:
    shape = (1, 2, 4, 4)
    first = Layer("a", "act", ("x",), (shape,), shape, input_bits=(32,))
    second = Layer("b", "act", ("a",), (shape,), shape, input_bits=(32,))
    return Workload("two", (first, second), (Input("x", shape),), ("b",))


def costs() -> Costs:
    latency = np.array([[0.5, 1.5], [0.25, 0.75]])
    macs = np.array([[3.0, 4.0], [3.0, 4.0]])
    return Costs(
        level="test",
        workload=workload(),
        layers={"latency_s": latency, "macs": macs},
        total={"latency_s": latency.sum(axis=1), "macs": macs.sum(axis=1)},
        standing={"latency_s": "estimate", "macs": "exact"},
        bound_by=np.array([[0, 1], [1, 1]]),
        bounds=("compute", "dram"),
        notes=("a note",),
    )


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_known_by_both_names(name: str) -> None:
    known = METRICS[name]
    assert metric(name) is metric(known.short) is known


def test_an_unknown_metric_is_answered_with_the_nearest() -> None:
    with pytest.raises(HwflowError, match=r"Unknown metric 'latncy'\. Did you mean 'latency'\?"):
        metric("latncy")


def test_bits_are_read_off_workloads_row_by_row() -> None:
    first = workload()
    second = first.with_bits({"a": 4}, {"x": 8, "b": 3})
    bits = Bits.of([first, second])
    assert len(bits) == 2
    assert bits.weights.tolist() == [[32, 32], [4, 32]]
    assert bits.tensors.tolist() == [[32, 32, 32], [8, 32, 3]]


def test_a_row_of_the_table_is_a_cost() -> None:
    row = costs()[1]
    assert row.total == {"latency_s": 1.0, "macs": 7}
    assert [layer.name for layer in row.layers] == ["a", "b"]
    assert [layer.bound_by for layer in row.layers] == ["dram", "dram"]
    assert costs()[0].layers[0].bound_by == "compute"
    assert row.layers[1].values == {"latency_s": 0.75, "macs": 4}
    assert len(costs()) == 2


def test_a_cost_gives_its_metrics_as_attributes() -> None:
    row = costs()[0]
    assert row.latency_s == 2.0
    assert row.layers[0].macs == 3
    assert row.layers[0].energy_j == 0.0
    with pytest.raises(AttributeError):
        _ = row.speed
    with pytest.raises(AttributeError):
        _ = row.layers[0].speed


def test_a_cost_is_plain_data_with_counts_as_whole_numbers() -> None:
    plain = json.loads(json.dumps(costs()[0].to_json()))
    assert plain["total"]["macs"] == 7
    assert isinstance(plain["total"]["macs"], int)
    assert plain["layers"][0] == {
        "name": "a", "op": "act", "latency_s": 0.5, "macs": 3, "bound_by": "compute",
    }  # fmt: skip
    assert plain["standing"]["macs"] == "exact"
    assert plain["notes"] == ["a note"]


def test_a_cost_may_be_made_without_a_table() -> None:
    layer = LayerCost("a", "conv", {"latency_s": 1.0}, "compute")
    made = Cost("table", {"latency_s": 1.0}, (layer,), {"latency_s": "measured"})
    assert made.latency_s == made.layers[0].latency_s == 1.0


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("latency=4ms", "latency_s", 4e-3),
        ("latency_s = 4 ms", "latency_s", 4e-3),
        ("energy < 1 mJ", "energy_j", 1e-3),
        ("dram <= 2 MB", "dram_bytes", 2e6),
        ("model=150 KiB", "model_bytes", 153_600),
        ("macs=40 M", "macs", 40e6),
        ("area=2 mm2", "area_um2", 2e6),
        ("latency=0.004", "latency_s", 4e-3),
    ],
)
def test_limits_are_read_with_units(text: str, name: str, value: float) -> None:
    ((found, limit),) = Limits.read([text]).items()
    assert found == name
    assert limit == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency", "'latency' is no limit. Write NAME=VALUE"),
        ("latency=", "is no limit"),
        ("latency=0 ms", "must be above zero"),
        ("latency=-4 ms", "must be above zero"),
        ("speed=4 ms", "Unknown metric 'speed'"),
    ],
)
def test_what_is_no_limit_is_refused(text: str, message: str) -> None:
    with pytest.raises(HwflowError) as caught:
        Limits.read([text])
    assert message in str(caught.value)


def test_a_limit_in_another_unit_is_refused() -> None:
    with pytest.raises(UnitError, match="is in J, expected a quantity in s"):
        Limits.read(["latency=4 mJ"])


def test_no_limits_are_met_by_anything() -> None:
    none = Limits()
    assert none.items() == []
    assert none.excess({"latency_s": 1e9}) == 0
    assert none.broken({"latency_s": 1e9}) == []
    assert str(none) == ""


def test_the_worst_limit_gives_the_excess() -> None:
    limits = Limits(latency_s=1.0, energy_j=2.0)
    assert limits.excess({"latency_s": 1.5, "energy_j": 6.0}) == 2.0
    assert limits.excess({"latency_s": 0.5, "energy_j": 2.0}) == 0.0


def test_each_broken_limit_is_told_with_both_values() -> None:
    limits = Limits.read(["latency=4ms", "energy=1mJ"])
    broken = limits.broken({"latency_s": 5.1e-3, "energy_j": 1e-4})
    assert broken == ["latency is 5.1 ms, allowed 4 ms"]
    assert str(limits) == "latency <= 4 ms, energy <= 1 mJ"


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))
def test_a_limit_is_broken_exactly_when_there_is_excess(limit: float, value: float) -> None:
    limits = Limits(latency_s=limit)
    total = {"latency_s": value}
    if value > limit * (1 + 1e-12):
        assert limits.excess(total) > 0
        assert len(limits.broken(total)) == 1
    elif value <= limit:
        assert limits.excess(total) == 0
        assert limits.broken(total) == []


@pytest.mark.parametrize("text", ["latency=50%", "latency < 50 %", "latency<=50.0%"])
def test_a_limit_in_percent_is_a_share_of_the_whole(text: str) -> None:
    assert Limits.read([text], {"latency_s": 4e-3}).latency_s == pytest.approx(2e-3)


def test_a_limit_in_percent_needs_a_whole() -> None:
    with pytest.raises(HwflowError, match=r"'latency=50%' is a share .+ Give it in s\."):
        Limits.read(["latency=50%"])
    with pytest.raises(HwflowError, match="area, which the cost model does not give"):
        Limits.read(["area=50%"], {"latency_s": 4e-3})


@pytest.mark.parametrize("text", ["latency=0%", "latency=-5%"])
def test_no_share_and_less_are_no_limits(text: str) -> None:
    with pytest.raises(HwflowError, match="must be above zero"):
        Limits.read([text], {"latency_s": 4e-3})
