"""What a search minimises: latency, energy, their product, or a mix of the two by weights.

    latency, energy, edp        cycles, joules, joules x cycles
    energy^a*latency^b          joules^a x cycles^b; a = 1, b = 2 is ED²P
    a*energy+b*latency          a x joules + b x seconds

All of them rise with energy and with cycles, so a bound on both bounds the objective too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

from hwflow.errors import HwflowError, unknown_name

OBJECTIVES = ("latency", "energy", "edp")

LATENCY, ENERGY, EDP, PRODUCT, SUM = range(5)
"""Codes of the kinds, as the compiled search knows them."""

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_POWER = rf"(energy|latency)(?:\^({_NUMBER}))?"
_SHARE = rf"(?:({_NUMBER})\*)?(energy|latency)"
_PRODUCT = re.compile(rf"{_POWER}(?:\*{_POWER})?")
_SUM = re.compile(rf"{_SHARE}(?:\+{_SHARE})?")
_FORMS = (
    'An objective is "latency", "energy", "edp", powers such as "energy^1*latency^2", '
    'or a sum such as "0.3*energy+0.7*latency" (joules and seconds)'
)


@dataclass(frozen=True, slots=True)
class Goal:
    """An objective: its kind and the weights, or powers, of energy and latency."""

    mode: int
    energy: float
    latency: float

    @property
    def spelling(self) -> str:
        """The one way to write this objective."""
        if self.mode < PRODUCT:
            return OBJECTIVES[self.mode]
        if self.mode == PRODUCT:
            return f"energy^{_plain(self.energy)}*latency^{_plain(self.latency)}"
        return f"{_plain(self.energy)}*energy+{_plain(self.latency)}*latency"

    def per_cycle(self, clock_hz: float) -> float:
        """Return the weight of a cycle: of its seconds in a sum, else the power."""
        return self.latency / clock_hz if self.mode == SUM else self.latency

    def value(self, energy_j: float, cycles: float, clock_hz: float) -> float:
        """Return the objective of a mapping."""
        if self.mode == SUM:
            return float(self.energy * energy_j + self.latency * cycles / clock_hz)
        return float(energy_j**self.energy * cycles**self.latency)


@lru_cache(maxsize=256)
def goal_of(text: str) -> Goal:
    """Read an objective.

    Raises HwflowError for anything but the forms above, and for weights that are not numbers from
    0 up with one of them positive.
    """
    if text in OBJECTIVES:
        return _product(text != "latency", text != "energy")
    plain = "".join(text.split())
    product, mix = _PRODUCT.fullmatch(plain), _SUM.fullmatch(plain)
    if product:
        first, power, second, other = product.groups()
        terms = {first: _number(text, power), second: _number(text, other)}
    elif mix:
        share, first, other, second = mix.groups()
        terms = {first: _number(text, share), second: _number(text, other)}
    else:
        raise HwflowError(f"{unknown_name('objective', text, OBJECTIVES)} {_FORMS}.")
    if first == second:
        raise HwflowError(f"The objective {text!r} names {first} twice. {_FORMS}.")
    energy, latency = terms.get("energy", 0.0), terms.get("latency", 0.0)
    if energy == latency == 0:
        raise HwflowError(f"The objective {text!r} has no weight above 0. {_FORMS}.")
    if product or not (energy and latency):
        return _product(energy, latency)
    return Goal(SUM, energy, latency)


def _product(energy: float, latency: float) -> Goal:
    """Return powers of energy and latency; of one alone the power does not matter."""
    if not energy:
        return Goal(LATENCY, 0.0, 1.0)
    if not latency:
        return Goal(ENERGY, 1.0, 0.0)
    return Goal(EDP if energy == latency == 1 else PRODUCT, float(energy), float(latency))


def _number(text: str, written: str | None) -> float:
    number = 1.0 if written is None else float(written)
    if number < 0 or not isfinite(number):
        raise HwflowError(
            f"The objective {text!r} has the weight {written}; a mapping cannot be sought that "
            "makes energy or latency large. Weights are finite numbers from 0 up."
        )
    return number


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)
