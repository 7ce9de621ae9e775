from __future__ import annotations

import pytest

from hwflow.costs.fine import Fine
from hwflow.costs.fine.array_use import ArrayUse, Axis, array_use
from hwflow.costs.fine.level import scored
from hwflow.costs.fine.rates import OperandBits
from hwflow.costs.fine.shape import Shape
from hwflow.machine import load_machine

BITS = OperandBits(16, 16, 16)


def used(*dims: int, machine: str = "systolic-8x8") -> ArrayUse:
    """The array under the best mapping of a layer N K C P Q R S G."""
    chip, shape = load_machine(machine), Shape(dims)
    mapping = Fine().best(chip, shape, BITS).mapping
    return array_use(chip, shape, BITS, mapping, scored(chip, shape, BITS, mapping))


def test_a_layer_that_fits_leaves_nothing_idle_but_time() -> None:
    use = used(1, 64, 64, 16, 16, 1, 1, 1)
    assert use.active == 1
    assert use.filled == 1
    assert use.words() == ""


def test_few_channels_leave_an_axis_idle() -> None:
    use = used(1, 64, 3, 16, 16, 1, 1, 1)
    assert use.active == pytest.approx(3 / 8)
    assert use.words().startswith("C 3 fills 3 of 8 ")
    assert {use.rows.used, use.columns.used} == {3, 8}


def test_odd_channels_leave_slots_empty() -> None:
    use = used(1, 64, 9, 16, 16, 1, 1, 1)
    assert use.filled * use.active == pytest.approx(9 / 16)
    assert "C" in use.words()


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({}, "nothing is spread over the 14 columns"),
        ({"P": 8}, "P 8 fills 8 of 14 columns"),
        ({"P": 4, "K": 3}, "P 4 x K 3 fill 12 of 14 columns"),
    ],
)
def test_axes_say_what_fills_them(factors: dict[str, int], words: str) -> None:
    assert Axis("columns", 14, factors).words() == words
    assert Axis("columns", 14, factors).used <= 14


def test_json_names_the_loops() -> None:
    plain = used(1, 64, 3, 16, 16, 1, 1, 1).to_json()
    factors = {**plain["rows"]["factors"], **plain["columns"]["factors"]}
    assert factors["C"] == 3
    assert plain["idle"] >= 1 - 3 / 8 - 1e-9
