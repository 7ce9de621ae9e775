"""Area of a machine: PEs by what their engine is, memories by the bit, and an FPGA's resources.

A figure in the machine's file is taken as it is given. What the file leaves out is estimated at
28 nm: a PE by the fits of HCM (arXiv 2004.08906), made for nine multipliers of a 3x3 kernel, so a
ninth counts for one; a memory by a rate per bit. The network between PEs and control are not
counted, nor is what lies off the chip.

================ ==========================================================================
bit-parallel     HCM's fit at the multiplier's width
simd             the same; what switches the lanes is not charged, as no figure is at hand
bit-fusion       2.5 times a fixed 8-bit PE (public code of Bit Fusion)
stripes, unpu    per lane, HCM's fit at word x 1 bit
loom             per lane, HCM's fit at serial x 1 bit
bismo            per lane, HCM's fit at 1 x 1 bit; on an FPGA see `fpga_resources`
================ ==========================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwflow.machine.engines import Bismo, BitFusion, BitParallel, Engine, Loom, Simd
from hwflow.machine.figures import Figure
from hwflow.machine.hardware import Store

Floats = NDArray[np.float64]

MULTIPLIERS = 9
"""Multipliers of HCM's PE, one for each weight of a 3x3 kernel."""

FLEXIBLE = 2.5
"""Area of a composable 8/2-bit unit over that of a fixed 8-bit MAC (public code of Bit Fusion)."""

SRAM_UM2_PER_BIT = 217363.37 / (128 * 1024 * 8) * (28 / 32) ** 2
"""A large SRAM, 0.159 µm² per bit: 217,363 µm² for 128 KiB at 32 nm in the public reference output
of Accelergy's Eyeriss example (CACTI), scaled by the square of the feature size."""

PAD_UM2_PER_BIT = 3 * SRAM_UM2_PER_BIT
"""A scratchpad in a PE. Assumption: three times a large SRAM's bit, as small memories are mostly
decoders and latches; give the figure where it matters."""


@dataclass(frozen=True)
class AreaPart:
    """The area of one part of a machine, in so many copies."""

    name: str
    um2: float
    """All copies."""
    copies: int
    standing: Literal["given", "estimate"]
    source: str


@dataclass(frozen=True)
class FpgaResources:
    """What a machine takes on an FPGA."""

    luts: float
    """Look-up tables."""
    brams: int
    """Block RAMs."""


def bops_per_pixel(
    macs: ArrayLike, depth: ArrayLike, weight_bits: ArrayLike, input_bits: ArrayLike
) -> Floats:
    """Return HCM's bit operations per output pixel: multiplications and growing accumulators.

    K (C/g) R S (b_a b_w + b_a + b_w + log2((C/g) R S)), with `macs` = K (C/g) R S per pixel and
    `depth` = (C/g) R S. Arrays broadcast. The usual form; not checked against the paper's text.
    """
    weight, read = np.asarray(weight_bits, np.float64), np.asarray(input_bits, np.float64)
    return np.asarray(macs) * (read * weight + read + weight + np.log2(depth))


def pe_area_um2(weight_bits: ArrayLike, input_bits: ArrayLike | None = None) -> Floats:
    """Return the area of HCM's PE in 28 nm: nine multipliers for a 3x3 kernel, in µm².

    With one argument b both operands have b bits: A = 12.39 b² + 86.07 b - 14.02. With two, A =
    1.694 BOPS + 153.46 from the PE's bit operations (arXiv 2004.08906). Divide by 9 for one MAC.
    Below 4 bits the fits' intercepts dominate.
    """
    if input_bits is None:
        bits = np.asarray(weight_bits, np.float64)
        return 12.39 * bits**2 + 86.07 * bits - 14.02
    bops = bops_per_pixel(MULTIPLIERS, MULTIPLIERS, weight_bits, input_bits)
    return 1.694 * bops + 153.46


def mac_area_um2(weight_bits: int, input_bits: int | None = None) -> float:
    """Return HCM's area of one multiplier with its accumulator: a ninth of its PE."""
    return float(pe_area_um2(weight_bits, input_bits)) / MULTIPLIERS


def unit_area_um2(engine: Engine) -> float:
    """Return the estimated area of one PE without its scratchpads; see the module's table."""
    if isinstance(engine, BitParallel | Simd):
        return mac_area_um2(engine.word.value)
    if isinstance(engine, BitFusion):
        return FLEXIBLE * mac_area_um2(8)
    if isinstance(engine, Loom):
        return engine.lanes.value * mac_area_um2(1, engine.serial.value)
    if isinstance(engine, Bismo):
        return engine.lanes.value * mac_area_um2(1, 1)
    return engine.lanes.value * mac_area_um2(1, engine.word.value)


def pe_part(engine: Engine, given: Figure | None, pes: int) -> AreaPart:
    """Return the area of all PEs without their scratchpads."""
    if given is not None:
        return AreaPart("PEs", given.value * pes, pes, "given", given.source)
    each = unit_area_um2(engine)
    return AreaPart("PEs", each * pes, pes, "estimate", f"HCM at 28 nm, {engine.kind}")


def has_area(store: Store) -> bool:
    """Whether the area of a memory is known: given, or estimated from its size."""
    return store.area is not None or store.size != "unlimited"


def memory_part(name: str, store: Store, copies: int) -> AreaPart:
    """Return the area of a memory on the chip; with several copies it lies in the PEs."""
    if store.area is not None:
        return AreaPart(name, store.area.value * copies, copies, "given", store.area.source)
    rate = SRAM_UM2_PER_BIT if copies == 1 else PAD_UM2_PER_BIT
    source = f"{rate:.3f} um2 per bit at 28 nm"
    return AreaPart(name, store.bits * rate * copies, copies, "estimate", source)
