"""A machine of several buffers as the compiled search reads it: everything is linear in moves.

A mapping decides how many elements y of each tensor move into each buffer and to the array. Energy
and the cycles of every port and of every fill are linear in y, so they are rows of one matrix: the
first is energy, the others follow in the order in which :mod:`hwflow.costs.fine.score` takes them,
from inside outward. `steps` tells what becomes of each: a port is compared with the time so far, a
fill adds to it, once for the slowest of its sources. Ports that never limit have no row.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hwflow.costs.fine.kernels_deep import Deep
from hwflow.costs.fine.layout import Floats, geometry, scalars, table
from hwflow.costs.fine.rates import Rates
from hwflow.costs.fine.result import Settings
from hwflow.costs.fine.score import overlaps
from hwflow.costs.fine.shape import OUTPUTS, Shape

ENERGY, PORT, FILL, FILL_TOO = range(4)

Moves = tuple[Floats, float]
"""Bits per element moved into each target, shape (targets, 3), and bits that always move."""


def deep(shape: Shape, rates: Rates, settings: Settings, *, whole_s: bool) -> Deep:
    """Return what the search needs to know of a machine and a layer."""
    figures = table(rates)
    rows = [(_energy(shape, rates), ENERGY), *_times(shape, rates)]
    return Deep(
        dims=np.array(shape.dims, np.int64),
        geo=geometry(shape),
        tab=figures,
        sca=scalars(rates, shape, figures, settings, whole_s=whole_s),
        coef=np.array([moves for (moves, _), _ in rows]),
        const=np.array([always for (_, always), _ in rows]),
        steps=np.array([step for _, step in rows], np.int64),
        room=np.array([_held_bits(memory.bits, memory.held) for memory in rates.buffers]),
        cap=np.array([memory.capacity for memory in rates.buffers]),
        ends=_ends(rates),
    )


def _held_bits(bits: tuple[float, ...], held: tuple[bool, ...]) -> list[float]:
    return [b * h for b, h in zip(bits, held, strict=True)]


def _accesses(shape: Shape, rates: Rates, memory: int, level: int = 0) -> tuple[Moves, Moves]:
    """Return reads and writes at a memory, with `level` those that go to it or further in alone."""
    targets = len(rates.memories)
    read, written = np.zeros((targets, 3)), np.zeros((targets, 3))
    always = [0.0, 0.0]
    here = rates.memories[memory]
    for tensor in range(3):
        for source, target in pairwise((*rates.holders(tensor), targets)):
            sums, bits = tensor == OUTPUTS, here.bits[tensor]
            final, again = shape.outputs * here.final, shape.outputs * bits
            if source == memory and target >= level:
                read[target - 1, tensor] += bits
                written[target - 1, tensor] += bits * sums
                always[0] -= again * sums
                always[1] += (final - again) * sums
            if target == memory and not level:
                written[target - 1, tensor] += bits
                read[target - 1, tensor] += bits * sums
                always[0] += (final - again) * sums
                always[1] -= again * sums
    return (read, always[0]), (written, always[1])


def _energy(shape: Shape, rates: Rates) -> Moves:
    total, always = (
        np.zeros((len(rates.memories), 3)),
        shape.macs * (rates.mac_j + sum(rates.pad_j)),
    )
    for index, memory in enumerate(rates.memories):
        read, written = _accesses(shape, rates, index)
        total += read[0] * memory.read_j + written[0] * memory.write_j
        always += read[1] * memory.read_j + written[1] * memory.write_j
    return total, always


def _times(shape: Shape, rates: Rates) -> list[tuple[Moves, int]]:
    found = [(row, PORT) for row in _port(shape, rates, len(rates.buffers))]
    for level in range(len(rates.buffers), 0, -1):
        if not rates.memories[level].overlapped:
            fills = [row for source in range(level) for row in _port(shape, rates, source, level)]
            found += [(row, FILL_TOO if place else FILL) for place, row in enumerate(fills)]
        found += [(row, PORT) for row in _port(shape, rates, level - 1)]
    return found


def _port(shape: Shape, rates: Rates, memory: int, level: int = 0) -> list[Moves]:
    """Return cycles of a memory's port, or of its two ports; nothing for one without limit."""
    (read, reads), (written, writes) = _accesses(shape, rates, memory, level)
    here = rates.memories[memory]
    if here.write_rate:
        rows = [(read, reads, here.rate), (written, writes, here.write_rate)]
    else:
        rows = [(read + written, reads + writes, here.rate)]
    return [(moves / rate, always / rate) for moves, always, rate in rows if np.isfinite(rate)]


def _ends(rates: Rates) -> NDArray[np.float64]:
    """Return cycles per element of each tensor on its way in, or of an output out."""
    cycles = np.zeros(3)
    for tensor in range(3):
        for source, target in pairwise((*rates.holders(tensor), len(rates.memories))):
            here = rates.memories[source]
            if not overlaps(rates, source, target):
                continue
            if tensor == OUTPUTS:
                cycles[tensor] += here.final / (here.write_rate or here.rate)
            else:
                cycles[tensor] += here.bits[tensor] / here.rate
    return cycles
