"""Where each figure lies in the vectors that the compiled search reads.

Everything a mapping costs is linear in how often each tensor moves: ``m`` times between the source
of the array and the array, ``n`` times between DRAM and buffer. Partial sums that come back ``m``
times cost m - 1 reads and m - 1 partial writes and one final write; what does not depend on ``m``
or ``n`` is gathered in the constants.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwflow.costs.fine.memories import Memory
from hwflow.costs.fine.rates import Rates
from hwflow.costs.fine.result import Settings
from hwflow.costs.fine.shape import OUTPUTS, Shape

# Rows of the table per tensor: joules, port reads, port writes and DRAM bits per element moved
# to the array (A) and from DRAM (D), and the room an element takes.
AE, HOP, AR, AW, AD, DE, DR, DW, DB, ROOM, PAD, PAD_CAP, FILL_DRAM, FILL_PORT, PADDED, STAYS = (
    range(16)
)
TABLE_ROWS = 16

# Entries of the vector of scalars.
(
    E0, PR0, PW0, DB0, DRAM_RATE, PORT_RATE, WRITE_RATE, STEP, LANES, OVERLAP, BUFFER, SHARED,
    IDLE, MODE, WEIGHT_E, WEIGHT_C, FULL, WHOLE_S, MAX_LEAVES, MAX_VISITS, WHOLE_MAPS,
) = range(21)  # fmt: skip
SCALARS = 21

Floats = NDArray[np.float64]


def table(rates: Rates) -> Floats:
    """Return the figures per tensor, shape (TABLE_ROWS, 3)."""
    return np.array([_column(rates, tensor) for tensor in range(3)]).T.copy()


def _column(rates: Rates, tensor: int) -> list[float]:
    near, far = rates.buffer, rates.dram
    held = near.held[tensor]
    twice = tensor == OUTPUTS
    inner, outer = near.bits[tensor] * held, far.bits[tensor]
    into = _both(near, twice) * inner if held else _both(far, twice) * outer
    reload_j = inner * (near.write_j + twice * near.read_j)
    from_dram = _both(far, twice) * outer + reload_j
    first = far.final if twice else outer
    ends = (near.final if twice else inner) * held
    return [
        into, rates.hop_j[tensor], inner, inner * twice, outer * (1 + twice) * (not held),
        from_dram * held, inner * twice, inner, outer * (1 + twice) * held, inner,
        rates.in_pe[tensor], rates.pad_bits[tensor], first, ends,
        float(rates.padded[tensor]), float(rates.stays[tensor]),
    ]  # fmt: skip


def _both(memory: Memory, twice: bool) -> float:
    """Return joules per bit of a read, or of a read and a write."""
    return memory.read_j + (memory.write_j if twice else 0.0)


def scalars(
    rates: Rates, shape: Shape, figures: Floats, settings: Settings, *, whole_s: bool
) -> Floats:
    """Return the figures per layer, and the settings of the search."""
    near, far = rates.buffer, rates.dram
    held = near.held[OUTPUTS]
    outputs = shape.outputs
    last = figures[:, OUTPUTS]
    final = far.final * far.write_j
    if held:
        final += near.final * (near.write_j + near.read_j)
    end = near.final * held
    vector = np.zeros(SCALARS)
    vector[E0] = shape.macs * (rates.mac_j + sum(rates.pad_j)) + outputs * (
        final - last[AE] - last[DE]
    )
    vector[PR0] = outputs * (end - last[AR] - last[DR])
    vector[PW0] = outputs * (end - last[AW] - last[DW])
    vector[DB0] = outputs * (far.final - last[AD] - last[DB])
    vector[DRAM_RATE : WRITE_RATE + 1] = far.rate, near.rate, near.write_rate
    vector[STEP : OVERLAP + 1] = rates.step_cycles, rates.lanes, near.overlapped
    vector[BUFFER : IDLE + 1] = near.capacity, rates.shared, rates.idle_j
    goal = settings.goal
    vector[MODE], vector[WEIGHT_E] = goal.mode, goal.energy
    vector[WEIGHT_C] = goal.per_cycle(rates.clock_hz)
    vector[FULL], vector[WHOLE_S] = settings.full, whole_s
    vector[MAX_LEAVES], vector[MAX_VISITS] = settings.max_leaves, settings.max_visits
    vector[WHOLE_MAPS] = settings.whole_maps
    return vector


def geometry(shape: Shape) -> Floats:
    """Return stride, dilation, zero padding and rows touched, rows before columns each."""
    return np.array(
        [*shape.stride, *shape.dilation, *shape.padding, *shape.touched], dtype=np.float64
    )
