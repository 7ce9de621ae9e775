"""Accumulators -> codes: the one rounding step of the integer program, in integers.

    code = clip(round_half_even((sum_i acc_i * M_i + B) / 2^n) + zero_point, low, high)

`M_i`, `B` and `n` are integers, one of each per output channel where scales are. `M_i` is the real
factor (s_x s_w / s_y for a convolution, times a normalisation's) and `B` the real offset over s_y
(bias, normalisation's shift), both rounded at a resolution of 2^-n of an output code. So a bias is
never rounded to the step of the accumulator, which is coarse when operands have few bits.

An accumulator of A bits is cut in two halves of about A / 2 bits, so that no product leaves 64
bits; nothing is lost (:meth:`Requantizer.__call__`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwflow.integer.values import Array, Grid, signed_bits

MULTIPLIER_BITS = 48
"""Bits of the multipliers unless told otherwise. At these the rounding of a multiplier moves a code
of 8 bits with a chance of about 2^-41; integer hardware and kernels have 16 to 32."""

_ROOM = 60
"""Bits that any intermediate value may take."""


@dataclass(frozen=True, eq=False)
class Requantizer:
    """The integers of one requantization; arrays broadcast against the tensor."""

    multipliers: tuple[Array, ...]
    """M of each accumulator, int64."""
    offset_high: Array
    """B >> split, int64."""
    offset_low: Array
    """The `split` low bits of B."""
    shift: Array
    """n, above `split`."""
    split: int
    grid: Grid
    low: Array
    """Smallest code: that of the grid, or of the activation's lower limit."""
    high: Array

    def __call__(self, sums: Sequence[Array]) -> Array:
        """Return the codes of accumulators (int64, in the order of the multipliers)."""
        mask = (1 << self.split) - 1
        top, rest = self.offset_high, self.offset_low
        for value, multiplier in zip(sums, self.multipliers, strict=True):
            top = top + (value >> self.split) * multiplier
            rest = rest + (value & mask) * multiplier
        top, rest = top + (rest >> self.split), rest & mask
        if self.grid.by_sign:
            return np.where(top < 0, self.low, self.high).astype(np.int64)
        shift = self.shift - self.split
        half = np.int64(1) << (shift - 1)
        whole, part = top >> shift, top & ((half << 1) - 1)
        up = (part > half) | ((part == half) & ((rest > 0) | (whole & 1 == 1)))
        return np.asarray(np.clip(whole + up + self.grid.zero, self.low, self.high))


def requantizer(
    factors: Sequence[Array], bounds: Sequence[tuple[int, int]], offset: Array, grid: Grid,
    limits: tuple[float, float], multiplier_bits: int = MULTIPLIER_BITS,
) -> Requantizer:  # fmt: skip
    """Return the requantizer of sum_i factors[i] * acc_i + offset onto `grid`.

    `bounds` hold the smallest and largest value of each accumulator; `limits` the real numbers the
    result is clipped to before (a ReLU has 0 and inf).
    """
    width = max(signed_bits(*bound) for bound in bounds)
    split = (width + 1) // 2
    spare = len(factors).bit_length()
    bits = min(multiplier_bits, _ROOM - split - spare)
    ratios = [np.asarray(factor / grid.scale, dtype=np.float64) for factor in factors]
    start = np.asarray(offset / grid.scale, dtype=np.float64)
    shift = _shift(ratios, start, bits, split)
    whole = [int(b) for b in np.rint(np.ldexp(start + 0 * shift, shift)).reshape(-1)]
    high = np.array([b >> split for b in whole], dtype=np.int64).reshape(shift.shape)
    low = np.array([b & ((1 << split) - 1) for b in whole], dtype=np.int64).reshape(shift.shape)
    most = float(1 << bits)
    multipliers = tuple(
        np.clip(np.rint(np.ldexp(ratio, shift)), -most, most).astype(np.int64) for ratio in ratios
    )
    return Requantizer(
        multipliers, high, low, shift, split, grid, grid.limit(limits[0]), grid.limit(limits[1])
    )


def _shift(ratios: Sequence[Array], start: Array, bits: int, split: int) -> Array:
    """Return n: the largest multiplier has `bits` bits, and the offset still fits."""
    largest = np.maximum.reduce(np.broadcast_arrays(*(np.abs(ratio) for ratio in ratios)))
    wanted = bits - np.frexp(np.maximum(largest, 1e-300))[1]
    offset_bits = np.maximum(np.frexp(np.abs(start))[1], 17)
    found = np.minimum(wanted, np.minimum(_ROOM - 1, _ROOM + split - offset_bits - 1))
    return np.asarray(np.maximum(found, split + 1), dtype=np.int64)
