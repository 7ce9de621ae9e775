"""The exhaustive search for the best mapping of one layer at given bits."""

from __future__ import annotations

import numpy as np

from hwflow.costs.fine.compiled import search as _search
from hwflow.costs.fine.layout import geometry, scalars, table
from hwflow.costs.fine.mapspace import mapspace, on_axes
from hwflow.costs.fine.nest import Mapping
from hwflow.costs.fine.rates import OperandBits, Rates, rates
from hwflow.costs.fine.result import Found, Settings
from hwflow.costs.fine.shape import DIMS, TENSORS, G, R, S, Shape
from hwflow.errors import WorkloadError
from hwflow.machine import Accelerator


def best_mapping(
    machine: Accelerator, shape: Shape, bits: OperandBits, settings: Settings | None = None
) -> Found:
    """Return the best mapping of a layer.

    Raises MachineError for a machine the fine level does not know, and WorkloadError for a layer
    that has no mapping, with the memory that is too small.
    """
    settings = settings or Settings()
    space, figures = mapspace(machine), rates(machine, shape, bits)
    tab = table(figures)
    sca = scalars(figures, shape, tab, settings, whole_s=space.whole_rows)
    best, winner, tally, low = _search(
        np.array(shape.dims, np.int64), geometry(shape), tab, sca, space.unrollings(shape),
        space.pe_loops, np.array([np.inf, np.inf]),
    )  # fmt: skip
    if not np.isfinite(best[0]):
        raise WorkloadError(_too_small(machine, shape, figures))
    spread, tile, rest = ([int(x) for x in row] for row in winner)
    rows, cols = on_axes(space, tuple(spread))
    mapping = Mapping(
        pe=tuple(tile),
        rows=rows,
        cols=cols,
        spread=tuple(spread),
        buffer=_buffer_tile(shape, rest, spread),
        stays_in_pes=TENSORS[rest[5]] if rest[5] >= 0 else None,
        stays_in_buffer=TENSORS[rest[6]],
    )
    return Found(
        mapping, float(best[2]), float(best[3]), float(best[0]), float(low[0]), int(tally[0]),
        int(tally[1]),
    )  # fmt: skip


def _buffer_tile(shape: Shape, rest: list[int], spread: list[int]) -> tuple[int, ...]:
    """Return N K C P Q as found, whole kernels, and the groups of one pass of the array."""
    return (*rest[:5], shape.dims[R], shape.dims[S], spread[G])


def _too_small(machine: Accelerator, shape: Shape, figures: Rates) -> str:
    """Say which memory lacks how much for the smallest tile."""
    loops = " ".join(f"{d}{n}" for d, n in zip(DIMS, shape.dims, strict=True))
    named = [
        f"the {TENSORS[t]} scratchpad lacks {(need - room) / 8:g} bytes for one element"
        for t, (need, room) in enumerate(zip(figures.in_pe, figures.pad_bits, strict=True))
        if need > room
    ]
    if figures.shared and sum(figures.in_pe) > max(figures.pad_bits):
        lack = (sum(figures.in_pe) - max(figures.pad_bits)) / 8
        named = [f"the shared scratchpad lacks {lack:g} bytes for one element of each tensor"]
    if not named:
        rows, cols = (shape.span(axis, 1, shape.dims[R + axis]) for axis in (0, 1))
        sizes = (shape.dims[R] * shape.dims[S], rows * cols, 1)
        need = sum(
            size * bits * held
            for size, bits, held in zip(sizes, figures.in_buffer, figures.held, strict=True)
        )
        lack = (need - figures.buffer_bits) / 8
        named = [f"{machine.memory[-1].name} lacks {lack:g} bytes for the smallest tile"]
    return f"A layer of loops {loops} cannot be mapped onto {machine.name}: {'; '.join(named)}."
