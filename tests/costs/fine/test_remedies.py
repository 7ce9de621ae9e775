from __future__ import annotations

from typing import Any

import pytest
from small_machines import figure, store

from hwflow.costs.fine.remedies import remedies
from hwflow.machine import Accelerator, load_machine, machine_names


def changed(machine: Accelerator, key: str) -> Accelerator:
    (found,) = [r.machine for r in remedies(machine) if r.key == key]
    assert found is not None
    return found


def differences(machine: Accelerator, other: Accelerator) -> dict[str, float]:
    """Figures that differ, as ratios of the new value to the old."""
    new = dict(other.figures())
    return {
        path: new[path].value / old.value
        for path, old in machine.figures()
        if new[path].value != old.value
    }


@pytest.mark.parametrize(
    ("key", "paths"),
    [
        ("DRAM bandwidth", {"memory.DRAM.bandwidth"}),
        ("GLB bandwidth", {"memory.GLB.bandwidth"}),
        ("GLB size", {"memory.GLB.size"}),
        ("GLB double-buffered", {"memory.GLB.size"}),
        ("array rows", {"array.rows"}),
        ("array columns", {"array.cols"}),
        ("scratchpad size",
         {f"scratchpads.{t}.size" for t in ("weights", "inputs", "outputs")}),
    ],
)  # fmt: skip
def test_each_remedy_doubles_one_thing_and_nothing_else(key: str, paths: set[str]) -> None:
    machine = load_machine("eyeriss")
    assert differences(machine, changed(machine, key)) == dict.fromkeys(paths, 2)


def test_a_second_buffer_makes_it_double_buffered_at_the_same_room() -> None:
    machine = load_machine("eyeriss")
    assert not machine.memory[1].double_buffered
    assert changed(machine, "GLB double-buffered").memory[1].double_buffered


@pytest.mark.parametrize("name", machine_names())
def test_every_preset_has_remedies_that_are_machines(name: str) -> None:
    machine = load_machine(name)
    found = remedies(machine)
    assert len({r.key for r in found}) == len(found)
    assert [r.operand for r in found[-2:]] == ["weights", "inputs"]
    for remedy in found[:-2]:
        assert remedy.machine is not None
        assert remedy.machine.digest() != machine.digest()
        assert remedy.machine.name == machine.name
    assert machine.digest() == load_machine(name).digest()


def test_sources_say_what_was_doubled() -> None:
    machine = load_machine("eyeriss")
    figures = dict(changed(machine, "array rows").figures())
    assert figures["array.rows"].source == "twice what JSSC 2017 gives"


def three_levels(**more: Any) -> Accelerator:
    memory = [
        store("unlimited", 90, 110, name="DRAM", bandwidth=figure("4 B/cycle")),
        store("4 KiB", 10, 10, name="L2", bandwidth=figure("8 B/cycle"), double_buffered=True),
        store("500 B", 5, 7, name="L1", bandwidth=figure("2 B/cycle"),
              write_bandwidth=figure("1 B/cycle")),
    ]  # fmt: skip
    return Accelerator.model_validate({
        "name": "three", "description": "for tests", "clock": figure("1 MHz"),
        "native_bits": figure(8), "engine": {"kind": "bit-parallel", "word": figure(8)},
        "mac_energy": {"kind": "per-cycle", "energy": figure("3 pJ")}, "memory": memory,
        "array": {"between": ["L1", "PE"], "rows": figure(4), "cols": figure(1),
                  "unroll_rows": ["C"], "unroll_cols": []},
        "dataflow": "free", **more,
    })  # fmt: skip


def test_every_level_of_a_deep_machine_is_tried() -> None:
    keys = [r.key for r in remedies(three_levels())]
    assert keys == [
        "DRAM bandwidth", "L2 bandwidth", "L2 size", "L1 bandwidth", "L1 size",
        "L1 double-buffered", "array rows", "weight bits", "activation bits",
    ]  # fmt: skip


def test_both_ports_of_a_level_are_doubled() -> None:
    machine = three_levels()
    found = differences(machine, changed(machine, "L1 bandwidth"))
    assert found == {"memory.L1.bandwidth": 2, "memory.L1.write_bandwidth": 2}
