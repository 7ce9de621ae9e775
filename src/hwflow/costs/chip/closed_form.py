"""Cycles of row-stationary passes on an array of any size, without memories.

Symbols of METHODS, section 3: A_h x A_w PEs; a set of R x P PEs computes P output rows of one
channel; it is folded where it is larger than the array and replicated where it is smaller.
"""

from __future__ import annotations

from hwflow.costs.chip.shape import Shape
from hwflow.errors import MachineError
from hwflow.workload import Layer


def row_stationary_cycles(layer: Layer, rows: int, cols: int) -> int:
    """Return the least compute cycles of `layer` on `rows` x `cols` PEs, memories left out.

    min over r_c <= rep_h of ceil(C / r_c) ceil(K / (floor(rep_h / r_c) rep_w)) N fold_h fold_w S Q
    for each group: r_c replicas work on different channels, the others on different filters.
    Equals the counts of nn_dataflow on all five convolutions of an AlexNet tower.
    Raises MachineError for an array without PEs, WorkloadError for a layer without MACs.
    """
    if rows < 1 or cols < 1:
        raise MachineError(
            f"An array of {rows} x {cols} PEs computes nothing: give at least 1 x 1."
        )
    shape = Shape.of(layer)
    fold_h, rep_h = _folds(shape.kernel_rows, rows)
    fold_w, rep_w = _folds(shape.out_rows, cols)
    side = min(rep_h, fold_w)  # strips of one set that lie above one another
    fold_w, rep_h = -(-fold_w // side), rep_h // side
    sweeps = min(
        -(-shape.channels // r_c) * -(-shape.filters // (rep_h // r_c * rep_w))
        for r_c in range(1, rep_h + 1)
    )
    strip = shape.kernel_cols * shape.out_cols
    return shape.groups * sweeps * shape.batch * fold_h * fold_w * strip


def _folds(size: int, pes: int) -> tuple[int, int]:
    """Return (folds, replicas) of `size` rows or columns on `pes` PEs."""
    return -(-size // pes), max(1, pes // size)
