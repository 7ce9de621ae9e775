"""Quantities with units: reading, refusing and writing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.errors import HwflowError
from hwflow.units import UnitError, parse, show


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("4 ms", "s", 4e-3),
        ("4ms", "s", 4e-3),
        (" 4 ms ", "s", 4e-3),
        ("200 MHz", "Hz", 2e8),
        ("108 kB", "B", 108_000),
        ("108 KiB", "B", 110_592),
        ("16 b", "B", 2),
        ("16 bit", "B", 2),
        ("2 Mb", "B", 250_000),
        ("224 word", "word", 224),
        ("16 B/cycle", "B/cycle", 16),
        ("1.5 GB/s", "B/s", 1.5e9),
        ("460 pJ/16b", "J/B", 230e-12),
        ("460 pJ / 16 b", "J/B", 230e-12),
        ("15 pJ/bit", "J/B", 120e-12),
        ("18.2 pJ/word", "J/word", 18.2e-12),
        ("30 mW", "W", 0.03),
        ("3 µs", "s", 3e-6),
        ("3 us", "s", 3e-6),
        ("2 mm2", "um2", 2e6),
        ("7 µm2", "um2", 7),
        ("1.2 M", "", 1.2e6),
        ("12", "", 12),
        ("1e-3 s", "s", 1e-3),
        (".5 s", "s", 0.5),
        ("1_000 B", "B", 1000),
        ("1,500,000.5 s", "s", 1_500_000.5),
        ("-2 s", "s", -2),
        (7, "s", 7),
        (0.5, "J", 0.5),
    ],
)
def test_reads_a_quantity_in_si_units(text: str, unit: str, value: float) -> None:
    assert parse(text, unit) == pytest.approx(value, rel=1e-14)


def test_a_bare_number_is_already_in_the_unit() -> None:
    assert parse("0.004", "s") == 0.004


@pytest.mark.parametrize(
    ("text", "unit", "message"),
    [
        ("fast", "s", "'fast' is not a quantity. Write a number and a unit"),
        ("", "s", "'' is not a quantity"),
        ("ms", "s", "'ms' is not a quantity"),
        ("1.2.3 s", "s", "'1.2.3 s' is not a quantity"),
        ("4 parsec", "s", "unknown unit 'parsec'. Known: B, Hz, J"),
        ("4 pJ/0b", "J/B", "unknown unit '/0b'"),
        ("4 pJ/0.0b", "J/B", "unknown unit '/0.0b'"),
        ("4 pJ/b/b", "J/B", "unknown unit 'b/b'"),
        ("4 ms", "J", "'4 ms' is in s, expected a quantity in J"),
        ("4 GB/s", "B", "is in B/s, expected a quantity in B"),
        ("4 ms", "", "is in s, expected a quantity in no unit"),
        ("4 k", "s", "is in no unit, expected a quantity in s"),
    ],
)
def test_refuses_with_what_is_wrong(text: str, unit: str, message: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse(text, unit)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["1,5 ms", "12,34 J", "1234,567 s", "1,2345 s"])
def test_a_decimal_comma_is_not_taken_for_a_separator_of_thousands(text: str) -> None:
    with pytest.raises(UnitError, match="is not a quantity"):
        parse(text, "s")


def test_a_unit_error_is_a_fault_of_the_user() -> None:
    assert issubclass(UnitError, HwflowError)
    assert UnitError.exit_code == 2


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0041, "s", "4.1 ms"),
        (1.37e9, "B/s", "1.37 GB/s"),
        (0, "s", "0 s"),
        (None, "s", "-"),
        (40_551_040, "", "40.6 M"),
        (999.9, "s", "1 ks"),
        (-0.2, "s", "-200 ms"),
        (math.inf, "B", "inf B"),
        (1e16, "s", "10000 Ts"),
        (5e-17, "J", "5e-05 pJ"),
        (1421.0, "um2", "1421 um2"),
        (2.5e6, "um2", "2.5 mm2"),
        (0.0, "um2", "0 um2"),
    ],
)
def test_shows_with_a_prefix(value: float | None, unit: str, text: str) -> None:
    assert show(value, unit) == text


def test_shows_as_many_digits_as_asked() -> None:
    assert show(1234567, "B", digits=5) == "1.2346 MB"


@given(
    st.floats(1e-18, 1e18, allow_nan=False),
    st.sampled_from(["s", "J", "B", "Hz", "W", "", "B/s", "J/B", "um2"]),
)
def test_what_is_shown_reads_back(value: float, unit: str) -> None:
    assert parse(show(value, unit, digits=6), unit) == pytest.approx(value, rel=1e-4)


@given(st.floats(1e-12, 1e12), st.sampled_from(["p", "n", "m", "", "k", "M", "G"]))
def test_a_prefix_scales(number: float, prefix: str) -> None:
    scale = {"p": 1e-12, "n": 1e-9, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}[prefix]
    assert parse(f"{number!r} {prefix}J", "J") == pytest.approx(number * scale, rel=1e-12)
