"""The exhaustive search for the best mapping where several buffers lie outside the array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwflow.costs.fine.compiled_deep import search_deep
from hwflow.costs.fine.lack import too_small
from hwflow.costs.fine.layout_deep import deep
from hwflow.costs.fine.mapspace import mapspace, on_axes
from hwflow.costs.fine.nest import Mapping
from hwflow.costs.fine.rates import OperandBits, rates
from hwflow.costs.fine.result import Found, Settings
from hwflow.costs.fine.shape import TENSORS, G, Ints, R, S, Shape
from hwflow.errors import WorkloadError
from hwflow.machine import Accelerator


def best_deep(
    machine: Accelerator,
    shape: Shape,
    bits: OperandBits,
    settings: Settings,
    stop: NDArray[np.int64] | None = None,
) -> Found:
    """Return the best mapping of a layer on a machine of any number of buffers, at least one.

    A `stop` that becomes 1 ends the search with the best mapping so far and a certified gap.
    Raises WorkloadError for a layer that has no mapping, with the memories that are too small.
    """
    space, figures = mapspace(machine), rates(machine, shape, bits)
    known = deep(shape, figures, settings, whole_s=space.whole_rows)
    best, winner, tiles, stays, tally, low = search_deep(
        *known, space.unrollings(shape), space.pe_loops, np.array([np.inf, np.inf]),
        np.zeros(1, np.int64) if stop is None else stop,
    )  # fmt: skip
    if not np.isfinite(best[0]):
        raise WorkloadError(too_small(machine, shape, figures))
    spread, tile = (tuple(int(x) for x in row) for row in winner)
    rows, cols = on_axes(space, spread)
    buffers = len(figures.buffers)
    mapping = Mapping(
        pe=tile,
        rows=rows,
        cols=cols,
        spread=spread,
        tiles=tuple(_tile(shape, tiles[level], spread) for level in range(1, buffers + 1)),
        stays=tuple(TENSORS[t] if t >= 0 else None for t in stays[: buffers + 1]),
    )
    return Found(
        mapping, float(best[2]), float(best[3]), float(best[0]), float(low[0]), int(tally[0]),
        int(tally[1]),
    )  # fmt: skip


def _tile(shape: Shape, units: Ints, spread: Ints) -> Ints:
    """Return N K C P Q clipped at the layer, whole kernels, and the groups of one array pass."""
    sizes = (min(int(u), d) for u, d in zip(units, shape.dims, strict=False))
    return (*sizes, shape.dims[R], shape.dims[S], spread[G])
