"""Memory levels, scratchpads, the array and the energy of a MAC."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from hwflow.machine.hardware import Array, Level, MacEnergy, Scratchpads

ENERGY: TypeAdapter[Any] = TypeAdapter(MacEnergy)
PADS: TypeAdapter[Any] = TypeAdapter(Scratchpads)


def figure(value: object) -> dict[str, object]:
    return {"value": value, "source": "test"}


def store(**changes: Any) -> dict[str, Any]:
    plain = {"size": figure("1 KiB"), "word": figure(16), "read": figure("16 pJ/16b"),
             "write": figure("16 pJ/word")}  # fmt: skip
    return {**plain, **changes}


def level(**changes: Any) -> Level:
    return Level.model_validate({"name": "GLB", **store(**changes)})


def table(*entries: tuple[int, int, str]) -> Any:
    rows = [
        {"weight_bits": figure(w), "input_bits": figure(a), "energy": figure(e)}
        for w, a, e in entries
    ]
    return ENERGY.validate_python({"kind": "table", "entries": rows})


def joules(model: Any, weight: int, read: int, theta: float = 1.0) -> float:
    return float(model.energy_j(np.array(weight), np.array(read), np.array(theta)))


@pytest.mark.parametrize(
    ("size", "bits"),
    [(figure("1 KiB"), 8192), (figure("10 word"), 160), ("unlimited", math.inf)],
)
def test_a_size_is_known_in_bits(size: Any, bits: float) -> None:
    assert level(size=size).bits == bits


def test_energies_per_bit_and_per_word_agree() -> None:
    assert level().read_j_per_bit == pytest.approx(1e-12)
    assert level().write_j_per_bit == pytest.approx(1e-12)


@pytest.mark.parametrize(
    ("bandwidth", "found"),
    [(figure("16 B/cycle"), 3.2e9), (figure("1 GB/s"), 1e9), (None, math.inf)],
)
def test_a_bandwidth_is_per_cycle_or_per_second(bandwidth: Any, found: float) -> None:
    assert level(bandwidth=bandwidth).bytes_per_s(200e6) == pytest.approx(found)


@pytest.mark.parametrize("holds", [[], ["weights", "weights"]])
def test_a_level_holds_each_tensor_once(holds: list[str]) -> None:
    with pytest.raises(ValidationError, match="Name each tensor it holds once"):
        level(holds=holds)


def test_a_level_holds_known_tensors_only() -> None:
    with pytest.raises(ValidationError, match="'weights', 'inputs' or 'outputs'"):
        level(holds=["psums"])


def test_scratchpads_are_shared_or_separate() -> None:
    shared = PADS.validate_python({"kind": "shared", **store()})
    separate = PADS.validate_python({"kind": "separate", "weights": store(), "outputs": store()})
    assert list(shared.pads) == ["shared"]
    assert list(separate.pads) == ["weights", "outputs"]


def test_separate_scratchpads_need_one_at_least() -> None:
    with pytest.raises(ValidationError, match="Give at least one of weights, inputs, outputs"):
        PADS.validate_python({"kind": "separate"})


def test_an_array_counts_its_pes_and_its_transfers() -> None:
    plain = {"between": ["GLB", "PE"], "rows": figure(12), "cols": figure(14),
             "unroll_rows": ["K"], "unroll_cols": ["C"]}  # fmt: skip
    assert Array.model_validate(plain).pes == 168
    assert Array.model_validate(plain).transfer_j_per_bit == 0
    moving = Array.model_validate({**plain, "transfer": figure("4 pJ/16b")})
    assert moving.transfer_j_per_bit == pytest.approx(0.25e-12)


def test_an_array_unrolls_known_loops_only() -> None:
    with pytest.raises(ValidationError, match="'N', 'K', 'C', 'P', 'Q', 'R', 'S' or 'G'"):
        Array.model_validate(
            {"between": ["GLB", "PE"], "rows": figure(1), "cols": figure(1),
             "unroll_rows": ["X"], "unroll_cols": []}
        )  # fmt: skip


def test_energy_per_cycle_is_shared_by_the_macs_of_a_cycle() -> None:
    model = ENERGY.validate_python({"kind": "per-cycle", "energy": figure("0.459 pJ")})
    assert joules(model, 2, 2, theta=16) == pytest.approx(0.459e-12 / 16)
    assert joules(model, 16, 16, theta=1 / 4) == pytest.approx(4 * 0.459e-12)


@pytest.mark.parametrize(
    ("bits", "energy"),
    [((1, 1), 0.041), ((2, 2), 0.041), ((2, 3), 0.082), ((8, 1), 0.203), ((9, 9), 0.603),
     ((17, 16), 2 * 0.603), ((32, 32), 4 * 0.603)],
)  # fmt: skip
def test_a_table_gives_the_cheapest_entry_that_is_wide_enough(
    bits: tuple[int, int], energy: float
) -> None:
    model = table((16, 16, "0.603 pJ"), (2, 2, "0.041 pJ"), (8, 8, "0.203 pJ"), (4, 4, "0.082 pJ"))
    assert joules(model, *bits) == pytest.approx(energy * 1e-12)


def test_a_table_may_tell_weights_from_inputs() -> None:
    model = table((8, 8, "2 pJ"), (1, 8, "1 pJ"))
    assert joules(model, 1, 8) == pytest.approx(1e-12)
    assert joules(model, 8, 1) == pytest.approx(2e-12)


@pytest.mark.parametrize("entries", [[], [(8, 4, "1 pJ"), (4, 8, "1 pJ")]])
def test_a_table_needs_an_entry_for_the_widest_pair(entries: list[tuple[int, int, str]]) -> None:
    with pytest.raises(ValidationError, match="needs an entry for the widest pair"):
        table(*entries)


@given(st.integers(1, 16), st.integers(1, 16))
def test_the_product_formula_is_timeloops(weight: int, read: int) -> None:
    plain = {"kind": "product", "energy": figure("1 pJ"), "bits": figure(16)}
    found = joules(ENERGY.validate_python(plain), weight, read)
    assert found == pytest.approx(1e-12 * (weight / 16) * (read / 16))


@pytest.mark.parametrize(("serial", "energy"), [("weights", 3), ("inputs", 8)])
def test_a_serial_mac_costs_by_the_bits_of_its_serial_operand(serial: str, energy: int) -> None:
    plain = {"kind": "per-bit", "energy": figure("1 pJ"), "serial": serial}
    assert joules(ENERGY.validate_python(plain), 3, 8, theta=16) == pytest.approx(energy * 1e-12)


def test_an_area_is_in_square_micrometres_or_millimetres() -> None:
    found = level(area=figure("1.5 mm2")).area
    assert found is not None
    assert (found.value, found.unit) == (1.5e6, "um2")
    assert level().area is None
