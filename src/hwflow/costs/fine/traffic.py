"""How often each tensor moves under a mapping, by the rule of trips, and the bits that makes.

A tensor moves once for every trip of the loops outside it, except for loops that do not index it
and lie inside the innermost loop that does. Loops of one trip do not count. Between the buffer and
the array both levels' loops lie outside, and a loop split over both makes ⌈D / A⌉ trips in all.
Written plainly, to replay one mapping; the search has its own compiled form of the same rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from hwflow.costs.fine.nest import Mapping, loop_order
from hwflow.costs.fine.rates import Rates
from hwflow.costs.fine.shape import (
    DIMS,
    INPUTS,
    OUTPUTS,
    RELEVANT,
    WEIGHTS,
    C,
    G,
    Ints,
    K,
    N,
    P,
    Q,
    R,
    S,
    Shape,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Access:
    """Bits read from and written to a memory for one tensor."""

    read: float = 0.0
    written: float = 0.0

    @property
    def bits(self) -> float:
        """Both."""
        return self.read + self.written


@dataclass(frozen=True, slots=True)
class Traffic:
    """What moves; tuples over weights, inputs, outputs."""

    to_array: tuple[float, float, float]
    """Elements that reach the array, or visits of partial sums times their number."""
    fans: tuple[float, float, float]
    """PEs that each of them goes to, or that partial sums pass through."""
    dram: tuple[Access, Access, Access]
    buffer: tuple[Access, Access, Access]


def trips_paid(
    tensor: int, outer: Ints, inner: Ints, totals: Ints, orders: tuple[str, str]
) -> float:
    """Return how often a tensor moves: trips of the loops that do not index it and that it pays.

    `outer` and `inner` are the trips per loop of two levels in `orders`, `totals` those of both.
    """
    nest = [(0, d) for d in orders[0]] + [(1, d) for d in orders[1]]
    trips = (outer, inner)
    indexing = [
        place for place, (level, d) in enumerate(nest)
        if d in RELEVANT[tensor] and trips[level][DIMS.index(d)] > 1
    ]  # fmt: skip
    innermost = indexing[-1] if indexing else -1
    paid = [
        (level, d)
        for place, (level, d) in enumerate(nest)
        if place < innermost and d not in RELEVANT[tensor]
    ]
    times = 1.0
    for index, d in enumerate(DIMS):
        if (1, d) in paid:
            times *= totals[index]
        elif (0, d) in paid:
            times *= outer[index]
    return times


def traffic(shape: Shape, rates: Rates, mapping: Mapping) -> Traffic:
    """Return what moves when a layer runs under a mapping."""
    arrays = tuple(_to_array(shape, rates, mapping, tensor) for tensor in range(3))
    sizes = tuple(_elements(shape, rates, mapping, tensor) for tensor in range(3))
    moves = tuple(_from_dram(shape, rates, mapping, tensor) for tensor in range(3))
    pairs = [
        _accesses(shape, rates, tensor, arrays[tensor] * sizes[tensor], moves[tensor])
        for tensor in range(3)
    ]
    return Traffic(
        to_array=tuple(a * s for a, s in zip(arrays, sizes, strict=True)),  # type: ignore[arg-type]
        fans=_fans(shape, rates, mapping),
        dram=tuple(dram for dram, _ in pairs),  # type: ignore[arg-type]
        buffer=tuple(buffer for _, buffer in pairs),  # type: ignore[arg-type]
    )


def _steps(shape: Shape, mapping: Mapping) -> Ints:
    return tuple(ceil(d / s) for d, s in zip(shape.dims, mapping.spread, strict=True))


def _to_array(shape: Shape, rates: Rates, mapping: Mapping, tensor: int) -> float:
    """Return how often a tensor goes to the array, or sums leave it."""
    if not rates.padded[tensor]:
        steps = _steps(shape, mapping)
        if tensor == OUTPUTS:
            return ceil(steps[C] * steps[R] * steps[S] / rates.lanes)
        free = (d for d in DIMS if d not in RELEVANT[tensor])
        return float(prod(steps[DIMS.index(d)] for d in free))
    passes, outer = mapping.passes(shape), mapping.dram_trips(shape)
    if not rates.stays[tensor]:
        free = (d for d in DIMS if d not in RELEVANT[tensor])
        return float(prod(passes[DIMS.index(d)] for d in free))
    inner = tuple(ceil(p / o) for p, o in zip(passes, outer, strict=True))
    orders = (loop_order(mapping.stays_in_buffer), loop_order(mapping.stays_in_pes))
    return trips_paid(tensor, outer, inner, passes, orders)


def _from_dram(shape: Shape, rates: Rates, mapping: Mapping, tensor: int) -> float:
    """Return elements that come from DRAM into the buffer, or visits of sums times their number."""
    if not rates.held[tensor]:
        return 0.0
    outer = mapping.dram_trips(shape)
    ones = (1,) * len(outer)
    times = trips_paid(tensor, outer, ones, outer, (loop_order(mapping.stays_in_buffer), ""))
    if tensor == INPUTS:
        n = shape.dims
        rows, columns = shape.rows_moved(0, outer[P]), shape.rows_moved(1, outer[Q])
        return times * n[G] * n[N] * n[C] * rows * columns
    return times * (shape.weights if tensor == WEIGHTS else shape.outputs)


def _elements(shape: Shape, rates: Rates, mapping: Mapping, tensor: int) -> float:
    """Return the elements of a tensor, those of the inputs with the halos of the array's tiles."""
    if tensor != INPUTS:
        return float(shape.weights if tensor == WEIGHTS else shape.outputs)
    trips = _input_trips(shape, rates, mapping)
    n = shape.dims
    rows, columns = shape.spans(0, trips[P], trips[R]), shape.spans(1, trips[Q], trips[S])
    return float(n[G] * n[N] * n[C] * rows * columns)


def _input_trips(shape: Shape, rates: Rates, mapping: Mapping) -> Ints:
    """Return the array's tiles along each loop, or its steps where inputs stream past."""
    return mapping.passes(shape) if rates.padded[INPUTS] else _steps(shape, mapping)


def _fans(shape: Shape, rates: Rates, mapping: Mapping) -> tuple[float, float, float]:
    s, trips = mapping.spread, _input_trips(shape, rates, mapping)
    inputs = float(s[K])
    for axis in range(2):
        p, r = P + axis, R + axis
        outer = shape.spans(axis, trips[p], trips[r])
        tiles = (min(trips[d] * s[d], shape.dims[d]) for d in (p, r))
        inputs *= max(1.0, shape.spans(axis, *tiles) / outer)
    return float(s[N] * s[P] * s[Q]), inputs, float(s[C] * s[R] * s[S])


def _accesses(
    shape: Shape, rates: Rates, tensor: int, to_array: float, from_dram: float
) -> tuple[Access, Access]:
    """Return (DRAM, buffer) accesses; sums that come back f times cost f - 1 reads and f writes."""
    inner, outer, held = rates.in_buffer[tensor], rates.in_dram[tensor], rates.held[tensor]
    if tensor != OUTPUTS:
        if not held:
            return Access(to_array * outer), Access()
        return Access(from_dram * outer), Access(to_array * inner, from_dram * inner)
    once = shape.outputs
    again = (from_dram if held else to_array) - once
    dram = Access(again * outer, again * outer + once * rates.final_dram)
    if not held:
        return dram, Access()
    back = to_array - once
    read = back * inner + again * inner + once * rates.final_buffer
    written = back * inner + once * rates.final_buffer + again * inner
    return dram, Access(read, written)
