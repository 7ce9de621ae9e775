"""The exhaustive search for the best mapping of one layer at given bits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from hwflow.costs.fine.compiled import search as _search
from hwflow.costs.fine.deep import best_deep
from hwflow.costs.fine.lack import too_small
from hwflow.costs.fine.layout import geometry, scalars, table
from hwflow.costs.fine.mapspace import mapspace, on_axes
from hwflow.costs.fine.memories import buffers_of
from hwflow.costs.fine.nest import Mapping
from hwflow.costs.fine.rates import OperandBits, rates
from hwflow.costs.fine.result import Found, Settings
from hwflow.costs.fine.shape import TENSORS, G, R, S, Shape
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
    if len(buffers_of(machine)) > 1:
        with stopping(settings.seconds) as stop:
            return best_deep(machine, shape, bits, settings, stop)
    space, figures = mapspace(machine), rates(machine, shape, bits)
    tab = table(figures)
    sca = scalars(figures, shape, tab, settings, whole_s=space.whole_rows)
    with stopping(settings.seconds) as stop:
        best, winner, tally, low = _search(
            np.array(shape.dims, np.int64), geometry(shape), tab, sca, space.unrollings(shape),
            space.pe_loops, np.array([np.inf, np.inf]), stop,
        )  # fmt: skip
    if not np.isfinite(best[0]):
        raise WorkloadError(too_small(machine, shape, figures))
    spread, tile, rest = ([int(x) for x in row] for row in winner)
    rows, cols = on_axes(space, tuple(spread))
    mapping = Mapping(
        pe=tuple(tile),
        rows=rows,
        cols=cols,
        spread=tuple(spread),
        tiles=(_buffer_tile(shape, rest, spread),),
        stays=(TENSORS[rest[6]], TENSORS[rest[5]] if rest[5] >= 0 else None),
    )
    return Found(
        mapping, float(best[2]), float(best[3]), float(best[0]), float(low[0]), int(tally[0]),
        int(tally[1]),
    )  # fmt: skip


@contextmanager
def stopping(seconds: float | None) -> Iterator[NDArray[np.int64]]:
    """Yield a flag that becomes 1 after so many seconds of wall time; compiled code looks at it."""
    stop = np.zeros(1, np.int64)
    if seconds is None:
        yield stop
        return
    timer = threading.Timer(seconds, lambda: stop.__setitem__(0, 1))
    timer.daemon = True
    timer.start()
    try:
        yield stop
    finally:
        timer.cancel()


def _buffer_tile(shape: Shape, rest: list[int], spread: list[int]) -> tuple[int, ...]:
    """Return N K C P Q as found, whole kernels, and the groups of one pass of the array."""
    return (*rest[:5], shape.dims[R], shape.dims[S], spread[G])
