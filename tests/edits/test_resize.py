"""Resize: another machine on paper, the same network, a square that holds."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import BitPart, chain

from hwflow.cost import METRICS, Limits
from hwflow.costs.coarse import Coarse
from hwflow.costs.fine import Fine
from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.edits.prune import prune
from hwflow.edits.quantize import quantize
from hwflow.edits.resize import Resize, read_vary, resize
from hwflow.errors import HwflowError, MachineError
from hwflow.extract import extract
from hwflow.machine import load_machine
from hwflow.machine.varied import varied
from hwflow.models import load
from hwflow.plans import distinct_plans
from hwflow.problem import SIZES, Problem
from hwflow.reach import feasible_plan
from hwflow.space import Space
from hwflow.testing import check_edit

EYERISS = load_machine("eyeriss")
VARY = {"array.rows": (6, 12, 24), "GLB.size": ("54 KiB", "216 KiB"), "engine": ("bitfusion",)}


def test_the_machines_own_values_are_the_default() -> None:
    space = resize(chain(), "eyeriss", VARY)
    values = space.values(space.default)
    assert values["machine:array.rows"] == 12
    assert values["machine:engine"] == "eyeriss"
    assert space.on_paper(space.default, Design(chain(), EYERISS)).machine == EYERISS


def test_a_plan_changes_the_machine_and_not_the_network() -> None:
    space = resize(chain(), "eyeriss", VARY)
    plan = space.plan({"machine:array.rows": 24, "machine:engine": "bitfusion"})
    design = space.on_paper(plan, Design(chain(), EYERISS))
    assert design.machine == varied(EYERISS, {"array.rows": 24, "engine": "bitfusion"})
    assert design.workload == chain()


def test_the_square_holds() -> None:
    network = load("cifar:resnet20", num_classes=10)
    check_edit(Resize((("array.cols", 7),)), network)


def test_costs_follow_the_machine() -> None:
    space = resize(chain(), "eyeriss", {"array.cols": (7, 14, 28)})
    problem = Problem(space, "eyeriss", Fine())
    latency = problem.totals([space.plan({"machine:array.cols": n}) for n in (7, 14, 28)])
    slow, own, fast = latency["latency_s"].tolist()
    assert slow > own >= fast


def test_limits_hold_for_machines_too() -> None:
    space = resize(chain(), "eyeriss", {"array.cols": (7, 14, 28)})
    problem = Problem(space, "eyeriss", Mid(), Limits(latency_s=1.0))
    costs = problem.costs([space.default])
    assert not problem.below.broken(costs[0].total)


def test_paths_and_values_are_checked_when_the_space_is_made() -> None:
    with pytest.raises(MachineError, match=r"array\.rows"):
        resize(chain(), "eyeriss", {"array.row": (8,)})
    with pytest.raises(MachineError, match="no unit"):
        resize(chain(), "eyeriss", {"GLB.size": (64,)})
    with pytest.raises(HwflowError, match="No values"):
        resize(chain(), "eyeriss", {"array.rows": ()})


def test_the_square_holds_with_pruning_and_quantising() -> None:
    network = load("cifar:resnet8", num_classes=10)
    network = network.calibrated(network.example)
    space = (
        prune(network, (0.5, 1.0)) + quantize(network, (4, 8)) + resize(network, "eyeriss", VARY)
    )
    rng = random.Random(0)
    for plan in (space.sample(rng), space.sample(rng)):
        paper = space.on_paper(plan, Design(space.workload, EYERISS))
        assert extract(space.apply(plan)) == paper.workload
        figures = {path: value for path, value in space.values(plan).items() if "machine:" in path}
        assert paper.machine.array.rows.value == figures["machine:array.rows"]


def space_of_both(on: str = "bitfusion") -> Space:
    vary = {"array.rows": (4, 16), "GLB.size": ("4 KiB", "64 KiB"), "engine": ("simd-16",)}
    return Space(chain(), (BitPart(tuple(la.name for la in chain())),)) + resize(chain(), on, vary)


@pytest.mark.parametrize("model", [Coarse(), Mid()], ids=lambda model: model.level)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999))
def test_costs_of_many_plans_on_many_machines_are_those_of_each(
    model: Coarse | Mid, seed: int
) -> None:
    space, rng = space_of_both(), random.Random(seed)
    problem = Problem(space, "bitfusion", model)
    plans = [space.sample(rng) for _ in range(12)]
    totals, costs = problem.totals(plans), problem.costs(plans)
    for row, plan in enumerate(plans):
        design = space.on_paper(plan, problem.design)
        single = dict(model.cost(design).total) | {"area_um2": design.machine.area_um2()}
        assert {name: values[row] for name, values in totals.items()} == pytest.approx(single)
        assert costs[row].total == pytest.approx(single)
        assert costs[row].layers == model.cost(design).layers
        assert costs[row].standing["area_um2"] == "estimate"


def test_plans_of_one_machine_are_costed_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    own = Mid.over_bits

    def counting(self: Mid, design: Design, bits: object) -> object:
        calls.append(len(bits))  # type: ignore[arg-type]
        return own(self, design, bits)  # type: ignore[arg-type]

    monkeypatch.setattr(Mid, "over_bits", counting)
    space, rng = space_of_both(), random.Random(0)
    Problem(space, "bitfusion", Mid()).totals([space.sample(rng) for _ in range(200)])
    assert len(calls) == space.of_machine.size
    assert sum(calls) == 200


def test_pruned_networks_are_costed_on_varied_machines_too() -> None:
    workload = extract(load("cifar:resnet8", num_classes=10))
    space = prune(workload, (0.5, 1.0)) + resize(workload, "eyeriss", {"array.rows": (6, 24)})
    rng = random.Random(0)
    plans = [space.sample(rng) for _ in range(6)]
    problem = Problem(space, "eyeriss", Mid(), objectives=("accuracy", "area"))
    totals = problem.totals(plans)
    for row, plan in enumerate(plans):
        design = space.on_paper(plan, problem.design)
        assert totals["latency_s"][row] == pytest.approx(Mid().cost(design).total["latency_s"])
        assert totals["area_um2"][row] == pytest.approx(design.machine.area_um2())
        assert problem.totals([plan])["area_um2"][0] == totals["area_um2"][row]


def test_look_up_tables_are_a_cost_where_the_machine_states_them() -> None:
    space = resize(chain(), "bismo", {"array.rows": (4, 8), "engine.lanes": (32, 64)})
    problem = Problem(space, "bismo", Mid(), Limits(luts=1e4), ("luts", "brams", "latency"))
    totals = problem.totals([space.plan({"machine:array.rows": 4}), space.default])
    assert totals["luts"].tolist() == pytest.approx([4 * 8 * (1.17 * 64 + 164.2), 15301], rel=1e-3)
    assert problem.below.broken({name: float(v[1]) for name, v in totals.items()})
    assert set(SIZES) < set(METRICS)


def test_look_up_tables_of_other_engines_are_refused() -> None:
    space = resize(chain(), "bismo", {"engine": ("bitfusion",)})
    problem = Problem(space, "bismo", Mid(), objectives=("luts",))
    assert np.isfinite(problem.totals([space.default])["luts"]).all()
    with pytest.raises(MachineError, match="only machines whose engine is bismo"):
        problem.totals([space.plan({"machine:engine": "bitfusion"})])


def test_a_device_has_nothing_to_vary() -> None:
    with pytest.raises(MachineError, match=r"array\.rows cannot be varied there"):
        resize(chain(), "cpu", {"array.rows": (8,)})


def test_values_and_ranges_are_read_from_text() -> None:
    texts = ["array.rows=8:32:8", "GLB.size = 64:256:x2 KiB", "engine=simd-16, bismo", "c=1,4,4"]
    assert read_vary([texts[0], "GLB.size=64KiB:256:x2", *texts[2:]]) == {
        "array.rows": (8, 16, 24, 32), "GLB.size": ("64 KiB", "128 KiB", "256 KiB"),
        "engine": ("simd-16", "bismo"), "c": (1, 4),
    }  # fmt: skip
    assert read_vary(["clock=200MHz,1 GHz", "r=1:5:x2"]) == {
        "clock": ("200 MHz", "1 GHz"), "r": (1, 2, 4)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["array.rows"], "names no values"),
        (["array.rows="], "names no values"),
        (["a=1", "a=2"], "given twice"),
        (["a=8:32"], "FIRST:LAST:STEP"),
        (["a=8:32:twice"], "FIRST:LAST:STEP"),
        (["a=32:8:8"], "smaller end first"),
        (["a=8:32:x1"], "a step that grows"),
        (["a=8:32:0"], "a step that grows"),
        (["a=1:100000:1"], "larger step"),
        (["a=8KiB:1MiB:x2"], "mixes KiB and MiB"),
    ],
)
def test_texts_that_cannot_be_read_say_what_to_write(texts: list[str], words: str) -> None:
    with pytest.raises(HwflowError, match=words):
        read_vary(texts)


def test_limits_that_only_another_machine_with_fewer_bits_keeps_are_found_to_be_in_reach() -> None:
    vary = {"array.rows": (4, 8, 16, 32), "array.cols": (4, 8, 16, 32)}
    networks = Space(chain(), (BitPart(tuple(la.name for la in chain()), (2, 8)),))
    free = Problem(networks + resize(chain(), "bitfusion", vary), "bitfusion", Mid())
    own = len(networks)
    fast = (*[0] * own, 3, 1)  # all 2 bits, 32 rows and 8 columns
    best = {name: float(values[0]) for name, values in free.totals([fast]).items()}
    limits = Limits(latency_s=best["latency_s"] * 1.001, area_um2=best["area_um2"] * 1.001)
    problem = Problem(free.space, "bitfusion", Mid(), limits)
    found = problem.totals([feasible_plan(problem)])
    assert not limits.broken({name: float(values[0]) for name, values in found.items()})


def test_machines_that_were_costed_can_be_varied_again_from_another_copy() -> None:
    space = resize(chain(), "bitfusion", {"array.rows": (8, 16)})
    plan = space.plan({"machine:array.rows": 8})
    found = []
    for _ in range(2):
        machine = load_machine("bitfusion").model_copy()
        found.append(
            float(Problem(space, machine, Mid()).totals([space.default, plan])["area_um2"][1])
        )
        float(machine.mac_energy_j(8, 8))
    assert found[0] == found[1]


def both_ways(on: str, vary: dict[str, tuple[object, ...]]) -> list[Space]:
    """Return the space of machines with the figures in either order."""
    return [resize(chain(), on, dict(pairs)) for pairs in ([*vary.items()], [*vary.items()][::-1])]


def costs_by_values(space: Space, on: str) -> dict[frozenset[object], float]:
    plans = list(distinct_plans(space))
    latency = Problem(space, on, Mid()).totals(plans)["latency_s"]
    names = [frozenset(space.values(plan).items()) for plan in plans]
    return dict(zip(names, latency.tolist(), strict=True))


def test_figures_of_an_engine_are_those_of_the_one_that_is_chosen() -> None:
    vary = {"engine": ("simd-16",), "engine.word": (8, 16)}
    first, second = both_ways("systolic-8x8", vary)
    assert costs_by_values(first, "systolic-8x8") == costs_by_values(second, "systolic-8x8")
    base = load_machine("systolic-8x8")
    for space in (first, second):
        for word in (8, 16):
            plan = space.plan({"machine:engine": "simd-16", "machine:engine.word": word})
            machine = space.on_paper(plan, Design(chain(), base)).machine
            assert (machine.engine.kind, machine.engine.word.value) == ("simd", word)
        assert space.on_paper(space.default, Design(chain(), base)).machine == base


@pytest.mark.parametrize("on", ["systolic-8x8", "bitfusion"])
def test_a_figure_is_chosen_only_where_the_engine_has_it(on: str) -> None:
    vary = {"engine": ("bitfusion", "simd-16"), "engine.word": (8, 16)}
    for space in both_ways(on, vary):
        base, found = load_machine(on), []
        for plan in distinct_plans(space):
            machine = space.on_paper(plan, Design(chain(), base)).machine
            found.append((machine.engine.kind, getattr(machine.engine, "word", None)))
        words = [(kind, word and word.value) for kind, word in found]
        assert len(set(words)) == len(words)
        assert {("bit-fusion", None), ("simd", 8), ("simd", 16)} <= set(words)
        other = space.plan({"machine:engine": "bitfusion", "machine:engine.word": 8})
        assert space.canonical(other) == space.plan({"machine:engine": "bitfusion"})


def test_a_figure_that_no_engine_has_is_answered_with_the_nearest() -> None:
    with pytest.raises(MachineError, match=r"Unknown figure 'engine\.word'"):
        resize(chain(), "bitfusion", {"engine": ("bitfusion",), "engine.word": (8, 16)})


def test_values_are_sorted_whatever_order_they_come_in() -> None:
    vary = {"array.rows": (32, 8), "GLB.size": ("1 MiB", "16 KiB"), "clock": ("1 GHz", "90 MHz")}
    rows, size, clock = resize(chain(), "bitfusion", vary).choices
    assert rows.options == (8, 16, 32)
    assert size.options == ("16 KiB", "131072.0 B", "1 MiB")
    assert clock.options == ("90 MHz", "500000000.0 Hz", "1 GHz")
    for choice in (rows, size, clock):
        assert (choice.default, choice.ordered) == (1, True)


def test_values_that_mean_the_same_are_one() -> None:
    vary = {"GLB.size": ("32 KiB", "32768 B", "128 KiB"), "array.rows": (16, 8, 16)}
    size, rows = resize(chain(), "bitfusion", vary).choices
    assert size.options == ("32 KiB", "128 KiB")
    assert rows.options == (8, 16)
    assert (size.default, rows.default) == (1, 1)


def test_sizes_of_two_units_have_no_order() -> None:
    (choice,) = resize(chain(), "eyeriss", {"GLB.bandwidth": ("8 B/cycle", "1 GB/s")}).choices
    assert not choice.ordered
