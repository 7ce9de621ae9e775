"""Figures: a value with its unit and a source, or an error that says what to write."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hwflow.machine.figures import (
    AccessEnergy,
    AutoWidth,
    BitCount,
    Count,
    Energy,
    Figure,
    Frequency,
    Number,
    Sealed,
    Size,
    Width,
    figures,
)


class Part(Sealed):
    clock: Frequency | None = None
    access: AccessEnergy | None = None
    energy: Energy | None = None
    size: Size | None = None
    rows: Number | None = None
    word: Width | None = None
    psum: AutoWidth | None = None


def read(**data: Any) -> Part:
    return Part.model_validate(data)


def fault(**data: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        read(**data)
    (only,) = caught.value.errors()
    return str(only["msg"])


def given(value: object, source: object = "a paper") -> dict[str, object]:
    return {"value": value, "source": source}


def test_a_figure_is_in_si_units_and_keeps_its_source() -> None:
    assert read(clock=given("200 MHz")).clock == Figure(value=2e8, unit="Hz", source="a paper")


@pytest.mark.parametrize(("text", "unit"), [("8 pJ/b", "J/B"), ("8 pJ/word", "J/word")])
def test_an_access_energy_is_per_bit_or_per_word(text: str, unit: str) -> None:
    figure = read(access=given(text)).access
    assert figure is not None
    assert figure.unit == unit


def test_a_size_may_be_in_words_or_unlimited() -> None:
    assert read(size="unlimited").size == "unlimited"
    assert read(size=given("224 word")).size == Figure(value=224, unit="word", source="a paper")


@pytest.mark.parametrize("value", [16, "16", "16 b", "2 B"])
def test_a_width_is_a_number_of_bits(value: object) -> None:
    assert read(word=given(value)).word == BitCount(value=16, source="a paper")


def test_a_width_may_be_left_to_the_machine() -> None:
    assert read(psum="auto").psum == "auto"
    assert read(psum=given("32 b")).psum == BitCount(value=32, source="a paper")
    assert "write 'auto' or a figure with a source" in fault(psum="automatic")


def test_an_energy_may_be_nothing_but_a_clock_may_not() -> None:
    assert read(energy=given("0 pJ")).energy is not None
    assert "it must be above zero" in fault(clock=given("0 Hz"))


@pytest.mark.parametrize("source", ["", "   ", None, 3])
def test_a_figure_without_a_source_is_refused(source: object) -> None:
    message = fault(clock=given("200 MHz", source))
    assert "The figure '200 MHz' has no source. Name the paper, or write 'own choice" in message


@pytest.mark.parametrize("bare", ["200 MHz", 200, ["200 MHz"]])
def test_a_bare_value_is_refused_because_it_has_no_source(bare: object) -> None:
    assert "has no source. Write {value: 200 MHz, source: ...}" in fault(clock=bare)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"clock": given(200)}, "'200' has no unit. Write a quantity such as '200 MHz'."),
        ({"clock": given("1e3")}, "'1e3' has no unit."),
        ({"clock": given("200 ms")}, "is in s, expected a quantity in Hz"),
        ({"clock": given("200 mhz")}, "unknown unit 'mhz'"),
        ({"clock": given("-1 Hz")}, "it must be above zero"),
        ({"clock": given("1e999 Hz")}, "finite"),
        ({"energy": given("-1 pJ")}, "it must be zero or more"),
        ({"energy": given(True)}, "The figure has no value."),
        ({"energy": {"source": "a paper"}}, "The figure has no value."),
        ({"energy": given([2])}, "The figure has no value."),
        ({"clock": {**given("1 Hz"), "sourc": "x"}}, "Unknown key 'sourc'. Did you mean 'source'?"),
        ({"rows": given(0)}, "it must be a whole number of at least 1"),
        ({"rows": given(1.5)}, "it must be a whole number of at least 1"),
        ({"rows": given("12")}, "it must be a whole number of at least 1"),
        ({"word": given("1.5 b")}, "it must be a whole number of bits"),
        ({"word": given("16 Hz")}, "Write bits, such as '16 b'."),
        ({"size": "huge"}, "write 'unlimited' or a figure with a source"),
        ({"rosw": given(3)}, "Unknown key 'rosw'. Did you mean 'rows'?"),
    ],
)
def test_a_faulty_figure_is_refused_with_what_to_write(data: dict[str, Any], message: str) -> None:
    assert message in fault(**data)


def test_every_figure_is_listed_with_its_key_path() -> None:
    part = read(clock=given("1 Hz"), rows=given(3), psum="auto")
    found = dict(figures(part))
    assert list(found) == ["clock", "rows"]
    assert isinstance(found["rows"], Count)


def test_figures_read_for_people() -> None:
    part = read(clock=given("200 MHz"), rows=given(3), word=given(16))
    assert [str(figure) for _, figure in figures(part)] == ["200 MHz", "3", "16 b"]


def test_a_model_reads_its_own_json() -> None:
    part = read(
        clock=given("200 MHz"), access=given("18.2 pJ/word"), size=given("108 KiB"),
        rows=given(12), word=given("64 b"), psum="auto",
    )  # fmt: skip
    assert Part.model_validate_json(part.model_dump_json()) == part


def test_a_figure_cannot_be_changed() -> None:
    part = read(clock=given("1 Hz"))
    with pytest.raises(ValidationError, match="frozen"):
        part.clock = None  # type: ignore[misc]
