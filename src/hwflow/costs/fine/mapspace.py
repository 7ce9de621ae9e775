"""The mapspace of a machine: which loops go where.

============== ==========================================================================
DRAM           loops over buffer tiles; one of three orders: which tensor stays
buffers        tiles are multiples of the next inner tile, that of the array at last, along
               N K C P Q; whole kernels; loops over the inner tiles, again in the order that lets
               one tensor stay inside
array          factors along rows and columns, as the machine's `unroll_rows` and `unroll_cols`
               allow; the last pass is spread evenly, so a loop takes ⌈D / factor⌉ steps
PE             a tile in the scratchpads along the dataflow's loops
============== ==========================================================================

Sizes are imperfect: along each loop every number of trips is tried, with the smallest tile that
has it (a larger one with equally many trips is never better). By default scratchpad tiles are the
divisors of the steps and the two largest that fit; ``full`` tries all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hwflow.costs.fine.compiled import unrollings
from hwflow.costs.fine.shape import DIMS, Shape, spread_in
from hwflow.errors import MachineError
from hwflow.machine import Accelerator

Ints = NDArray[np.int64]

_PE_LOOPS = {
    "row-stationary": "SCK",
    "weight-stationary": "SRCK",
    "systolic-ck": "SRCK",
    "no-local-reuse": "K",
}
"""Loops that may be tiled in a PE, outer choices first; every loop but G for the others."""


@dataclass(frozen=True)
class Mapspace:
    """What a machine allows a mapping to do."""

    pe_loops: Ints
    """Indices of the loops tiled in a PE, in the order they are chosen."""
    whole_rows: bool
    """Whether a PE keeps a whole row of the kernel when it fits."""
    rows: int
    cols: int
    on_rows: tuple[bool, ...]
    on_cols: tuple[bool, ...]

    def unrollings(self, shape: Shape) -> Ints:
        """Return the distinct unrollings of a layer over the array, shape (n, 8)."""
        return _unrollings(shape.dims, self.on_rows, self.on_cols, self.rows, self.cols)


@lru_cache(maxsize=512)
def _unrollings(
    dims: tuple[int, ...],
    on_rows: tuple[bool, ...],
    on_cols: tuple[bool, ...],
    rows: int,
    cols: int,
) -> Ints:
    listed: Ints = unrollings(
        np.array(dims, np.int64), np.array(on_rows), np.array(on_cols), rows, cols
    )
    return listed


def mapspace(machine: Accelerator) -> Mapspace:
    """Return the mapspace of a machine."""
    array = machine.array
    tiled = _PE_LOOPS.get(machine.dataflow, "SRNQPCK")
    return Mapspace(
        pe_loops=np.array([DIMS.index(d) for d in tiled], np.int64),
        whole_rows=machine.dataflow == "row-stationary",
        rows=array.rows.value,
        cols=array.cols.value,
        on_rows=tuple(d in spread_in(machine.view, array.unroll_rows) for d in DIMS),
        on_cols=tuple(d in spread_in(machine.view, array.unroll_cols) for d in DIMS),
    )


def on_axes(space: Mapspace, factors: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return factors along rows and along columns that make up an unrolling."""
    rows, cols = [1] * len(DIMS), [1] * len(DIMS)
    shared: list[int] = []
    for d, factor in enumerate(factors):
        if factor == 1:
            continue
        if space.on_rows[d] and space.on_cols[d]:
            shared.append(d)
        else:
            (rows if space.on_rows[d] else cols)[d] = factor
    found = _place(space, factors, shared, rows, cols)
    if found is None:
        raise MachineError(f"The unrolling {factors} does not fit {space.rows} x {space.cols} PEs.")
    return found


def _place(
    space: Mapspace, factors: tuple[int, ...], shared: list[int], rows: list[int], cols: list[int]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    if int(np.prod(rows)) > space.rows or int(np.prod(cols)) > space.cols:
        return None
    if not shared:
        return tuple(rows), tuple(cols)
    d, *others = shared
    for factor in range(1, factors[d] + 1):
        rows[d], cols[d] = factor, -(-factors[d] // factor)
        found = _place(space, factors, others, rows, cols)
        if found:
            return found
    rows[d], cols[d] = 1, 1
    return None
