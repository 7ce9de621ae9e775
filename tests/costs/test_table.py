"""Tables of terms: equal to the cost model on any plan, re-costed locally, kept in files."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sketches import resnet_cifar
from toy import BitPart, ToyCost, chain, toy_problem

from hwflow.cost import METRICS, Bits, Cost, CostModel, Costs
from hwflow.costs.coarse import Coarse
from hwflow.costs.fine import Fine
from hwflow.costs.mid import Mid
from hwflow.costs.table import NETWORK, TermTable, terms
from hwflow.design import Design
from hwflow.edits.quantize import quantize
from hwflow.errors import HwflowError
from hwflow.machine import load_machine
from hwflow.network import Network
from hwflow.problem import Problem
from hwflow.space import Choice, Plan, Space, Value

MACHINES = ("eyeriss", "bitfusion")


@cache
def resnet8_problem(level: str, machine: str) -> Problem:
    model: CostModel = {"coarse": Coarse, "mid": Mid, "fine": Fine}[level]()
    return Problem(quantize(resnet_cifar(8), bits=(2, 4, 8)), machine, model)


@cache
def table_of(level: str, machine: str) -> TermTable:
    return TermTable(resnet8_problem(level, machine))


def drawn(problem: Problem, count: int, seed: int = 0) -> list[Plan]:
    rng = random.Random(seed)
    return [problem.space.sample(rng) for _ in range(count)]


def check_equal(table: TermTable, plans: Sequence[Plan]) -> None:
    true, found = table.problem.totals(plans), table.totals(plans)
    assert found.keys() == {name for name in true if METRICS[name].total != "max"}
    for name, values in found.items():
        np.testing.assert_allclose(values, true[name], rtol=1e-12, err_msg=name)


def test_a_layer_of_the_toy_chain_depends_on_its_bits_and_those_it_reads() -> None:
    found = dict(terms(toy_problem(length=3)))
    assert found == {NETWORK: (), "conv0": (0, 3), "conv1": (1, 3, 4), "conv2": (2, 4, 5)}


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.integers(0, 2)] * 12), min_size=1, max_size=20))
def test_sums_equal_the_toy_cost_model(plans: list[Plan]) -> None:
    check_equal(TermTable(toy_problem()), plans)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("level", ["coarse", "mid", "fine"])
def test_sums_equal_the_level_on_quantised_networks(level: str, machine: str) -> None:
    table = table_of(level, machine)
    plans = drawn(table.problem, 12)
    check_equal(table, plans)
    assert table.error(plans)["latency_s"] < 1e-12


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.data())
def test_one_plan_a_change_and_many_plans_agree(seed: int, data: st.DataObject) -> None:
    table = table_of("mid", "eyeriss")
    (plan,) = drawn(table.problem, 1, seed)
    place = data.draw(st.integers(0, len(plan) - 1))
    option = data.draw(st.integers(0, 2))
    changed = (*plan[:place], option, *plan[place + 1 :])
    before, after = table.total(plan), table.total(changed)
    found = table.delta(plan, place, option)
    for name, many in table.totals([plan, changed]).items():
        assert before[name] == pytest.approx(many[0], rel=1e-12)
        assert after[name] == pytest.approx(many[1], rel=1e-12)
        assert found[name] == pytest.approx(after[name] - before[name], abs=1e-12 * before[name])


class Counting(ToyCost):
    """Counts the designs that it costs."""

    def __init__(self) -> None:
        self.rows = 0

    def over_bits(self, design: Design, bits: Bits) -> Costs:
        self.rows += len(bits)
        return super().over_bits(design, bits)


def counted() -> tuple[TermTable, Counting]:
    cost = Counting()
    table = TermTable(replace(toy_problem(), cost=cost))
    cost.rows = 0
    return table, cost


def test_known_terms_are_not_costed_again() -> None:
    table, cost = counted()
    table.totals([(option,) * 12 for option in range(3)])
    assert cost.rows == 3
    table.totals([(option,) * 12 for option in range(3)] * 5)
    table.delta((2,) * 12, 0, 2)
    assert cost.rows == 3


def test_a_plan_made_of_known_terms_is_costed_without_the_model() -> None:
    table, cost = counted()
    for index in range(len(table.terms)):
        table.table(index)
    before = cost.rows
    check_plans = drawn(table.problem, 50)
    table.totals(check_plans)
    assert cost.rows == before
    assert len(table) == table.entries
    check_equal(table, check_plans)


def test_the_table_of_a_term_has_an_axis_for_each_of_its_places() -> None:
    table = TermTable(toy_problem(length=3))
    index = [term.layer for term in table.terms].index("conv1")
    values = table.table(index)
    assert values.shape == (3, 3, 3, len(table.metrics))
    latency = values[..., table.metrics.index("latency_s")]
    macs = chain(3)["conv1"].macs
    assert latency[0, 1, 2] == pytest.approx(macs * 4e-9)  # 2-bit weights read 4-bit inputs


@dataclass(frozen=True)
class Widen:
    """Gives the first layer, and the reader of it, so many channels."""

    channels: int
    deep: bool

    def on_paper(self, design: Design) -> Design:
        first, second, *rest = design.workload.layers
        if not self.deep:
            return design
        wide = (1, self.channels, 8, 8)
        params = self.channels * first.in_channels * 9
        first = replace(first, out_channels=self.channels, out_shape=wide, params=params)
        params = second.out_channels * self.channels * 9
        second = replace(second, in_channels=self.channels, in_shapes=(wide,), params=params)
        return design.with_workload(
            replace(design.workload, layers=(first, second, *rest), loose_params=self.channels)
        )

    def in_network(self, network: Network) -> Network:
        return network


@dataclass(frozen=True)
class WidenPart:
    """Whether the first layer is changed, and how: the second choice counts only then."""

    kind = "prune"
    choices: tuple[Choice, ...] = (
        Choice("changed", (False, True)),
        Choice("channels", (4, 8, 12), only_if=("changed", (True,))),
    )

    def edit(self, values: Mapping[str, Value]) -> Widen:
        return Widen(int(values["channels"]), bool(values["changed"]))


def widened(cost: CostModel) -> Problem:
    workload = chain(3)
    part = BitPart(tuple(layer.name for layer in workload))
    return Problem(Space(workload, (WidenPart(), part)), "eyeriss", cost)


def test_choices_that_count_only_under_another_are_found() -> None:
    found = dict(terms(widened(Mid())))
    assert found[NETWORK] == (0, 1)
    assert found["conv0"] == (0, 1, 2, 5)
    assert found["conv1"] == (0, 1, 3, 5, 6)
    assert found["conv2"] == (4, 6, 7)


def test_sums_equal_the_level_where_shapes_change() -> None:
    table = TermTable(widened(Mid()))
    check_equal(table, drawn(table.problem, 60))
    index = [term.layer for term in table.terms].index("conv0")
    params = table.table(index)[:, :, 0, 0, table.metrics.index("params")]
    assert params.tolist() == [[576.0] * 3, [288.0, 576.0, 864.0]]


class Square(ToyCost):
    """A cost that does not add up: the square of the sum over layers."""

    def over_bits(self, design: Design, bits: Bits) -> Costs:
        costs = super().over_bits(design, bits)
        return replace(costs, total={name: v**2 for name, v in costs.total.items()})


class PeakOnly(ToyCost):
    """A cost model that knows nothing that adds up."""

    def over_bits(self, design: Design, bits: Bits) -> Costs:
        costs = super().over_bits(design, bits)
        peak = costs.layers["macs"]
        return replace(costs, layers={"peak_bytes": peak}, total={"peak_bytes": peak.max(axis=1)})


def test_how_far_a_cost_is_from_a_sum_is_told() -> None:
    table = TermTable(replace(toy_problem(), cost=Square()))
    assert table.error(drawn(table.problem, 20))["latency_s"] > 0.01


def test_a_model_without_sums_is_refused() -> None:
    with pytest.raises(HwflowError, match="nothing that adds up"):
        TermTable(replace(toy_problem(), cost=PeakOnly()))


def test_a_kept_table_needs_no_cost_model(tmp_path: Path) -> None:
    table, _ = counted()
    plans = drawn(table.problem, 40)
    expected = table.totals(plans)
    table.save(tmp_path / "terms.npz")
    cost = Counting()
    again = TermTable.load(tmp_path / "terms.npz", replace(toy_problem(), cost=cost))
    cost.rows = 0
    for name, values in again.totals(plans).items():
        assert values.tolist() == expected[name].tolist()
    assert cost.rows == 0
    assert len(again) == len(table)
    assert [path.name for path in tmp_path.iterdir()] == ["terms.npz"]


def test_an_empty_table_can_be_kept(tmp_path: Path) -> None:
    TermTable(toy_problem()).save(tmp_path / "terms.npz")
    assert len(TermTable.load(tmp_path / "terms.npz", toy_problem())) == 0


class Other(ToyCost):
    def digest(self) -> str:
        return "toy 2"


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        (lambda p: replace(p, on="bitfusion"), "machine"),
        (lambda p: replace(p, cost=Other()), "cost model"),
        (lambda p: toy_problem(length=5), "workload"),
        (lambda p: toy_problem(options=(2, 4)), "space"),
    ],
)
def test_a_table_of_another_problem_is_refused(changed, what: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    TermTable(toy_problem()).save(tmp_path / "terms.npz")
    with pytest.raises(HwflowError, match=f"of another {what}"):
        TermTable.load(tmp_path / "terms.npz", changed(toy_problem()))


def test_the_fixed_bits_of_a_space_count(tmp_path: Path) -> None:
    one, other = (
        Problem(quantize(resnet_cifar(8), first_last=bits), "eyeriss", Mid()) for bits in (8, 4)
    )
    TermTable(one).save(tmp_path / "terms.npz")
    with pytest.raises(HwflowError, match="of another space"):
        TermTable.load(tmp_path / "terms.npz", other)


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "terms.npz"
    with pytest.raises(HwflowError, match="can be read"):
        TermTable.load(path, toy_problem())
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(HwflowError, match="can be read"):
        TermTable.load(path, toy_problem())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("options1", np.full((1, 2), 7)),
        ("options1", np.zeros((2, 2), np.int64)),
        ("values1", np.full((1, 3), np.nan)),
    ],
)
def test_damaged_entries_are_refused(key: str, value: np.ndarray, tmp_path: Path) -> None:
    table = TermTable(toy_problem())
    table.total((0,) * 12)
    table.save(tmp_path / "terms.npz")
    with np.load(tmp_path / "terms.npz", allow_pickle=False) as file:
        held = dict(file)
    assert json.loads(str(held["header"]))["metrics"] == list(table.metrics)
    np.savez(tmp_path / "terms.npz", **(held | {key: value}))
    with pytest.raises(HwflowError, match="can be read"):
        TermTable.load(tmp_path / "terms.npz", toy_problem())


def test_layers_without_choices_are_constant() -> None:
    problem = resnet8_problem("mid", "eyeriss")
    constant = [term.layer for term in terms(problem) if not term.places]
    assert NETWORK in constant
    machine = load_machine("eyeriss")
    designs = [problem.space.on_paper(plan, Design(problem.space.workload, machine))
               for plan in drawn(problem, 5)]  # fmt: skip
    costs: list[Cost] = problem.cost.costs(designs)
    for name in constant[1:]:
        values = {c.latency_s for cost in costs for c in cost.layers if c.name == name}
        assert len(values) == 1
