"""The engines' laws on the array: cycles of a matrix product of K outputs, depth D, P columns."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwflow.costs.fine.mapspace import mapspace
from hwflow.costs.fine.rates import OperandBits, rates
from hwflow.costs.fine.score import compute_cycles
from hwflow.costs.fine.search import best_mapping
from hwflow.costs.fine.shape import OUTPUTS, Shape
from hwflow.costs.fine.traffic import traffic
from hwflow.machine import Accelerator, load_machine
from hwflow.machine.engines import BitFusion


def figure(value: object) -> dict[str, object]:
    return {"value": value, "source": "test"}


def machine(engine: dict[str, Any], pes: int = 16) -> Accelerator:
    """Units of an engine: outputs K down the rows, columns of the product along the columns."""
    plain = load_machine("bismo").model_dump(mode="json", by_alias=True)
    array = {**plain["array"], "rows": figure(pes), "cols": figure(pes)}
    return Accelerator.model_validate({**plain, "engine": engine, "array": array})


ENGINES = {
    "stripes": {"kind": "stripes", "lanes": figure(16), "word": figure(16)},
    "unpu": {"kind": "unpu", "lanes": figure(16), "word": figure(16)},
    "loom": {"kind": "loom", "lanes": figure(16), "serial": figure(2)},
    "bismo": {"kind": "bismo", "lanes": figure(16), "rows_buffer": figure(8),
              "cols_buffer": figure(8)},
}  # fmt: skip
CHIPS = {name: machine(engine) for name, engine in ENGINES.items()}


def least_cycles(name: str, shape: Shape, weight: int, read: int) -> float:
    chip, bits = CHIPS[name], OperandBits(weight, read, 8)
    figures = rates(chip, shape, bits)
    listed = mapspace(chip).unrollings(shape).tolist()
    return min(compute_cycles(shape, figures, tuple(spread)) for spread in listed)


SERIAL = {
    "stripes": lambda weight, read: read,
    "unpu": lambda weight, read: 0.75 if weight == 1 else weight,
    "loom": lambda weight, read: ceil(read / 2) * weight,
    "bismo": lambda weight, read: weight * read,
}


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(SERIAL)), st.integers(1, 90), st.integers(1, 90), st.integers(1, 90),
    st.integers(1, 16), st.integers(1, 16),
)  # fmt: skip
def test_serial_engines_take_tiles_times_bits(
    name: str, outs: int, depth: int, columns: int, weight: int, read: int
) -> None:
    shape = Shape((1, outs, depth, columns, 1, 1, 1, 1))
    tiles = ceil(outs / 16) * ceil(columns / 16) * ceil(depth / 16)
    expected = tiles * SERIAL[name](weight, read)
    assert least_cycles(name, shape, weight, read) == pytest.approx(expected)


def test_the_depth_of_a_convolution_shares_the_lanes() -> None:
    shape = Shape((1, 16, 3, 16, 1, 3, 3, 1))
    assert least_cycles("bismo", shape, 2, 3) == ceil(27 / 16) * 6


def test_unpu_is_21_times_faster_at_one_bit() -> None:
    shape = Shape((1, 16, 64, 16, 1, 1, 1, 1))
    ratio = least_cycles("unpu", shape, 16, 16) / least_cycles("unpu", shape, 1, 16)
    assert ratio == pytest.approx(7372 / 345.6, rel=0.01)


@pytest.mark.parametrize(
    ("weight", "read", "cycles"), [(2, 2, 16), (8, 8, 256), (4, 8, 128), (16, 16, 1024)]
)
def test_bit_fusion_composes_bricks(weight: int, read: int, cycles: int) -> None:
    """MACs (b_w/2)(b_a/2) / (16 units) on an array that the layer fills: 16 inputs a unit."""
    chip = load_machine("bitfusion")
    shape = Shape((1, 16, 256, 16, 1, 1, 1, 1))
    figures = rates(chip, shape, OperandBits(weight, read, 8))
    listed = mapspace(chip).unrollings(shape).tolist()
    found = min(compute_cycles(shape, figures, tuple(spread)) for spread in listed)
    assert found == shape.macs * (weight / 2) * (read / 2) / (16 * chip.pes) == cycles


@pytest.mark.parametrize(
    ("weight", "read", "products"), [(2, 2, 16), (4, 8, 2), (8, 8, 1), (16, 8, 1)]
)
def test_a_fused_unit_sends_one_sum_for_all_its_products(
    weight: int, read: int, products: int
) -> None:
    """Sums of a product each, as SIMD lanes have, would be written as often at all bits."""
    chip, bits = load_machine("bitfusion"), OperandBits(weight, read, 8)
    shape = Shape((1, 16, 1024, 16, 1, 1, 1, 1))
    loose = chip.model_copy(update={"engine": BitFusion(kind="bit-fusion", sums="of-product")})
    mapping = best_mapping(chip, shape, bits).mapping
    one, each = (traffic(shape, rates(m, shape, bits), mapping) for m in (chip, loose))
    visits = ceil(each.to_array[OUTPUTS] / shape.outputs / products)
    assert one.to_array[OUTPUTS] == visits * shape.outputs
    assert one.to_array[:OUTPUTS] == each.to_array[:OUTPUTS]


def test_fewer_bits_change_the_mapping() -> None:
    """Half the bits leave room for other tiles, and the DRAM traffic falls by more than half."""
    chip, shape = load_machine("eyeriss"), Shape((1, 512, 512, 7, 7, 3, 3, 1), padding=(2, 2))
    wide, narrow = (best_mapping(chip, shape, OperandBits(b, b, b)) for b in (16, 8))
    assert wide.mapping != narrow.mapping
    assert narrow.cycles < wide.cycles
