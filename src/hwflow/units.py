"""Quantities with units: text such as ``"460 pJ/16b"`` to SI numbers and back.

Base units are s, Hz, B (byte), b (bit), J, W and m2; the result of :func:`parse` is in SI units
with bytes for sizes ("B"), seconds, joules. ``kB`` is 1000 bytes and ``KiB`` 1024. A denominator
may carry a count: ``"460 pJ/16b"`` is 460 pJ for every 16 bits.
"""

from __future__ import annotations

import re

from hwflow.errors import HwflowError

FLOAT_BITS = 32
"""Bits of an operand that nobody quantised (float32 in the network)."""

_PREFIX = {
    "": 1.0, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3,
    "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30,
}  # fmt: skip
_BASE = {
    "s": ("s", 1.0), "Hz": ("Hz", 1.0), "B": ("B", 1.0), "b": ("B", 0.125), "bit": ("B", 0.125),
    "J": ("J", 1.0), "W": ("W", 1.0), "cycle": ("cycle", 1.0), "word": ("word", 1.0),
}  # fmt: skip
_AREA = {"um2": 1.0, "µm2": 1.0, "mm2": 1e6}
_NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_QUANTITY = re.compile(rf"^\s*({_NUMBER})(?![\d,.])\s*(.*?)\s*$")
_DENOMINATOR = re.compile(r"^(\d*\.?\d*)(.*)$")


class UnitError(HwflowError):
    """A quantity that cannot be read, or one of another dimension than asked for."""


def _simple(unit: str) -> tuple[str, float]:
    """Return (dimension, factor) of one unit without a denominator."""
    if unit in _AREA:
        return "um2", _AREA[unit]
    for base in sorted(_BASE, key=len, reverse=True):
        if unit.endswith(base) and unit[: -len(base)] in _PREFIX:
            dimension, factor = _BASE[base]
            return dimension, factor * _PREFIX[unit[: -len(base)]]
    if unit in _PREFIX:
        return "", _PREFIX[unit]
    raise KeyError(unit)


def _unit(text: str) -> tuple[str, float]:
    numerator, _, denominator = text.replace(" ", "").partition("/")
    dimension, factor = _simple(numerator)
    if not denominator:
        return dimension, factor
    match = _DENOMINATOR.match(denominator)
    count, base = match.groups() if match else ("", denominator)
    below, divisor = _simple(base)
    if count and not count.strip("0."):
        raise KeyError(f"/{denominator}")
    return f"{dimension}/{below}", factor / (divisor * float(count or 1))


def parse(text: str | float | int, dimension: str) -> float:
    """Read a quantity such as ``"4 ms"`` as a number in the SI unit named by `dimension`.

    `dimension` is one of "s", "Hz", "B", "J", "W", "um2", "" (a plain count) or a ratio such as
    "B/s", "B/cycle", "J/B". A bare number counts as already being in that unit.
    Raises UnitError when the text is no quantity or has another dimension.
    """
    if isinstance(text, int | float):
        return float(text)
    match = _QUANTITY.match(text)
    if match is None:
        raise UnitError(f"{text!r} is not a quantity. Write a number and a unit, such as '4 ms'.")
    number = float(match[1].replace("_", "").replace(",", ""))
    if not match[2]:
        return number
    try:
        found, factor = _unit(match[2])
    except KeyError as error:
        raise UnitError(
            f"{text!r} has the unknown unit {error.args[0]!r}. "
            f"Known: {', '.join(sorted(_BASE))}, um2, mm2 with prefixes f p n u m k M G T Ki Mi Gi."
        ) from None
    if found != dimension:
        raise UnitError(
            f"{text!r} is in {found or 'no unit'}, expected a quantity in {dimension or 'no unit'}."
        )
    return number * factor


_STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""),
          (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))  # fmt: skip


def show(value: float | None, unit: str = "", digits: int = 3) -> str:
    """Write `value` with an SI prefix: ``show(0.0041, "s")`` gives ``"4.1 ms"``."""
    if value is None:
        return "-"
    if unit == "um2":
        return _area(value, digits)
    if value == 0 or value != value or value in (float("inf"), float("-inf")):
        return f"{value:g} {unit}".strip()
    scale, prefix = next((s for s in _STEPS if abs(value) >= s[0] * 0.9995), _STEPS[-1])
    return f"{_digits(value / scale, digits)} {prefix}{unit}".strip()


def _digits(number: float, digits: int) -> str:
    """Write a number to so many digits, large ones without an exponent."""
    text = f"{number:.{digits}g}"
    return f"{number:.0f}" if "e+" in text else text


def _area(um2: float, digits: int) -> str:
    """Write an area; squared units take no SI prefix."""
    if abs(um2) >= 1e5:
        return f"{_digits(um2 / 1e6, digits)} mm2"
    return f"{_digits(um2, digits)} um2"
