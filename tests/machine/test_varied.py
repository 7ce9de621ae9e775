"""A machine with figures changed: what follows from them changes too, the rest stays."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwflow.errors import MachineError
from hwflow.machine import load_machine, machine_names
from hwflow.machine.varied import varied

EYERISS = load_machine("eyeriss")


def test_nothing_varied_is_the_same_machine() -> None:
    assert varied(EYERISS, {}) == EYERISS


def test_counts_change_and_nothing_else() -> None:
    wider = varied(EYERISS, {"array.rows": 24})
    assert wider.pes == 2 * EYERISS.pes
    assert wider.memory == EYERISS.memory
    assert wider.scratchpads == EYERISS.scratchpads
    assert wider.name == "eyeriss (array.rows 24)"
    assert wider.digest() != EYERISS.digest()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4096))
def test_a_resized_buffer_pays_by_the_root_of_its_size(kib: int) -> None:
    buffer = varied(EYERISS, {"GLB.size": f"{kib} KiB"}).memory[1]
    ratio = kib / 108
    assert buffer.bits == kib * 8192
    assert buffer.read_j_per_bit == pytest.approx(EYERISS.memory[1].read_j_per_bit * sqrt(ratio))
    assert "assumption" in buffer.read.source
    assert buffer.bandwidth == EYERISS.memory[1].bandwidth


def test_a_scratchpad_is_resized_in_words() -> None:
    pads = varied(EYERISS, {"scratchpads.inputs.size": "24 word"}).scratchpads
    assert pads is not None
    inputs = pads.pads["inputs"]
    assert inputs.bits == 24 * 16
    assert inputs.read_j_per_bit == pytest.approx(
        EYERISS.scratchpads.pads["inputs"].read_j_per_bit * sqrt(2)
    )


def test_an_engine_comes_with_its_energy() -> None:
    fused = load_machine("bitfusion")
    machine = varied(EYERISS, {"engine": "bitfusion"})
    assert machine.engine == fused.engine
    assert machine.mac_energy == fused.mac_energy
    assert machine.memory == EYERISS.memory


def test_the_engine_is_taken_before_its_figures_are_set() -> None:
    base = load_machine("systolic-8x8")
    one = varied(base, {"engine.word": 8, "engine": "simd-16"})
    other = varied(base, {"engine": "simd-16", "engine.word": 8})
    assert one.engine == other.engine
    assert one.engine.word.value == 8
    assert "varied from 16" in one.engine.word.source
    assert one.mac_energy == other.mac_energy


def test_a_width_may_be_written_with_its_unit() -> None:
    narrow = load_machine("systolic-8x8")
    bits, plain = (varied(narrow, {"engine.word": word}) for word in ("2 B", 16))
    assert float(bits.mac_energy_j(8, 8)) == float(plain.mac_energy_j(8, 8))


def test_sources_say_what_a_figure_was_before() -> None:
    figures = dict(varied(EYERISS, {"DRAM.bandwidth": "2 GB/s"}).figures())
    assert figures["memory.DRAM.bandwidth"].value == 2e9
    assert figures["memory.DRAM.bandwidth"].source.startswith("varied from 1.37e+09 B/s")


def test_a_wider_multiplier_takes_the_energy_of_fixed_ones_and_a_larger_area() -> None:
    narrow = load_machine("systolic-8x8")
    wide = varied(narrow, {"engine.word": 16})
    each = [float(m.mac_energy_j(8, 8)) for m in (narrow, wide)]
    assert each[1] / each[0] == pytest.approx(0.603 / 0.203)
    assert wide.area_um2() > narrow.area_um2()
    between = varied(narrow, {"engine.word": 12})
    assert each[0] < float(between.mac_energy_j(8, 8)) < each[1]


def test_half_the_lanes_take_half_the_energy_per_cycle_and_fewer_look_up_tables() -> None:
    bismo = load_machine("bismo")
    half = varied(bismo, {"engine.lanes": 32})
    assert half.mac_energy.energy.value == pytest.approx(bismo.mac_energy.energy.value / 2)
    assert float(half.mac_energy_j(2, 2)) == pytest.approx(float(bismo.mac_energy_j(2, 2)))
    assert half.fpga_resources().luts < bismo.fpga_resources().luts


def test_a_given_area_of_a_pe_grows_with_its_lanes() -> None:
    given_area = {"value": 100.0, "unit": "um2", "source": "a test"}
    stripes = load_machine("stripes").model_dump(mode="json", by_alias=True)
    machine = type(EYERISS).model_validate(stripes | {"pe_area": given_area})
    double = varied(machine, {"engine.lanes": 2 * machine.engine.lanes.value})
    assert double.pe_area.value == pytest.approx(200)
    assert "assumption" in double.pe_area.source


@pytest.mark.parametrize("name", machine_names())
def test_every_preset_can_be_varied(name: str) -> None:
    machine = load_machine(name)
    assert varied(machine, {"array.cols": 7}).array.cols.value == 7


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"array.row": 8}, "array.rows"),
        ({"GLB.size": "64"}, "has no unit"),
        ({"GLB.size": "-1 KiB"}, "above zero"),
        ({"array.rows": 0}, "whole number of at least 1"),
        ({"engine": "bitfision"}, "bitfusion"),
        ({"engine": "bit_parallel"}, "is a kind of engine"),
        ({"engine": "cpu"}, "cpu is a measured device"),
        ({"engine": "eyeriss-isca16"}, r"multiples of one MAC's.*Allowed: .*bitfusion"),
        ({"engine": "bitfusion", "engine.word": 8}, "Unknown figure 'engine.word'"),
        ({"engine.word": 0}, "1"),
    ],
)
def test_what_a_machine_cannot_have_is_refused(values: dict[str, int | str], words: str) -> None:
    with pytest.raises(MachineError, match=words):
        varied(EYERISS, values)


def test_relative_energies_take_no_engine_in_joules() -> None:
    with pytest.raises(MachineError, match=r"simd-16 are joules.*Leave engine as it is"):
        varied(load_machine("eyeriss-isca16"), {"engine": "simd-16"})
