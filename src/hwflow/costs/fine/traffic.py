"""How often each tensor moves under a mapping, by the rule of trips, and the bits that makes.

A tensor moves into a level once for every trip of the loops outside it, except for loops that do
not index it and lie inside the innermost loop that does. Loops of one trip do not count. The loops
of all outer levels lie outside, and a loop split over several of them makes in all as many trips as
it has tiles at the innermost of these. A tensor comes from the nearest memory outside that holds
it. Zero rows and columns around the inputs move to the array alone, not between memories.

Written plainly, to replay one mapping; the search has its own compiled form of the same rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
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

    def __add__(self, other: Access) -> Access:
        return Access(self.read + other.read, self.written + other.written)


Accesses = tuple[Access, Access, Access]


@dataclass(frozen=True, slots=True)
class Link:
    """What a memory gives to and takes from the next place inward that has the tensor."""

    source: int
    """Index of the memory; DRAM is 0."""
    target: int
    """Index of the buffer, or one more than the last buffer's for the array."""
    tensor: int
    access: Access
    """Bits at the source."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What moves; tuples over weights, inputs, outputs."""

    to_array: tuple[float, float, float]
    """Elements that reach the array, or visits of partial sums times their number."""
    fans: tuple[float, float, float]
    """PEs that each of them goes to, or that partial sums pass through."""
    memories: tuple[Accesses, ...]
    """Accesses at DRAM, then at every buffer."""
    links: tuple[Link, ...]

    @property
    def dram(self) -> Accesses:
        """Accesses at DRAM."""
        return self.memories[0]

    @property
    def buffer(self) -> Accesses:
        """Accesses at the buffer that feeds the array."""
        return self.memories[-1]

    def inward(self, source: int, level: int) -> Access:
        """Return what a memory exchanges with a level inside it and with all that is further in."""
        bits = [x.access for x in self.links if x.source == source and x.target >= level]
        return sum(bits, Access())


def trips_paid(tensor: int, cuts: tuple[Ints, ...], orders: tuple[str, ...]) -> float:
    """Return how often a tensor moves: trips of the loops that do not index it and that it pays.

    `cuts` are the tiles along each loop, over the whole layer, that the loops of each level make,
    `orders` those loops from outside inward; levels from DRAM inward.
    """
    nest = [(level, d) for level, order in enumerate(orders) for d in order]
    before = ((1,) * len(DIMS), *cuts)
    indexing = [
        place for place, (level, d) in enumerate(nest)
        if d in RELEVANT[tensor]
        and cuts[level][DIMS.index(d)] > before[level][DIMS.index(d)]
    ]  # fmt: skip
    innermost = indexing[-1] if indexing else -1
    paid = {
        d: cuts[level][DIMS.index(d)]
        for place, (level, d) in enumerate(nest)
        if place < innermost and d not in RELEVANT[tensor]
    }
    return float(prod(paid.values()))


def traffic(shape: Shape, rates: Rates, mapping: Mapping) -> Traffic:
    """Return what moves when a layer runs under a mapping."""
    arrays = tuple(
        _to_array(shape, rates, mapping, tensor) * _elements(shape, rates, mapping, tensor)
        for tensor in range(3)
    )
    memories = [[Access(), Access(), Access()] for _ in rates.memories]
    links = []
    for tensor in range(3):
        for source, target in pairwise((*rates.holders(tensor), len(memories))):
            inside = target < len(memories)
            moved = _into(shape, mapping, tensor, target) if inside else arrays[tensor]
            given = _given(shape, rates, source, tensor, moved)
            links.append(Link(source, target, tensor, given))
            memories[source][tensor] += given
            if inside:
                memories[target][tensor] += _taken(shape, rates, target, tensor, moved)
    return Traffic(
        to_array=arrays,  # type: ignore[arg-type]
        fans=_fans(shape, rates, mapping),
        memories=tuple(map(tuple, memories)),  # type: ignore[arg-type]
        links=tuple(links),
    )


def _given(shape: Shape, rates: Rates, source: int, tensor: int, moved: float) -> Access:
    """Return a memory's accesses when so many elements go inward and, of sums, come back.

    Sums that come back f times cost f - 1 reads, f - 1 writes of partial and one of final sums.
    """
    memory = rates.memories[source]
    if tensor != OUTPUTS:
        return Access(moved * memory.bits[tensor])
    again = (moved - shape.outputs) * memory.bits[OUTPUTS]
    return Access(again, again + shape.outputs * memory.final)


def _taken(shape: Shape, rates: Rates, target: int, tensor: int, moved: float) -> Access:
    """Return a buffer's accesses when so many elements come in and, of sums, go out."""
    memory = rates.memories[target]
    if tensor != OUTPUTS:
        return Access(0.0, moved * memory.bits[tensor])
    again = (moved - shape.outputs) * memory.bits[OUTPUTS]
    return Access(again + shape.outputs * memory.final, again)


def _steps(shape: Shape, mapping: Mapping) -> Ints:
    return tuple(ceil(d / s) for d, s in zip(shape.dims, mapping.spread, strict=True))


def _to_array(shape: Shape, rates: Rates, mapping: Mapping, tensor: int) -> float:
    """Return how often a tensor goes to the array, or sums leave it."""
    free = [d for d in range(len(DIMS)) if DIMS[d] not in RELEVANT[tensor]]
    if not rates.padded[tensor]:
        steps = _steps(shape, mapping)
        if tensor == OUTPUTS:
            return ceil(steps[C] * steps[R] * steps[S] / rates.lanes)
        return float(prod(steps[d] for d in free))
    cuts = mapping.cuts(shape)
    if not rates.stays[tensor]:
        return float(prod(cuts[-1][d] for d in free))
    return trips_paid(tensor, cuts, tuple(map(loop_order, mapping.stays)))


def _into(shape: Shape, mapping: Mapping, tensor: int, level: int) -> float:
    """Return elements that come into a buffer, or visits of sums times their number."""
    cuts = mapping.cuts(shape)[:level]
    times = trips_paid(tensor, cuts, tuple(map(loop_order, mapping.stays[:level])))
    if tensor == INPUTS:
        n = shape.dims
        rows, columns = shape.rows_moved(0, cuts[-1][P]), shape.rows_moved(1, cuts[-1][Q])
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
