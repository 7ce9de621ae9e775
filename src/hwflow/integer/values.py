"""Values of the integer program while it is compiled: grids, codes, and sums in the making."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwflow.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]


def signed_bits(low: int, high: int) -> int:
    """Return the width of the two's-complement integer that holds every value from low to high."""
    return max(int(low).bit_length() if low >= 0 else (-int(low) - 1).bit_length(),
               int(high).bit_length()) + 1  # fmt: skip


@dataclass(frozen=True, eq=False)
class Grid:
    """A b-bit grid: real = scale * (code - zero)."""

    scale: Array
    """Float64 holding float32 values; of a shape that broadcasts against the tensor."""
    zero: Array
    """Int64, of the same shape; 0 on signed grids."""
    bits: int
    signed: bool
    low: int
    high: int

    @property
    def by_sign(self) -> bool:
        """Whether this is the grid of -1 and +1, which rounds by sign."""
        return self.signed and self.bits == 1

    @property
    def uniform(self) -> bool:
        """Whether the whole tensor has one scale and one zero point."""
        return bool(self.scale.size == 1)

    @property
    def centred(self) -> tuple[int, int]:
        """Smallest and largest value of code - zero."""
        return self.low - int(self.zero.max()), self.high - int(self.zero.min())

    def codes(self, real: Array) -> Array:
        """Return the codes of float32 or float64 numbers, divided in their own precision.

        Float32 numbers get the codes that ``hwflow::fake_quantize`` gives them, halves to even.
        Raises DataError for NaN.
        """
        if self.by_sign:
            return np.where(real < 0, self.low, self.high).astype(np.int64)
        with np.errstate(over="ignore"):  # what is infinite is clipped
            near = np.rint(real / self.scale.astype(real.dtype)) + self.zero
        if np.isnan(near).any():
            raise DataError(
                "A tensor to be quantised holds NaN, which has no code. Take these images out, or "
                "check the preprocessing and the weights."
            )
        return np.asarray(np.clip(near, self.low, self.high), dtype=np.int64)

    def real(self, codes: Array) -> Array:
        """Return the real numbers that codes stand for, in float64."""
        return np.asarray((codes - self.zero) * self.scale)

    def limit(self, real: float) -> Array:
        """Return the code of one real number, infinite ones included."""
        return self.codes(np.full(self.scale.shape, real, dtype=np.float64))

    def same(self, other: Grid) -> bool:
        """Whether codes mean the same on both."""
        return (
            (self.bits, self.signed) == (other.bits, other.signed)
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero, other.zero)
        )


@dataclass(frozen=True, eq=False)
class Codes:
    """A quantised tensor: the name of its integers and their grid."""

    name: str
    grid: Grid


@dataclass(frozen=True, eq=False)
class Term:
    """One accumulator and the real number that a unit of it stands for."""

    name: str
    factor: Array
    low: int
    high: int


@dataclass(frozen=True)
class Curve:
    """A function that is applied element by element, in float64."""

    name: str
    apply: Callable[[Array], Array] = field(compare=False)
    clip: tuple[float, float] | None = None
    """The limits, where the function only clips."""
    turns: tuple[float, ...] | None = None
    """Where the function turns from falling to rising or back; None where that is not known."""


@dataclass(frozen=True, eq=False)
class Real:
    """A tensor that is not on a grid yet: curves of sum_i factor_i * acc_i + offset."""

    terms: tuple[Term, ...]
    offset: Array
    curves: tuple[Curve, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it is one accumulator times a factor."""
        return len(self.terms) == 1 and not self.curves and not self.offset.any()

    def limits(self) -> tuple[float, float] | None:
        """Return the interval that the curves clip to, None when they do more than clip."""
        low, high = -np.inf, np.inf
        for curve in self.curves:
            if curve.clip is None:
                return None
            low, high = (min(max(x, curve.clip[0]), curve.clip[1]) for x in (low, high))
        return low, high
