"""Machines of several levels as users meet them: names, bounds, errors, limits, levels in PEs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small_machines import OPERANDS, figure, shapes, store

from hwflow.costs.fine import Fine, compiled, compiled_deep
from hwflow.costs.fine.memories import buffers_of, level_names, memory_names
from hwflow.costs.fine.nest import Mapping, written
from hwflow.costs.fine.rates import OperandBits, rates
from hwflow.costs.fine.result import Found, Settings
from hwflow.costs.fine.score import PARTS, score
from hwflow.costs.fine.search import best_mapping
from hwflow.costs.fine.shape import Shape
from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.errors import MachineError, WorkloadError
from hwflow.machine import Accelerator, load_machine, machine_names
from hwflow.workload import Input, Layer, Workload

SHAPE = Shape((1, 64, 32, 14, 14, 3, 3, 1), padding=(2, 2), touched=(14, 14))
BITS = OperandBits(8, 8, 8)
ALL = ("weights", "inputs", "outputs")


def level(name: str, size: str, **more: Any) -> dict[str, Any]:
    plain = {"name": name, **store(size, 1, 1), "bandwidth": figure("8 B/cycle")}
    return {**plain, "double_buffered": True, **more}


def with_levels(base: str, *levels: dict[str, Any], feeds: str | None = None,
                inside: str | None = None, **parts: Any) -> Accelerator:  # fmt: skip
    """A preset with other buffers between DRAM and the array."""
    plain = load_machine(base).model_dump(mode="json", by_alias=True, exclude_none=True)
    array = plain["array"]
    array["between"] = [feeds or levels[-1]["name"], inside or array["between"][1]]
    return Accelerator.model_validate(
        {**plain, "memory": [plain["memory"][0], *levels], "array": array, **parts}
    )


TWO = with_levels("systolic-8x8", level("L2", "64 KB"), level("L1", "4 KB"))


def test_keys_are_the_machines_level_names_in_lower_case() -> None:
    assert memory_names(TWO) == ("dram", "l2", "l1")
    assert level_names(TWO) == ("DRAM", "L2", "L1")
    odd = with_levels("systolic-8x8", level("Array", "64 KB"), level("ARRAY", "4 KB"))
    assert memory_names(odd) == ("dram", "array 1", "array 2")


def test_one_buffer_keeps_its_keys() -> None:
    machine = load_machine("eyeriss")
    assert memory_names(machine) == ("dram", "buffer")
    found = best_mapping(machine, SHAPE, BITS)
    got = score(SHAPE, rates(machine, SHAPE, BITS), found.mapping, machine.pes)
    assert tuple(got.energy_by_part) == PARTS
    assert list(got.bytes_by_memory()) == ["dram", "buffer"]


def test_energy_and_bytes_stand_under_each_level() -> None:
    found = best_mapping(TWO, SHAPE, BITS)
    got = score(SHAPE, rates(TWO, SHAPE, BITS), found.mapping, TWO.pes)
    assert list(got.energy_by_part) == ["mac", "scratchpads", "array", "l1", "l2", "dram", "idle"]
    assert sum(got.energy_by_part.values()) == pytest.approx(got.energy_j)
    assert list(got.bytes_by_memory()) == ["dram", "l2", "l1"]
    assert got.port_cycles == max(got.cycles_by_memory[name] for name in ("l2", "l1"))
    assert got.energy_by_part["l2"] > 0


def test_the_nest_has_a_line_of_every_level() -> None:
    mapping = Mapping(
        (1,) * 8, (1,) * 8, (1,) * 8, (1,) * 8,
        ((1, 64, 32, 7, 14, 3, 3, 1), (1, 32, 32, 7, 2, 3, 3, 1)),
        ("weights", "inputs", None),
    )  # fmt: skip
    assert mapping.buffer == (1, 32, 32, 7, 2, 3, 3, 1)
    assert (mapping.stays_in_buffer, mapping.stays_in_pes) == ("weights", None)
    assert mapping.dram_trips(SHAPE) == (1, 1, 1, 2, 1, 1, 1, 1)
    lines = [line.strip() for line in written(mapping, SHAPE, level_names(TWO)).splitlines()]
    assert lines[:3] == [
        "for p in 2:  # DRAM: weights stay", "for q in 7:  # L2: inputs stay",
        "for k in 2:  # L2: inputs stay",
    ]  # fmt: skip
    assert all(line.endswith("# L1") for line in lines[3:-1])


def test_a_found_mapping_survives_json() -> None:
    found = best_mapping(TWO, SHAPE, BITS)
    assert len(found.mapping.tiles) == 2
    assert Found.from_json(found.to_json()) == found


def test_a_bypassing_tensor_costs_its_level_nothing() -> None:
    machine = with_levels(
        "systolic-8x8", level("L2", "64 KB"), level("L1", "4 KB", holds=["inputs", "outputs"])
    )
    found = best_mapping(machine, SHAPE, BITS, Settings("energy"))
    got = score(SHAPE, rates(machine, SHAPE, BITS), found.mapping, machine.pes)
    assert got.bytes_by_memory()["l1"]["weights"] == 0
    to_array = got.traffic.to_array[0]
    assert got.traffic.memories[1][0].read == pytest.approx(8 * to_array)


def test_filling_a_single_buffer_takes_its_time() -> None:
    """For one mapping: double-buffered, the ports overlap; single, each fill adds to the inside."""
    mapping = best_mapping(TWO, SHAPE, BITS).mapping
    figures = rates(TWO, SHAPE, BITS)
    outer, inner = (replace(m, overlapped=False) for m in figures.buffers)
    both = score(SHAPE, figures, mapping, TWO.pes)
    ports = both.cycles_by_memory
    assert both.cycles == pytest.approx(max(both.compute_cycles, *ports.values()) + both.end_cycles)
    memories = (figures.dram, outer, inner)
    none = score(SHAPE, replace(figures, memories=memories), mapping, TWO.pes)
    inside = max(both.compute_cycles, ports["l1"])
    given = none.traffic.inward(1, 2)
    fill = figures.memories[1].cycles(given.read, given.written)
    assert none.cycles == pytest.approx(max(inside + fill, ports["l2"]) + ports["dram"])
    assert none.end_cycles == 0


@pytest.mark.parametrize("held", [ALL, ("weights", "outputs")])
def test_a_level_in_the_pes_is_a_scratchpad(held: tuple[str, ...]) -> None:
    pad = {**store("40 B", 1, 2), "holds": list(held)}
    plain = {"dataflow": "free"}
    inside = with_levels(
        "systolic-8x8", level("L2", "64 KB"), level("L1", "4 KB"), {"name": "RF", **pad},
        feeds="L1", inside="RF", scratchpads=None, **plain,
    )  # fmt: skip
    beside = with_levels(
        "systolic-8x8", level("L2", "64 KB"), level("L1", "4 KB"), inside="scratchpads",
        scratchpads={"kind": "shared", **pad}, **plain,
    )  # fmt: skip
    assert [b.name for b in buffers_of(inside)] == ["L2", "L1"]
    small = Shape((1, 8, 6, 5, 1, 3, 1, 1))
    one, two = (best_mapping(m, small, BITS, Settings("energy")) for m in (inside, beside))
    assert one.energy_j == two.energy_j
    assert one.mapping == two.mapping


def test_two_levels_in_the_pes_are_refused() -> None:
    machine = with_levels(
        "systolic-8x8", level("L1", "4 KB"), level("PB", "64 B"), level("RF", "16 B"),
        feeds="L1", inside="PB", scratchpads=None,
    )  # fmt: skip
    with pytest.raises(MachineError, match=r"PB and RF lie in each PE.*knows one.*mid level"):
        best_mapping(machine, SHAPE, BITS)


def test_every_level_that_is_too_small_is_named_with_its_bytes() -> None:
    machine = with_levels("systolic-8x8", level("L2", "30 B"), level("L1", "24 B"))
    with pytest.raises(WorkloadError) as caught:
        best_mapping(machine, SHAPE, BITS)
    lacks = dict(re.findall(r"(L\d) \(half of it[^)]*\) lacks ([0-9.]+) bytes", str(caught.value)))
    psum = (8 + 8 + 9) / 8  # of 32 x 3 x 3 products
    assert float(lacks["L2"]) == pytest.approx(9 + 9 + psum - 15)
    assert float(lacks["L1"]) == pytest.approx(9 + 9 + psum - 12)


def test_a_limit_gives_a_certified_gap() -> None:
    machine = with_levels("systolic-8x8", level("L2", "16 KB"), level("L1", "2 KB"))
    exact = best_mapping(machine, SHAPE, BITS, Settings("energy"))
    short = best_mapping(machine, SHAPE, BITS, Settings("energy", max_leaves=1, max_visits=0))
    assert exact.gap == 0
    assert short.visits < exact.visits
    assert 0 < short.gap < 1
    assert short.bound <= exact.key <= short.key


@settings(max_examples=30, deadline=None)
@given(shapes(), OPERANDS, st.sampled_from(("latency", "energy", "edp")))
def test_another_buffer_of_free_accesses_costs_no_more(
    shape: Shape, bits: OperandBits, goal: str
) -> None:
    """Whatever one buffer does, two do by holding the same tile in both."""
    one = with_levels("systolic-8x8", level("L1", "2 KB"))
    free = level("L2", "2 KB", read=figure("0 pJ/b"), write=figure("0 pJ/b"))
    free.pop("bandwidth")
    two = with_levels("systolic-8x8", free, level("L1", "2 KB"))
    keys = [best_mapping(m, shape, bits, Settings(goal)).key for m in (one, two)]
    assert keys[1] <= keys[0] * (1 + 1e-9)


@st.composite
def layers(draw: st.DrawFn) -> Workload:
    kernel, stride = draw(st.sampled_from((1, 3))), draw(st.integers(1, 2))
    size, groups = draw(st.integers(3, 24)), draw(st.sampled_from((1, 1, 4)))
    ins, outs = (groups * draw(st.integers(1, 48 // groups)) for _ in range(2))
    pad = kernel // 2
    out = (size + 2 * pad - kernel) // stride + 1
    shape = (1, ins, size, size)
    layer = Layer(
        "conv", "conv", ("x",), (shape,), (1, outs, out, out), out_channels=outs, in_channels=ins,
        out_size=(out, out), kernel=(kernel, kernel), stride=(stride, stride),
        padding=(pad,) * 4, groups=groups, input_bits=(32,),
        params=outs * ins // groups * kernel**2,
    )  # fmt: skip
    return Workload("one", (layer,), (Input("x", shape),), ("conv",))


@settings(max_examples=50, deadline=None,
          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
@given(
    layers(), st.sampled_from(("systolic-8x8", "eyeriss")),
    st.lists(st.tuples(st.sampled_from((400, 2000, 30000)), st.booleans(), st.sampled_from(
        (ALL, ("weights", "inputs"), ("outputs",)))), min_size=2, max_size=3),
    st.sampled_from((2, 8, 16)), st.sampled_from(("latency", "energy")),
)  # fmt: skip
def test_mid_is_never_above_fine(
    workload: Workload, base: str, sizes: list[Any], bits: int, goal: str
) -> None:
    buffers = [
        level(f"L{i}", f"{size} B", double_buffered=double, holds=list(holds))
        for i, (size, double, holds) in enumerate(sorted(sizes, reverse=True))
    ]
    design = Design(
        workload.with_bits({"conv": bits}, {"x": 8, "conv": 8}), with_levels(base, *buffers)
    )
    try:
        fine = Fine(goal).cost(design)
    except WorkloadError:
        assume(False)
    mid = Mid().cost(design)
    for metric in ("dram_bytes", "latency_s", "energy_j"):
        assert fine.total[metric] >= mid.total[metric] * (1 - 1e-9)


def test_presets_of_several_buffers_are_searched() -> None:
    several = [m for m in map(load_machine, machine_names()) if len(buffers_of(m)) > 1]
    for machine in several:
        found = best_mapping(machine, SHAPE, BITS)
        assert found.gap == 0
        assert len(found.mapping.tiles) == len(buffers_of(machine))


def test_a_search_out_of_time_returns_a_mapping_and_its_gap() -> None:
    machine = with_levels("systolic-8x8", level("L2", "16 KB"), level("L1", "2 KB"))
    exact = best_mapping(machine, SHAPE, BITS, Settings("energy"))
    short = best_mapping(machine, SHAPE, BITS, Settings("energy", seconds=1e-9))
    assert short.bound <= exact.key <= short.key


def test_it_is_told_before_the_kernels_of_several_buffers_compile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(compiled, "is_compiled", lambda: True)
    fine = Fine(before_compiling=lambda: told.append("now"))
    monkeypatch.setattr(compiled_deep, "is_compiled", lambda: False)
    fine.best(TWO, SHAPE, BITS)
    fine.best(load_machine("eyeriss"), SHAPE, BITS)
    assert told == ["now"]
    monkeypatch.undo()
    assert compiled_deep.is_compiled()
