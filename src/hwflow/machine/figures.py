"""Figures of a machine file: a value with its unit, and where it comes from.

A figure is written ``{value: 200 MHz, source: JSSC 2017}``. A quantity needs its unit, a count has
none, and nothing is accepted without a source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from hwflow.errors import unknown_name
from hwflow.units import UnitError, parse, show

_EXAMPLES = {
    "Hz": "200 MHz", "B": "108 KiB", "word": "224 word", "J": "2 pJ", "J/B": "460 pJ/16b",
    "J/word": "18.2 pJ/word", "B/s": "1.5 GB/s", "B/cycle": "16 B/cycle", "W": "30 mW",
    "um2": "120 um2",
}  # fmt: skip


class Sealed(BaseModel):
    """A frozen model that names the nearest key when it is given an unknown one."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            fields = cls.model_fields
            keys = [str(f.validation_alias or name) for name, f in fields.items()]
            for key in data:
                if key not in keys and key not in fields:
                    raise ValueError(unknown_name("key", str(key), keys))
        return data


class Figure(Sealed):
    """A quantity in the SI unit `unit`, and its source."""

    value: float
    unit: str
    source: str

    def __str__(self) -> str:
        return show(self.value, self.unit, 4)


class Count(Sealed):
    """A whole number of at least 1, and its source."""

    value: int
    source: str

    def __str__(self) -> str:
        return str(self.value)


class BitCount(Count):
    """A number of bits, written ``16`` or ``16 b``."""

    def __str__(self) -> str:
        return f"{self.value} b"


def quantity(*units: str, zero: bool = False, hint: str = "") -> Callable[[Any], Any]:
    """Return a reader of figures in one of the SI `units`; `zero` allows the value 0."""

    def read(data: Any) -> Any:
        if isinstance(data, Figure):
            return data
        entry = _entry(data, _EXAMPLES[units[0]], "unit")
        value, unit = _value(entry, units)
        if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
            allowed = "zero or more" if zero else "above zero"
            raise ValueError(
                f"{entry['value']!r} is not allowed: it must be {allowed}, and finite.{hint}"
            )
        return Figure(value=value, unit=unit, source=entry["source"])

    return read


def _or_word(word: str, read: Callable[[Any], Any]) -> BeforeValidator:
    """Return a validator that takes `word` as it is and reads anything else."""

    def either(data: Any) -> Any:
        if isinstance(data, str) and data != word:
            raise ValueError(f"{data!r} is not allowed: write '{word}' or a figure with a source.")
        return data if data == word else read(data)

    return BeforeValidator(either)


def _entry(data: Any, example: str, *optional: str) -> dict[str, Any]:
    """Return the mapping of a figure after checking its keys and its source."""
    form = f"Write {{value: {example}, source: ...}}"
    if not isinstance(data, dict):
        raise ValueError(f"{data!r} has no source. {form} and say where the figure comes from.")
    keys = ("value", "source", *optional)
    for key in data:
        if key not in keys:
            raise ValueError(unknown_name("key", str(key), keys[:2]))
    if "value" not in data or isinstance(data["value"], bool | dict | list | None):
        raise ValueError(f"The figure has no value. {form}.")
    if not isinstance(data.get("source"), str) or not data["source"].strip():
        raise ValueError(
            f"The figure {data['value']!r} has no source. Name the paper, or write "
            "'own choice: ...' with the reason."
        )
    return data


def _value(entry: dict[str, Any], units: tuple[str, ...]) -> tuple[float, str]:
    """Return the value in the first of `units` that fits, and that unit."""
    text = f"{entry['value']} {entry.get('unit', '')}".strip()
    expected = f"Write a quantity such as {_EXAMPLES[units[0]]!r}."
    if _is_number(text):
        raise ValueError(f"{text!r} has no unit. {expected}")
    fault = ""
    for unit in units:
        try:
            return parse(text, unit), unit
        except UnitError as error:
            fault = fault or str(error)
    raise ValueError(f"{fault} {expected}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _count(data: Any) -> Any:
    if isinstance(data, Count):
        return data
    entry = _entry(data, "12")
    value = entry["value"]
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} is not allowed: it must be a whole number of at least 1.")
    return Count(value=value, source=entry["source"])


def _bits(data: Any) -> Any:
    if isinstance(data, BitCount):
        return data
    entry = _entry(data, "16 b")
    value = entry["value"]
    try:
        bits = float(value) if _is_number(str(value)) else parse(value, "B") * 8
    except UnitError as error:
        raise ValueError(f"{error} Write bits, such as '16 b'.") from None
    if not bits.is_integer() or bits < 1:
        raise ValueError(f"{value!r} is not allowed: it must be a whole number of bits, 1 or more.")
    return BitCount(value=int(bits), source=entry["source"])


Frequency = Annotated[Figure, BeforeValidator(quantity("Hz"))]
_NO_SIZE = " Leave the memory out, or write 'unlimited' if it cannot fill."
Size = Annotated[
    Figure | Literal["unlimited"],
    _or_word("unlimited", quantity("B", "word", hint=_NO_SIZE)),
]
AccessEnergy = Annotated[Figure, BeforeValidator(quantity("J/B", "J/word", zero=True))]
MoveEnergy = Annotated[Figure, BeforeValidator(quantity("J/B", zero=True))]
Energy = Annotated[Figure, BeforeValidator(quantity("J", zero=True))]
Power = Annotated[Figure, BeforeValidator(quantity("W", zero=True))]
Bandwidth = Annotated[
    Figure,
    BeforeValidator(
        quantity("B/cycle", "B/s", hint=" Leave the key out for a port that never limits.")
    ),
]
Area = Annotated[Figure, BeforeValidator(quantity("um2"))]
Number = Annotated[Count, BeforeValidator(_count)]
Width = Annotated[BitCount, BeforeValidator(_bits)]
AutoWidth = Annotated[BitCount | Literal["auto"], _or_word("auto", _bits)]


def figures(model: BaseModel, path: str = "") -> Iterator[tuple[str, Figure | Count]]:
    """Yield every figure of a model with its key path, such as ``array.rows``."""
    for name, info in type(model).model_fields.items():
        key = str(info.validation_alias or name)
        yield from _found(getattr(model, name), f"{path}.{key}" if path else key)


def _found(value: Any, path: str) -> Iterator[tuple[str, Figure | Count]]:
    if isinstance(value, Figure | Count):
        yield path, value
    elif isinstance(value, BaseModel):
        yield from figures(value, path)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _found(item, f"{path}.{getattr(item, 'name', index)}")
