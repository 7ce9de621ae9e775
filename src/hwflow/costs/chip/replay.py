"""The cost of a layer on the chip with given parameters (m, n, e, p, q, r, t)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hwflow.costs.chip.hardware import EYERISS, Chip
from hwflow.costs.chip.legality import beyond_assumptions, check
from hwflow.costs.chip.passes import Passes
from hwflow.costs.chip.shape import Shape
from hwflow.costs.chip.terms import Floats, Grid, Ints, Terms, terms
from hwflow.errors import WorkloadError
from hwflow.workload import Layer

RUN_LENGTH = 4 / 3
"""Stored words per nonzero word of a run-length coded map: three (5-bit run, 16-bit value) pairs in
64 bits. Recalled, not verified; maps without zeros are stored as they are."""


@dataclass(frozen=True, slots=True)
class Densities:
    """Shares of nonzero words, 0 to 1: `inputs` gates MACs, both compress what leaves the chip."""

    inputs: float = 1.0
    outputs: float = 1.0

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise WorkloadError(
                    f"The density of the {name} is {value!r}: the share of nonzero activations "
                    "lies between 0 and 1."
                )


@dataclass(frozen=True)
class ChipCost:
    """What a layer costs on the chip. Seconds, joules and bytes are of the whole batch."""

    layer: str
    passes: Passes
    pass_count: int
    cycles: float
    """Processing cycles, waiting for DRAM excluded."""
    array_cycles: float
    port_cycles: float
    bound_by: Literal["PE array", "global buffer port"]
    active_pes: int
    """R e r t: PEs that work in a full pass."""
    utilization: float
    """MACs by the cycles of all PEs, zero MACs included."""
    processing_s: float
    buffer_bytes: dict[str, float]
    """Bytes through the global buffer's port: psums, ifmap_reads, ifmap_writes."""
    dram_bytes: dict[str, float]
    """Bytes off chip, maps run-length coded: weights, inputs, outputs."""
    dram_s: float
    """Estimated wait for DRAM: bytes at the machine's rate."""
    dram_j: float
    """Energy of DRAM, which is no part of the chip's."""
    mac_j: float
    """Energy of the MACs on nonzero inputs, with their scratchpad accesses."""
    buffer_j: float
    pads_share: float
    """Share of the scratchpads in `mac_j`."""
    base_w: float
    note: str = ""
    """What to know of the mapping, such as an assumed limit that it exceeds."""

    @property
    def total_s(self) -> float:
        """Estimated time with the wait for DRAM."""
        return self.processing_s + self.dram_s

    def energy_by_part(self, total_s: float | None = None) -> dict[str, float]:
        """Return the chip's joules by part for a measured total time, or the estimated one.

        195 mW T + 6 pJ MACs (1 - zeros) + 15 pJ words through the buffer (METHODS, section 3).
        """
        time = self.total_s if total_s is None else total_s
        return {"MACs": self.mac_j, "GLB": self.buffer_j, "base": self.base_w * time}

    def energy_j(self, total_s: float | None = None) -> float:
        """Return the chip's joules, DRAM excluded, for a measured or the estimated total time."""
        return sum(self.energy_by_part(total_s).values())


def replay(
    layer: Layer, passes: Passes, chip: Chip = EYERISS, *, density: float = 1.0,
    output_density: float = 1.0,
) -> ChipCost:  # fmt: skip
    """Cost `layer` with the given parameters; `density` is the nonzero share of its input.

    Words are the chip's at any bit width: narrower operands gain nothing on it. Raises
    WorkloadError for a layer without MACs or a density outside 0 to 1, and MappingError when the
    mapping does not fit; one that fits but for what the model assumes of the chip has a note.
    """
    shape = Shape.of(layer)
    check(shape, passes, chip, assumed=False)
    cost = cost_of(shape, passes, chip, Densities(density, output_density))
    return replace(cost, note=beyond_assumptions(shape, passes, chip))


def cost_of(shape: Shape, passes: Passes, chip: Chip, zeros: Densities) -> ChipCost:
    """Return the cost of a mapping known to fit."""
    found = terms(shape, Grid.of(passes), chip)
    cycles = float(found.cycles)
    word = chip.word_bytes
    active = shape.kernel_rows * passes.e * passes.r * passes.t
    return ChipCost(
        layer=shape.name,
        passes=passes,
        pass_count=int(found.passes),
        cycles=cycles,
        array_cycles=float(found.array_cycles),
        port_cycles=float(found.port_cycles),
        bound_by="global buffer port" if found.port_cycles > found.array_cycles else "PE array",
        active_pes=active,
        utilization=shape.macs / (chip.pes * cycles),
        processing_s=cycles / chip.clock_hz,
        buffer_bytes={
            "psums": float(found.psum_words * word),
            "ifmap_reads": float(found.ifmap_reads * word),
            "ifmap_writes": float(found.ifmap_writes * word),
        },
        dram_bytes={name: float(words * word) for name, words in dram_words(found, zeros).items()},
        dram_s=float(dram_s(found, chip, zeros)),
        dram_j=float(sum(dram_words(found, zeros).values()) * chip.dram_j),
        mac_j=mac_j(shape, chip, zeros),
        buffer_j=float(found.buffer_words * chip.buffer_j),
        pads_share=chip.pads_j / (chip.mac_j + chip.pads_j) if chip.pads_j else 0.0,
        base_w=chip.fitted.base_w,
    )


def dram_words(found: Terms, zeros: Densities) -> dict[str, Floats]:
    """Return the words off chip by tensor, ifmaps and ofmaps run-length coded where that helps."""

    def stored(words: Ints, density: float) -> Floats:
        return words.astype(np.float64) * min(1.0, RUN_LENGTH * density)

    return {
        "weights": stored(found.dram_weights, 1.0),
        "inputs": stored(found.dram_inputs, zeros.inputs),
        "outputs": stored(found.dram_outputs, zeros.outputs),
    }


def dram_s(found: Terms, chip: Chip, zeros: Densities) -> Floats:
    """Return the estimated wait for DRAM."""
    words: Floats = np.asarray(sum(dram_words(found, zeros).values()))
    return words * (chip.word_bytes / chip.dram_bytes_per_s)


def mac_j(shape: Shape, chip: Chip, zeros: Densities) -> float:
    """Return the energy of the MACs and their scratchpads; zeros cost nothing where gated."""
    worked = zeros.inputs if chip.zero_gating else 1.0
    return (chip.mac_j + chip.pads_j) * shape.macs * worked


def energy_j(shape: Shape, found: Terms, chip: Chip, zeros: Densities) -> Floats:
    """Return the chip's energy at the estimated total time, for every mapping."""
    time = found.cycles / chip.clock_hz + dram_s(found, chip, zeros)
    joules: Floats = chip.fitted.base_w * time + found.buffer_words * chip.buffer_j
    return joules + mac_j(shape, chip, zeros)
