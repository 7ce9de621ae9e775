from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_data import sample

from hwflow.cost import METRICS
from hwflow.front import Trial
from hwflow.report import words

SPACE = "\N{NO-BREAK SPACE}"


def normal(text: str) -> str:
    return text.replace(SPACE, " ").replace("\N{MINUS SIGN}", "-")


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (-0.414, "-41 %"), (0.03, "+3.0 %"), (-0.0004, "0 %"), (0.0, "0 %"), (None, words.NOTHING),
        (-0.0995, "-10 %"), (-0.996, "-99.6 %"), (2.5, "+250 %"), (-0.0994, "-9.9 %"),
    ],
)  # fmt: skip
def test_changes_are_signed_percentages(ratio: float | None, text: str) -> None:
    assert normal(words.change(ratio)) == text


@pytest.mark.parametrize(
    ("name", "ratio", "text"),
    [
        ("energy_j", -0.41, "41 % less energy"), ("latency_s", 0.03, "3.0 % more latency"),
        ("macs", -0.5, "50 % fewer MACs"), ("dram_bytes", 0.0, "the same DRAM traffic"),
    ],
)  # fmt: skip
def test_changes_in_words(name: str, ratio: float, text: str) -> None:
    assert normal(words.less(name, ratio)) == text


@given(st.floats(-1, 10, allow_nan=False))
def test_a_change_never_shows_a_sign_before_zero(ratio: float) -> None:
    text = normal(words.change(ratio))
    if not text.strip("+-0. %"):
        assert text == "0 %"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("latency_s", 0.0041, "4.1 ms"), ("energy_j", 2.87e-4, "287 µJ"), ("macs", 4e7, "40 M"),
        ("area_um2", 4593.4, "4,593 µm²"), ("energy_j", float("inf"), "infinite"),
        ("energy_j", float("nan"), words.NOTHING), ("energy_j", None, words.NOTHING),
        ("dram_bytes", 0.0, "0 B"),
    ],
)  # fmt: skip
def test_costs_have_units(name: str, value: float | None, text: str) -> None:
    assert normal(words.cost(name, value)) == text


def test_every_metric_and_standing_has_words() -> None:
    assert set(words.NAMES) == set(METRICS)
    assert set(words.STANDINGS) == {"exact", "bound", "estimate", "measured"}


def test_shares_are_percent_and_differ_by_points() -> None:
    data = sample()
    assert normal(words.quality(data, 0.9129)) == "91.29 %"
    assert normal(words.difference(data, 0.9129)) == "-0.39 points"
    assert normal(words.difference(data, 0.9168)) == "0.00 points"
    assert words.quality(data, None) == words.NOTHING


def test_other_qualities_are_plain_numbers() -> None:
    data = replace(sample(), baseline=Trial(-1, (), {}, 27.25))
    assert words.quality(data, 26.5) == "26.5"
    assert normal(words.difference(data, 26.5)) == "-0.75"


def test_differences_need_an_original() -> None:
    assert words.difference(replace(sample(), baseline=None), 0.9) == words.NOTHING


def test_lists_are_joined_as_in_prose() -> None:
    assert words.joined([]) == ""
    assert words.joined(["energy"]) == "energy"
    assert words.joined(["energy", "latency", "area"]) == "energy, latency and area"
