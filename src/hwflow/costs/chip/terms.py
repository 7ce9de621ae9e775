"""Counts of a mapping: passes, cycles, words through the buffer's port and off chip.

Everything is written once, on arrays of mappings; a replay is an array of one.

The pass model (METHODS, section 3), for each group, with f = ceil(C / (q r)) and I* the words of
all strips of the ifmaps, halo and padding included:

    passes   ceil(N / n) ceil(P / e) ceil(K / (p t)) f
    cycles   max(passes (n Q S p q + 0.30 p t q r R S + 450), buffer bytes / port)
    buffer   2 f N K P Q  psum words (read and written in every pass)
           + I* ceil(K / (p t))  read by the array  + I* ceil(K / m)  written from DRAM
    off chip K C R S ceil(N / n) ceil(P / e)  filter words (they are not kept between strips)
           + ifmaps, halo included, ceil(K / m) times  + N K P Q

Where p t does not divide m, ceil(K / (p t)) becomes the passes over each block of m filters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwflow.costs.chip.hardware import Chip
from hwflow.costs.chip.passes import Passes
from hwflow.costs.chip.shape import Shape

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """Many mappings: one array of each parameter; they broadcast against one another."""

    m: Ints
    n: Ints
    e: Ints
    p: Ints
    q: Ints
    r: Ints
    t: Ints

    @classmethod
    def of(cls, passes: Passes) -> Grid:
        """Return the grid of one mapping, arrays of no dimension."""
        return cls(**{name: np.asarray(value) for name, value in passes.as_dict().items()})


@dataclass(frozen=True, slots=True)
class Terms:
    """Counts of a layer, all groups, by mapping; words are those of the chip."""

    passes: Ints
    array_cycles: Floats
    """Cycles of the PE array."""
    port_cycles: Floats
    """Cycles of the buffer's port."""
    psum_words: Ints
    """Partial sums through the buffer."""
    ifmap_reads: Ints
    """Ifmap words from the buffer to the array."""
    ifmap_writes: Ints
    """Ifmap words from DRAM to the buffer."""
    dram_weights: Ints
    dram_inputs: Ints
    dram_outputs: Ints

    @property
    def cycles(self) -> Floats:
        """Processing cycles: the slower of array and port."""
        return np.maximum(self.array_cycles, self.port_cycles)

    @property
    def buffer_words(self) -> Ints:
        """Words through the buffer's port; filters pass it by."""
        return self.psum_words + self.ifmap_reads + self.ifmap_writes

    @property
    def planned_words(self) -> Ints:
        """Words off chip as one plans them: padded ifmaps as they are buffered, no compression."""
        return self.dram_weights + self.ifmap_writes + self.dram_outputs


def ceil_div(above: Ints | int, below: Ints | int) -> Ints:
    """Return the quotient of whole numbers, rounded up."""
    return -(-np.asarray(above, np.int64) // below)


def terms(shape: Shape, at: Grid, chip: Chip) -> Terms:
    """Return the counts of `shape` for every mapping of `at`; legality is not checked."""
    channel_passes = ceil_div(shape.channels, at.q * at.r)
    filter_passes = _filter_passes(shape.filters, at.m, at.p * at.t)
    sweeps = ceil_div(shape.filters, at.m)
    strips, image_groups = ceil_div(shape.out_rows, at.e), ceil_div(shape.batch, at.n)
    passes = shape.groups * image_groups * strips * filter_passes * channel_passes
    outputs = shape.groups * shape.batch * shape.filters * shape.out_rows * shape.out_cols
    ifmap = _ifmap_words(shape, strips)
    psums = 2 * channel_passes * outputs
    weights = shape.filters * shape.channels * shape.kernel_rows * shape.kernel_cols
    words = psums + ifmap * (filter_passes + sweeps)
    return Terms(
        passes=passes,
        array_cycles=passes * _pass_cycles(shape, at, chip),
        port_cycles=words.astype(np.float64) * (chip.word_bytes / chip.port_bytes),
        psum_words=psums,
        ifmap_reads=ifmap * filter_passes,
        ifmap_writes=ifmap * sweeps,
        dram_weights=shape.groups * weights * image_groups * strips,
        dram_inputs=_dram_ifmap_words(shape, strips) * sweeps,
        dram_outputs=np.full_like(passes, outputs),
    )


def _filter_passes(filters: int, m: Ints, together: Ints) -> Ints:
    """Return the passes over all filters: blocks of m, each in passes of `together` filters."""
    return filters // m * ceil_div(m, together) + ceil_div(filters % m, together)


def _pass_cycles(shape: Shape, at: Grid, chip: Chip) -> Floats:
    """Return the cycles of one pass: compute, load the filters, start and drain."""
    compute = at.n * shape.out_cols * shape.kernel_cols * at.p * at.q
    loaded = at.p * at.t * at.q * at.r * shape.kernel_rows * shape.kernel_cols
    cycles: Floats = compute + chip.fitted.load_cycles * loaded + chip.fitted.pass_cycles
    return cycles


def _ifmap_words(shape: Shape, strips: Ints) -> Ints:
    """Return I*: words of all strips of the ifmaps of all images, halo and padding included."""
    rows = shape.out_rows * shape.row_step + strips * shape.row_overlap
    return shape.groups * shape.channels * shape.batch * shape.width * rows


def _dram_ifmap_words(shape: Shape, strips: Ints) -> Ints:
    """Return the real ifmap words of all strips: zero padding is made on the chip."""
    halo = -(-shape.row_overlap // shape.spacing)
    rows = np.minimum(shape.in_rows + (strips - 1) * halo, shape.in_rows * strips)
    return shape.groups * shape.channels * shape.batch * shape.in_cols * rows
