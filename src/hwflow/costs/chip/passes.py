"""The seven parameters that map a layer onto the chip (JSSC 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

from hwflow.errors import HwflowError


class PassesError(HwflowError):
    """Row-stationary parameters that cannot be read."""


@dataclass(frozen=True, slots=True, order=True)
class Passes:
    """What one pass holds: (m, n, e, p, q, r, t), every one at least 1.

    A pass computes `e` output rows of `p` x `t` filters from `q` x `r` channels of `n` images;
    partial sums of `m` filters wait in the buffer until all channels have passed.
    """

    m: int
    """Filters whose partial sums are in the buffer."""
    n: int
    """Images in one pass."""
    e: int
    """Output rows of one pass: the width of a PE set."""
    p: int
    """Filters in one PE."""
    q: int
    """Channels in one PE."""
    r: int
    """PE sets that work on different channels."""
    t: int
    """PE sets that work on different filters."""

    def __post_init__(self) -> None:
        for name, value in self.as_dict().items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise PassesError(
                    f"Row-stationary parameter {name} is {value!r}: it must be a whole number, "
                    "at least 1."
                )

    @classmethod
    def read(cls, given: str | Mapping[str, object]) -> Passes:
        """Read ``"64,4,13,16,3,2,2"`` (in the order m,n,e,p,q,r,t) or a mapping of the names.

        Raises PassesError when a parameter is missing, unknown or no whole number above 0.
        """
        names = [field.name for field in fields(cls)]
        if isinstance(given, str):
            values = [_whole(text) for text in given.replace(",", " ").split()]
            if len(values) != len(names):
                raise PassesError(
                    f"{given!r} has {len(values)} numbers: write the seven of {','.join(names)}."
                )
            return cls(*values)
        wrong = sorted(set(names) ^ {str(name) for name in given})
        if wrong:
            raise PassesError(
                f"Row-stationary parameters are {', '.join(names)}, each once; "
                f"missing or unknown: {', '.join(wrong)}."
            )
        return cls(**{name: _whole(given[name]) for name in names})

    def as_dict(self) -> dict[str, int]:
        """Return the parameters by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __str__(self) -> str:
        return ",".join(str(value) for value in astuple(self))


def _whole(value: object) -> int:
    if isinstance(value, int):
        return value
    text = str(value).strip()
    if not text.isdecimal():
        raise PassesError(f"{text!r} is no whole number above 0.")
    return int(text)
