"""Engines: MACs per PE and cycle at given operand bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from hwflow.machine.engines import Bismo, Engine

READ: TypeAdapter[Any] = TypeAdapter(Engine)


def figure(value: object) -> dict[str, object]:
    return {"value": value, "source": "test"}


def engine(kind: str, **figures: object) -> Any:
    return READ.validate_python({"kind": kind, **{k: figure(v) for k, v in figures.items()}})


def theta(made: Any, weight_bits: int, input_bits: int) -> float:
    return float(made.theta(np.array(weight_bits), np.array(input_bits)))


ENGINES = [
    engine("bit-parallel", word=16),
    engine("simd", word=16),
    engine("bit-fusion"),
    engine("stripes", lanes=16, word=16),
    engine("unpu", lanes=16, word=16),
    engine("loom", lanes=16, serial=4),
    engine("bismo", lanes=64, rows_buffer=1024, cols_buffer=1024),
]
IDS = [made.kind for made in ENGINES]


@pytest.mark.parametrize(
    ("bits", "macs"),
    [((16, 16), 1), ((8, 8), 1), ((1, 1), 1), ((17, 16), 1 / 2), ((32, 32), 1 / 4)],
)
def test_a_fixed_multiplier_gains_nothing_and_splits_wide_operands(
    bits: tuple[int, int], macs: float
) -> None:
    assert theta(engine("bit-parallel", word=16), *bits) == macs


@pytest.mark.parametrize(
    ("bits", "macs"),
    [
        ((16, 16), 1), ((9, 1), 1), ((8, 8), 2), ((5, 5), 2), ((4, 4), 4), ((4, 5), 2),
        ((3, 3), 4), ((2, 2), 8), ((1, 1), 16), ((1, 8), 2), ((32, 16), 1 / 2),
    ],
)  # fmt: skip
def test_simd_splits_its_word_into_a_power_of_two_of_lanes(
    bits: tuple[int, int], macs: float
) -> None:
    assert theta(engine("simd", word=16), *bits) == macs


@pytest.mark.parametrize(
    ("bits", "macs"),
    [
        ((16, 16), 1 / 4), ((8, 8), 1), ((8, 2), 4), ((4, 4), 4), ((2, 2), 16), ((1, 1), 16),
        ((3, 5), 2), ((9, 8), 1 / 2), ((32, 16), 1 / 8),
    ],
)  # fmt: skip
def test_bit_fusion_composes_bricks(bits: tuple[int, int], macs: float) -> None:
    assert theta(engine("bit-fusion"), *bits) == macs


@given(st.sampled_from((2, 4, 8, 16)), st.sampled_from((2, 4, 8, 16)))
def test_bit_fusion_takes_the_published_number_of_cycles(weight: int, read: int) -> None:
    cycles_per_mac = (weight / 2) * (read / 2) / 16
    assert 1 / theta(engine("bit-fusion"), weight, read) == cycles_per_mac


@pytest.mark.parametrize("made", ENGINES, ids=IDS)
@given(weight=st.integers(1, 32), read=st.integers(1, 32))
def test_a_pe_sums_no_more_than_it_multiplies_in_a_step(made: Any, weight: int, read: int) -> None:
    summed, cycles = made.summed(weight, read), 1 / theta(made, weight, read)
    assert summed >= 1
    if made.kind == "bit-fusion":
        assert summed == max(1, 1 / cycles)
        assert engine("bit-fusion").model_copy(update={"sums": "of-product"}).summed(2, 2) == 1
    elif made.kind in ("bit-parallel", "simd"):
        assert summed == 1
    else:
        assert summed == made.lanes.value


@given(st.integers(1, 16), st.integers(1, 16))
def test_serial_engines_take_their_published_cycles(weight: int, read: int) -> None:
    stripes, loom, bismo = ENGINES[3], ENGINES[5], ENGINES[6]
    assert 16 / theta(stripes, weight, read) == pytest.approx(read)
    assert 16 / theta(loom, weight, read) == pytest.approx(-(-read // 4) * weight)
    assert 64 / theta(bismo, weight, read) == pytest.approx(weight * read)


@pytest.mark.parametrize(("bits", "cycles"), [(1, 0.75), (2, 2), (3, 3), (16, 16)])
def test_unpu_is_serial_in_weights_and_faster_at_one_bit(bits: int, cycles: float) -> None:
    assert 16 / theta(engine("unpu", lanes=16, word=16), bits, 16) == cycles


@pytest.mark.parametrize("kind", ["stripes", "unpu"])
def test_the_parallel_operand_of_a_serial_engine_may_need_passes(kind: str) -> None:
    made = engine(kind, lanes=16, word=8)
    wide, narrow = ((16, 4), (8, 4)) if kind == "stripes" else ((4, 16), (4, 8))
    assert theta(made, *wide) == theta(made, *narrow) / 2


@pytest.mark.parametrize("made", ENGINES, ids=IDS)
@given(weight=st.integers(1, 32), read=st.integers(1, 32), more=st.tuples(*[st.integers(0, 8)] * 2))
def test_no_engine_is_faster_at_more_bits(
    made: Any, weight: int, read: int, more: tuple[int, int]
) -> None:
    wider = theta(made, weight + more[0], read + more[1])
    assert 0 < wider <= theta(made, weight, read)


@pytest.mark.parametrize("made", ENGINES, ids=IDS)
def test_engines_take_arrays(made: Any) -> None:
    weight, read = np.meshgrid(np.arange(1, 33), np.arange(1, 33), indexing="ij")
    found = made.theta(weight, read)
    assert found.shape == (32, 32)
    assert found[7, 3] == theta(made, 8, 4)


def test_bismo_takes_luts_and_block_rams_as_its_code_says() -> None:
    bismo = ENGINES[6]
    assert isinstance(bismo, Bismo)
    assert bismo.luts(8, 4) == pytest.approx(8 * 4 * (1.17 * 64 + 164.2))
    assert bismo.brams(8, 4) == 2 * (8 + 4)
    deep = engine("bismo", lanes=65, rows_buffer=1025, cols_buffer=1)
    assert deep.brams(8, 4) == 3 * (8 * 2 + 4)
