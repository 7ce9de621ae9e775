"""Area: given figures and estimates by part, the price of flexibility, and FPGA resources."""

from __future__ import annotations

from typing import Any

import pytest

from hwflow.machine import Accelerator, load_machine, machine_names
from hwflow.machine.area import (
    FLEXIBLE,
    PAD_UM2_PER_BIT,
    SRAM_UM2_PER_BIT,
    mac_area_um2,
    pe_area_um2,
    unit_area_um2,
)


def figure(value: object) -> dict[str, object]:
    return {"value": value, "source": "a floor plan"}


def plain(name: str) -> dict[str, Any]:
    return load_machine(name).model_dump(mode="json", by_alias=True)


def changed(name: str, **changes: Any) -> Accelerator:
    return Accelerator.model_validate({**plain(name), **changes})


@pytest.mark.parametrize(("bits", "area"), [(4, 528.5), (8, 1467.5), (16, 4534.9)])
def test_a_fixed_multiplier_is_a_ninth_of_hcms_pe(bits: int, area: float) -> None:
    assert mac_area_um2(bits) == pytest.approx(area / 9, rel=1e-4)
    assert mac_area_um2(bits) == pytest.approx(float(pe_area_um2(bits)) / 9)


def test_a_composable_unit_costs_2_3_times_the_energy_and_2_5_times_the_area() -> None:
    fused, fixed = load_machine("bitfusion"), load_machine("simd-16")
    energy = float(fused.mac_energy_j(8, 8)) / float(fixed.mac_energy_j(8, 8))
    assert energy == pytest.approx(0.459 / 0.203)
    assert round(energy, 1) == 2.3
    assert unit_area_um2(fused.engine) == pytest.approx(2.5 * mac_area_um2(8))
    assert FLEXIBLE == 2.5


def test_flexibility_pays_below_8_bits_only() -> None:
    fused, fixed = load_machine("bitfusion"), load_machine("simd-16")
    assert fused.mac_energy_j(8, 8) > fixed.mac_energy_j(8, 8)
    assert fused.mac_energy_j(2, 2) < fixed.mac_energy_j(2, 2)


@pytest.mark.parametrize(
    ("name", "lanes", "bits"),
    [("stripes", 16, (1, 16)), ("unpu-like", 16, (1, 16)), ("loom", 16, (1, 1)),
     ("bismo", 64, (1, 1))],
)  # fmt: skip
def test_serial_units_are_estimated_by_the_lane(
    name: str, lanes: int, bits: tuple[int, int]
) -> None:
    assert unit_area_um2(load_machine(name).engine) == pytest.approx(lanes * mac_area_um2(*bits))


def test_the_parts_are_the_pes_and_every_memory_on_the_chip() -> None:
    parts = {part.name: part for part in load_machine("eyeriss").area_parts()}
    assert list(parts) == [
        "PEs", "GLB", "weights scratchpads", "inputs scratchpads", "outputs scratchpads",
    ]  # fmt: skip
    assert all(part.standing == "estimate" for part in parts.values())
    assert parts["PEs"].um2 == pytest.approx(168 * mac_area_um2(16))
    assert parts["GLB"].um2 == pytest.approx(108 * 1024 * 8 * SRAM_UM2_PER_BIT)
    assert parts["inputs scratchpads"].um2 == pytest.approx(168 * 12 * 16 * PAD_UM2_PER_BIT)
    assert load_machine("eyeriss").area_um2() == pytest.approx(sum(p.um2 for p in parts.values()))


def test_the_memory_rate_gives_back_the_area_it_was_taken_from() -> None:
    at_32_nm = 128 * 1024 * 8 * SRAM_UM2_PER_BIT * (32 / 28) ** 2
    assert at_32_nm == pytest.approx(217363.37)


def test_figures_of_the_file_replace_estimates() -> None:
    memory = plain("eyeriss")["memory"]
    memory[1] = {**memory[1], "area": figure("1.5 mm2")}
    chip = changed("eyeriss", pe_area=figure("1000 um2"), memory=memory)
    pes, glb, *pads = chip.area_parts()
    assert (pes.um2, pes.standing, pes.source) == (168_000, "given", "a floor plan")
    assert (glb.um2, glb.standing) == (1.5e6, "given")
    assert {pad.standing for pad in pads} == {"estimate"}


def test_the_area_of_a_scratchpad_is_that_of_one_copy() -> None:
    pads = plain("spatial-256")["scratchpads"]
    chip = changed("spatial-256", scratchpads={**pads, "area": figure("2000 um2")})
    assert chip.area_parts()[-1].um2 == 256 * 2000


def test_unlimited_memories_are_not_on_the_chip() -> None:
    memory = plain("eyeriss")["memory"]
    memory[1] = {**memory[1], "size": "unlimited"}
    names = [part.name for part in changed("eyeriss", memory=memory).area_parts()]
    assert "GLB" not in names
    assert "DRAM" not in names


@pytest.mark.parametrize("name", machine_names())
def test_every_preset_has_a_plausible_area(name: str) -> None:
    found = load_machine(name)
    assert 0.05e6 < found.area_um2() < 400e6
    assert all(part.um2 > 0 for part in found.area_parts())


def test_areas_are_no_part_of_a_digest_unless_given() -> None:
    base = load_machine("eyeriss")
    assert changed("eyeriss").digest() == base.digest()
    assert changed("eyeriss", pe_area=figure("1000 um2")).digest() != base.digest()
    assert "pe_area" not in dict(base.figures())
    assert "pe_area" in dict(changed("eyeriss", pe_area=figure("1000 um2")).figures())


def test_bismo_takes_luts_and_block_rams() -> None:
    """D_m D_n (1.17 D_k + 164.2) LUTs; ceil(D_k/32) (D_m ceil(L_m/1024) + D_n ceil(L_n/1024))."""
    found = load_machine("bismo").fpga_resources()
    assert found is not None
    assert found.luts == pytest.approx(8 * 8 * (1.17 * 64 + 164.2))
    assert found.brams == 2 * (8 * 1 + 8 * 1)


def test_bismo_fits_an_edge_fpga() -> None:
    """A Zynq-7020 has 53,200 LUTs and 140 block RAMs of 36 Kb."""
    found = load_machine("bismo").fpga_resources()
    assert found is not None
    assert found.luts < 53_200 / 3
    assert found.brams < 140 / 3


def test_a_larger_bismo_takes_more() -> None:
    engine = {**plain("bismo")["engine"], "lanes": figure(256), "rows_buffer": figure(2048)}
    array = {**plain("bismo")["array"], "rows": figure(16)}
    found = changed("bismo", engine=engine, array=array).fpga_resources()
    assert found is not None
    assert found.luts == pytest.approx(16 * 8 * (1.17 * 256 + 164.2))
    assert found.brams == 8 * (16 * 2 + 8 * 1)


def test_other_machines_are_no_fpga() -> None:
    assert load_machine("eyeriss").fpga_resources() is None
