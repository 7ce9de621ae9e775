"""Machines: the presets, their figures and what a cost model asks of a machine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.machine import Accelerator, load_machine, machine_names

PRESETS = (
    "bismo", "bitfusion", "eyeriss", "eyeriss-isca16", "loom", "npu-camera", "npu-mcu", "simd-16",
    "spatial-168", "spatial-256", "stripes", "systolic-16x16", "systolic-32x32", "systolic-8x8",
    "tpu-v1-like", "unpu-like",
)  # fmt: skip


def figure(value: object) -> dict[str, object]:
    return {"value": value, "source": "test"}


def memory(name: str, size: Any = "unlimited", **more: Any) -> dict[str, Any]:
    plain = {"name": name, "size": size, "word": figure(16), "read": figure("1 pJ/b"),
             "write": figure("2 pJ/b")}  # fmt: skip
    return {**plain, **more}


def machine(**changes: Any) -> Accelerator:
    """A small machine: 8 fixed 8-bit multipliers at 1 kHz, 1 KiB buffer, 100 B/s."""
    dram = memory("DRAM", bandwidth=figure("100 B/s"))
    plain = {
        "name": "small",
        "description": "for tests",
        "clock": figure("1 kHz"),
        "native_bits": figure(8),
        "engine": {"kind": "bit-parallel", "word": figure(8)},
        "mac_energy": {"kind": "per-cycle", "energy": figure("1 pJ")},
        "memory": [dram, memory("GLB", figure("1 KiB"))],
        "array": {
            "between": ["GLB", "PE"],
            "rows": figure(4),
            "cols": figure(2),
            "unroll_rows": ["K"],
            "unroll_cols": ["C"],
        },
        "dataflow": "free",
    }
    return Accelerator.model_validate({**plain, **changes})


def unpu() -> Accelerator:
    """UNPU's published rate at 16 bits: 13824 serial lanes at 200 MHz."""
    array = {"between": ["GLB", "PE"], "rows": figure(24), "cols": figure(36),
             "unroll_rows": ["K"], "unroll_cols": ["C"]}  # fmt: skip
    engine = {"kind": "unpu", "lanes": figure(16), "word": figure(16)}
    return machine(clock=figure("200 MHz"), array=array, engine=engine, native_bits=figure(16))


def test_the_presets_are_those_of_the_design() -> None:
    assert set(PRESETS) <= set(machine_names())


@pytest.mark.parametrize("name", PRESETS)
def test_every_figure_of_a_preset_has_a_source(name: str) -> None:
    found = load_machine(name).figures()
    assert len(found) >= 12
    assert all(fig.source.strip() for _, fig in found)
    assert {"clock", "native_bits", "array.rows", "array.cols"} <= {key for key, _ in found}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_named_after_its_file_and_says_what_it_is(name: str) -> None:
    found = load_machine(name)
    assert found.name == name
    assert len(found.description) > 10


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_gives_positive_rates_and_energies(name: str) -> None:
    found = load_machine(name)
    bits = np.arange(1, 17)
    weight, read = np.meshgrid(bits, bits)
    assert (found.peak_macs_per_s(weight, read) > 0).all()
    assert (found.mac_energy_j(weight, read) > 0).all()
    assert 0 < found.dram_bytes_per_s < math.inf
    assert found.dram_j_per_bit > 0
    assert 8192 < found.onchip_bits < math.inf


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_reads_its_own_json(name: str) -> None:
    found = load_machine(name)
    again = Accelerator.model_validate_json(found.model_dump_json(by_alias=True))
    assert again == found
    assert again.digest() == found.digest()


def test_the_eyeriss_chip_has_its_published_figures() -> None:
    chip = load_machine("eyeriss")
    assert (chip.pes, chip.array.rows.value, chip.array.cols.value) == (168, 12, 14)
    assert chip.clock_hz == pytest.approx(200e6)
    assert chip.dram_j_per_bit == pytest.approx(460e-12 / 16)
    assert chip.memory[1].read_j_per_bit == pytest.approx(15e-12 / 16)
    assert chip.memory[1].bytes_per_s(chip.clock_hz) == pytest.approx(16 * 200e6)
    assert chip.array.transfer_j_per_bit == pytest.approx(4e-12 / 16)
    assert chip.idle_w == pytest.approx(0.030)
    assert chip.zero_gating
    assert chip.scratchpads is not None
    words = {name: pad.bits / 16 for name, pad in chip.scratchpads.pads.items()}
    assert words == {"weights": 224, "inputs": 12, "outputs": 24}


def test_the_eyeriss_chip_gains_neither_energy_nor_speed_from_fewer_bits() -> None:
    chip = load_machine("eyeriss")
    bits = np.arange(1, 17)
    assert (chip.mac_energy_j(bits, bits) == chip.mac_energy_j(16, 16)).all()
    assert (chip.peak_macs_per_s(bits, bits) == 168 * 200e6).all()
    assert chip.mac_energy_j(16, 16) == pytest.approx(2e-12)


def test_eyeriss_of_isca_is_relative_to_one_mac() -> None:
    found = load_machine("eyeriss-isca16")
    assert found.relative
    mac = float(found.mac_energy_j(16, 16))
    assert found.pes == 256
    assert found.dram_j_per_bit * 16 / mac == pytest.approx(200)
    assert found.memory[1].read_j_per_bit * 16 / mac == pytest.approx(6)
    assert found.array.transfer_j_per_bit * 16 / mac == pytest.approx(2)


@pytest.mark.parametrize(("name", "pes"), [("systolic-8x8", 64), ("systolic-16x16", 256)])
def test_systolic_arrays_spread_input_and_output_channels(name: str, pes: int) -> None:
    found = load_machine(name)
    assert found.pes == pes
    assert ("C" in found.array.unroll_rows, "K" in found.array.unroll_cols) == (True, True)
    assert found.native_bits == 8
    assert found.mac_energy_j(8, 8) == pytest.approx(0.208e-12)
    assert found.dram_j_per_bit == pytest.approx(8e-12)


def test_a_preset_that_extends_another_keeps_the_rest() -> None:
    small, large = load_machine("systolic-8x8"), load_machine("systolic-16x16")
    assert large.memory[1].bits == 4 * small.memory[1].bits
    assert large.memory[1].read == small.memory[1].read
    assert large.scratchpads == small.scratchpads


@pytest.mark.parametrize(
    ("bits", "energy"), [(16, 0.603), (8, 0.203), (5, 0.203), (4, 0.082), (2, 0.041), (1, 0.041)]
)
def test_simd_costs_what_fixed_multipliers_cost_at_45_nm(bits: int, energy: float) -> None:
    assert load_machine("simd-16").mac_energy_j(bits, bits) == pytest.approx(energy * 1e-12)


def test_bit_fusion_makes_a_quarter_mac_at_16_bits_and_16_at_2() -> None:
    found = load_machine("bitfusion")
    assert list(found.macs_per_cycle([16, 8, 4, 2, 1], [16, 8, 4, 2, 1])) == [0.25, 1, 4, 16, 16]
    assert found.mac_energy_j(8, 8) == pytest.approx(0.459e-12)
    assert found.dram_j_per_bit == pytest.approx(15e-12)


def test_bismo_takes_a_cycle_for_each_pair_of_bits() -> None:
    found = load_machine("bismo")
    assert found.macs_per_cycle(1, 1) == 64
    assert found.macs_per_cycle(3, 5) == pytest.approx(64 / 15)
    engine = found.engine
    assert engine.kind == "bismo"
    fills = (found.array.rows.value + found.array.cols.value) * 1024 * engine.lanes.value
    assert found.memory[1].bits == fills


@pytest.mark.parametrize(("bits", "gops"), [(16, 345.6), (1, 7372.8)])
def test_unpus_published_rates_follow_from_its_lanes(bits: int, gops: float) -> None:
    ops_per_mac = 2
    assert ops_per_mac * unpu().peak_macs_per_s(bits, 16) == pytest.approx(gops * 1e9)


@pytest.mark.parametrize("name", PRESETS)
def test_an_operand_that_nobody_quantised_is_costed_at_the_native_width(name: str) -> None:
    found = load_machine(name)
    native = found.native_bits
    assert found.width(32) == native
    assert list(found.width([1, 8, 16, 32])) == [1, 8, 16, native]
    assert found.macs_per_cycle(32, 4) == found.macs_per_cycle(native, 4)
    assert found.mac_energy_j(4, 32) == found.mac_energy_j(4, native)
    assert found.stored_bits(32) == found.stored_bits(native)


@given(st.lists(st.tuples(st.integers(1, 16), st.integers(1, 16)), min_size=1, max_size=5))
def test_arrays_of_bits_give_the_numbers_of_each_pair(pairs: list[tuple[int, int]]) -> None:
    found = machine(engine={"kind": "simd", "word": figure(16)})
    weight, read = np.array(pairs).T
    rates = found.peak_macs_per_s(weight, read)
    assert list(rates) == [float(found.peak_macs_per_s(*pair)) for pair in pairs]


@pytest.mark.parametrize("name", PRESETS)
def test_energy_and_rate_never_suffer_from_fewer_bits(name: str) -> None:
    found = load_machine(name)
    bits = np.arange(1, 17)
    weight, read = np.meshgrid(bits, bits)
    energy, rate = found.mac_energy_j(weight, read), found.macs_per_cycle(weight, read)
    for axis in (0, 1):
        assert (np.diff(energy, axis=axis) >= 0).all()
        assert (np.diff(rate, axis=axis) <= 0).all()


def test_the_chip_counts_every_memory_and_those_in_the_pes_once_for_each() -> None:
    pads = {"kind": "separate", "weights": {k: v for k, v in memory("", figure("2 B")).items()
                                            if k != "name"}}  # fmt: skip
    array = {"between": ["GLB", "scratchpads"], "rows": figure(4), "cols": figure(2),
             "unroll_rows": ["K"], "unroll_cols": ["C"]}  # fmt: skip
    assert machine(scratchpads=pads, array=array).onchip_bits == 8192 + 8 * 16


def test_a_level_inside_the_array_is_in_every_pe() -> None:
    dram = memory("DRAM", bandwidth=figure("100 B/s"))
    levels = [dram, memory("GLB", figure("1 KiB")), memory("L0", figure("4 B"))]
    array = {"between": ["GLB", "L0"], "rows": figure(4), "cols": figure(2),
             "unroll_rows": ["K"], "unroll_cols": ["C"]}  # fmt: skip
    assert machine(memory=levels, array=array).onchip_bits == 8192 + 8 * 32


def test_dram_energy_is_the_lesser_of_reading_and_writing() -> None:
    assert machine().dram_j_per_bit == pytest.approx(1e-12)


@pytest.mark.parametrize(
    ("packing", "stored"),
    [("dense", [1, 3, 5, 8, 12, 16]), ("word", [1, 16 / 5, 16 / 3, 8, 16, 16])],
)
def test_packing_decides_what_an_operand_takes_off_chip(packing: str, stored: list[float]) -> None:
    found = machine(packing=packing)
    assert list(found.stored_bits([1, 3, 5, 8, 12, 16])) == pytest.approx(stored)


def test_operands_wider_than_the_word_take_whole_words() -> None:
    assert machine(packing="word").stored_bits(20) == 32


@pytest.mark.parametrize(
    ("depth", "bits"), [(1, 12), (2, 13), (9, 16), (576, 22), ([1, 1024], [12, 22])]
)
def test_partial_sums_grow_with_the_depth(depth: Any, bits: Any) -> None:
    assert machine().psum_bits(8, 4, depth) == pytest.approx(bits)


def test_partial_sums_may_have_a_fixed_width() -> None:
    found = machine(partial_sum_bits=figure("24 b"))
    assert list(found.psum_bits([8, 2], [4, 2], [9, 576])) == [24, 24]


def test_machines_of_the_same_figures_are_equal_and_hash_alike() -> None:
    assert machine() == machine()
    assert hash(machine()) == hash(machine())
    assert machine().digest() == machine().digest()


@pytest.mark.parametrize(
    "changes",
    [{"clock": figure("2 kHz")}, {"zero_gating": True}, {"name": "other"}, {"packing": "word"},
     {"clock": {"value": "1 kHz", "source": "another"}}],
)  # fmt: skip
def test_any_change_changes_the_digest(changes: dict[str, Any]) -> None:
    assert machine(**changes).digest() != machine().digest()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory": []}, "List the memory levels from DRAM inward"),
        ({"memory": [memory("DRAM")]}, "needs a bandwidth"),
        (
            {"memory": [memory("DRAM", bandwidth=figure("1 B/s"), holds=["weights"])]},
            "must hold weights, inputs, outputs",
        ),
        (
            {"memory": [memory("A", bandwidth=figure("1 B/s")), memory("A", figure("1 KiB"))]},
            "The level name 'A' is taken",
        ),
        ({"memory": [memory("DRAM", bandwidth=figure("1 B/s"))]}, "at least two memory levels"),
        (
            {
                "array": {
                    "between": ["DRAM", "PE"],
                    "rows": figure(4),
                    "cols": figure(2),
                    "unroll_rows": ["K"],
                    "unroll_cols": ["C"],
                }
            },
            "array.between is DRAM, PE: name two neighbours of DRAM, GLB, PE.",
        ),
        ({"native_bits": figure(64)}, "native_bits is 64, allowed are 1 to 32."),
    ],
)
def test_a_machine_that_contradicts_itself_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        machine(**changes)
