"""Engines: how many MACs one processing element (PE) makes in a cycle at given operand bits.

θ(b_w, b_a) of METHODS, section 3. What a PE of each engine is, so that PEs x θ x clock is the peak
MAC rate:

=============== ==================================================================
bit-parallel    one multiplier of `word` bits
simd            one multiplier of `word` bits that splits into power-of-two lanes
bit-fusion      one fused unit of 16 bricks of 2 x 2 bits, which sums its products
stripes         one serial inner-product unit of `lanes` products, activations serial
unpu            one unit of `lanes` products, weights serial
loom            one unit of `lanes` products, weights and activations serial
bismo           one dot-product unit of `lanes` (D_k) products of single bits
=============== ==================================================================
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hwflow.machine.figures import Number, Sealed, Width

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _passes(bits: Ints, word: int) -> Floats:
    """Return the passes of an operand through a unit of `word` bits, ceil(b / word)."""
    passes: Floats = np.ceil(bits / word)
    return passes


class _Multiplier(Sealed):
    """A PE whose products, should it make several in a cycle, belong to different sums."""

    def summed(self, weight_bits: int, input_bits: int) -> int:
        """Return how many products a PE sums at once."""
        return 1


class _InnerProduct(Sealed):
    """A PE that sums the products of its lanes."""

    lanes: Number
    """Products summed by one unit."""

    def summed(self, weight_bits: int, input_bits: int) -> int:
        """Return how many products a PE sums at once, whatever their bits."""
        return self.lanes.value


class BitParallel(_Multiplier):
    """Fixed multipliers of one width: narrower operands gain nothing, wider take ceil(b/w) each."""

    kind: Literal["bit-parallel"]
    word: Width

    def theta(self, weight_bits: Ints, input_bits: Ints) -> Floats:
        """Return MACs per PE and cycle."""
        return 1 / (_passes(weight_bits, self.word.value) * _passes(input_bits, self.word.value))


class Simd(_Multiplier):
    """Vectorised multipliers (sub-word SIMD): the word splits into a power of two of lanes.

    θ = floor(w / max(b_w, b_a)) rounded down to a power of two; an engine family of HW-FlowQ.
    """

    kind: Literal["simd"]
    word: Width

    def theta(self, weight_bits: Ints, input_bits: Ints) -> Floats:
        """Return MACs per PE and cycle."""
        lanes: Ints = np.maximum(self.word.value // np.maximum(weight_bits, input_bits), 1)
        passes = _passes(weight_bits, self.word.value) * _passes(input_bits, self.word.value)
        split: Floats = np.exp2(np.floor(np.log2(lanes)))
        return split / passes


class BitFusion(Sealed):
    """Composable 2-bit bricks: 64 / (b_a b_w) MACs per fused unit, bits rounded to 2, 4, 8, 16.

    Operands above 16 bits take several passes of 16. A unit adds up what its bricks multiply, so
    that a column sends one partial sum a cycle at all bits (ISCA 2018; in the public code too the
    inputs that are summed in a cycle grow with the MACs).
    """

    kind: Literal["bit-fusion"]
    sums: Literal["of-unit", "of-product"] = "of-unit"
    """Whether a unit's products make one partial sum or each has its own, as SIMD lanes do."""

    def summed(self, weight_bits: int, input_bits: int) -> int:
        """Return how many products a unit sums at once."""
        if self.sums == "of-product":
            return 1
        return max(1, int(self.theta(np.array(weight_bits), np.array(input_bits))))

    def theta(self, weight_bits: Ints, input_bits: Ints) -> Floats:
        """Return MACs per fused unit and cycle; 1/4 at 16 x 16 bits."""
        return 64 / (_fused(weight_bits) * _fused(input_bits))


def _fused(bits: Ints) -> Floats:
    composed = np.exp2(np.ceil(np.log2(np.clip(bits, 2, 16))))
    return composed * _passes(bits, 16)


class Stripes(_InnerProduct):
    """Activation-serial units (Stripes): b_a cycles per MAC and lane."""

    kind: Literal["stripes"]
    lanes: Number
    """Products summed by one unit (16 in a tile of 16 filters x 16 windows)."""
    word: Width
    """Width of the bit-parallel operand, the weight."""

    def theta(self, weight_bits: Ints, input_bits: Ints) -> Floats:
        """Return MACs per unit and cycle, lanes / b_a."""
        return self.lanes.value / (input_bits * _passes(weight_bits, self.word.value))


class Unpu(_InnerProduct):
    """Weight-serial units (UNPU): b_w cycles per MAC and lane, 3/4 of a cycle at 1 bit.

    The factor at 1 bit is inferred from the published rates, 7372 / 345.6 = 16 x 4/3.
    """

    kind: Literal["unpu"]
    word: Width
    """Width of the bit-parallel operand, the activation."""

    def theta(self, weight_bits: Ints, input_bits: Ints) -> Floats:
        """Return MACs per unit and cycle, lanes / b_w."""
        cycles = np.where(weight_bits == 1, 0.75, weight_bits)
        return self.lanes.value / (cycles * _passes(input_bits, self.word.value))


class Loom(_InnerProduct):
    """Units serial in both operands (Loom): b_w ceil(b_a / serial) cycles per MAC and lane."""

    kind: Literal["loom"]
    serial: Number
    """Activation bits taken per cycle."""

    def theta(self, weight_bits: Ints, input_bits: Ints) -> Floats:
        """Return MACs per unit and cycle."""
        return self.lanes.value / (weight_bits * _passes(input_bits, self.serial.value))


class Bismo(_InnerProduct):
    """Bit-serial matrix multiplication (BISMO): D_m x D_n units of D_k lanes, b_w b_a cycles."""

    kind: Literal["bismo"]
    lanes: Number
    """D_k, bit products per unit and cycle."""
    rows_buffer: Number
    """L_m, depth of each buffer of the left matrix, in words of D_k bits."""
    cols_buffer: Number
    """L_n, depth of each buffer of the right matrix, in words of D_k bits."""

    def theta(self, weight_bits: Ints, input_bits: Ints) -> Floats:
        """Return MACs per unit and cycle, D_k / (b_w b_a)."""
        return self.lanes.value / (weight_bits * input_bits).astype(np.float64)

    def luts(self, rows: int, cols: int) -> float:
        """Return look-up tables of the FPGA, D_m D_n (1.17 D_k + 164.2), from BISMO's code."""
        return rows * cols * (1.17 * self.lanes.value + 164.2)

    def brams(self, rows: int, cols: int) -> int:
        """Return block RAMs, ceil(D_k/32) (D_m ceil(L_m/1024) + D_n ceil(L_n/1024))."""
        deep_m, deep_n = -(-self.rows_buffer.value // 1024), -(-self.cols_buffer.value // 1024)
        return -(-self.lanes.value // 32) * (rows * deep_m + cols * deep_n)


Engine = Annotated[
    BitParallel | Simd | BitFusion | Stripes | Unpu | Loom | Bismo, Field(discriminator="kind")
]
