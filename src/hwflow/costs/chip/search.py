"""Exhaustive search of (m, n, e, p, q, r, t).

The space is every legal mapping. What can never be better is left out, so that the rest is listed
in arrays and nothing is lost (all counts rise with n, e, q, r and p t at equal trip counts):

* n and e: only the least of those with the same ceil(N / n) or ceil(P / e);
* (q, r): only those where neither can be lowered with the same ceil(C / (q r));
* m: of all m that the buffer holds, the largest multiple of p t, and the largest of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from hwflow.costs.chip.hardware import EYERISS, Chip
from hwflow.costs.chip.legality import check_mappable, ifmap_bytes
from hwflow.costs.chip.passes import Passes
from hwflow.costs.chip.replay import ChipCost, Densities, cost_of, energy_j
from hwflow.costs.chip.shape import Shape
from hwflow.costs.chip.terms import Floats, Grid, Ints, Terms, ceil_div, terms
from hwflow.errors import HwflowError, unknown_name
from hwflow.workload import Layer

Objective = Literal["chip", "latency", "energy"]
"""What is least. latency: processing cycles; energy: the chip's energy at the estimated total time.

chip: words off chip as one plans them, ifmaps with padding and before compression, then cycles.
That rule gives the chip's own parameters on all five layers of AlexNet, so take it for layers
whose parameters are not published."""

TIE = 1e-12
"""Values closer than this share are equal: they are sums of the same terms in another order."""


@dataclass(frozen=True)
class Found:
    """The best mapping, its cost, and how many mappings were compared to prove it."""

    cost: ChipCost
    objective: Objective
    compared: int

    @property
    def passes(self) -> Passes:
        """The best mapping."""
        return self.cost.passes


def search(
    layer: Layer, chip: Chip = EYERISS, objective: Objective = "chip", *, density: float = 1.0,
    output_density: float = 1.0,
) -> Found:  # fmt: skip
    """Return the best of all legal mappings of `layer`; ties go to the next of cycles and energy.

    Raises MappingError when no mapping fits, with the part of the chip and the bytes missing, and
    WorkloadError for a layer without MACs or a density outside 0 to 1.
    """
    if objective not in get_args(Objective):
        raise HwflowError(unknown_name("objective", str(objective), get_args(Objective)))
    shape, zeros = Shape.of(layer), Densities(density, output_density)
    check_mappable(shape, chip)
    found = _search(replace(shape, name=""), chip, objective, zeros)
    return replace(found, cost=replace(found.cost, layer=layer.name))


@lru_cache(maxsize=1024)
def _search(shape: Shape, chip: Chip, objective: Objective, zeros: Densities) -> Found:
    """Search for a shape without its name, so that equal layers are searched once."""
    best: list[tuple[tuple[float, ...], Passes]] = []
    compared = 0
    for grid in _grids(shape, chip):
        compared += grid.m.size
        values = [key(shape, terms(shape, grid, chip), chip, zeros) for key in _KEYS[objective]]
        index = _least(values)
        picked = (part if part.ndim == 0 else part[index] for part in _parts(grid))
        best.append((tuple(float(v[index]) for v in values), Passes(*map(int, picked))))
    keys = [np.array(column) for column in zip(*(values for values, _ in best), strict=True)]
    passes = best[_least(keys)][1]
    return Found(cost_of(shape, passes, chip, zeros), objective, compared)


def _parts(grid: Grid) -> tuple[Ints, ...]:
    return (grid.m, grid.n, grid.e, grid.p, grid.q, grid.r, grid.t)


Key = Callable[[Shape, Terms, Chip, Densities], Floats]


def _cycles(shape: Shape, found: Terms, chip: Chip, zeros: Densities) -> Floats:
    return found.cycles


def _planned(shape: Shape, found: Terms, chip: Chip, zeros: Densities) -> Floats:
    return found.planned_words.astype(np.float64)


_KEYS: Mapping[str, Sequence[Key]] = {
    "chip": (_planned, _cycles, energy_j),
    "latency": (_cycles, energy_j, _planned),
    "energy": (energy_j, _cycles, _planned),
}


def _least(values: Sequence[Floats]) -> int:
    """Return the index of the least by the first values, ties by the next."""
    left = np.arange(values[0].size)
    for value in values:
        here = value[left]
        least = here.min()
        left = left[here <= least + TIE * abs(least)]
    return int(left[0])


def _grids(shape: Shape, chip: Chip) -> Iterator[Grid]:
    """Yield arrays of mappings that share n and e."""
    for e in least_by_trips(shape.out_rows):
        sets = chip.sets(shape.kernel_rows, e)
        if not sets:
            continue
        channels = _channel_choices(shape, chip, sets)
        filters = _filter_choices(shape, chip, sets)
        for n in least_by_trips(shape.batch):
            grid = _grid(shape, chip, n, e, sets, channels, filters)
            if grid.m.size:
                yield grid


@lru_cache(maxsize=1024)
def least_by_trips(size: int) -> tuple[int, ...]:
    """Return the least tile for each number of trips that a loop of `size` can take, rising."""
    return tuple(sorted({-(-size // trips) for trips in range(1, size + 1)}))


def _channel_choices(shape: Shape, chip: Chip, sets: int) -> list[tuple[int, int]]:
    """List (q, r) where lowering either one costs another pass."""
    most = min(shape.channels, chip.ifmap_pad // shape.kernel_cols)

    def trips(q: int, r: int) -> int:
        return -(-shape.channels // (q * r)) if q and r else shape.channels + 1

    return [
        (q, r)
        for q in range(1, most + 1)
        for r in range(1, min(sets, shape.channels) + 1)
        if trips(q, r) < min(trips(q - 1, r), trips(q, r - 1))
    ]


def _filter_choices(shape: Shape, chip: Chip, sets: int) -> tuple[Ints, Ints]:
    """List (p, t), by rising t, without sets that have no filter."""
    most = min(shape.filters, chip.psum_pad, chip.filter_pad // shape.kernel_cols)
    pairs = [
        (p, t)
        for t in range(1, sets + 1)
        for p in range(1, most + 1)
        if (t - 1) * p < shape.filters
    ]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _grid(
    shape: Shape, chip: Chip, n: int, e: int, sets: int, channels: Sequence[tuple[int, int]],
    filters: tuple[Ints, Ints],
) -> Grid:  # fmt: skip
    """Return the mappings with these n and e that fit scratchpads, array and buffer."""
    chunks: list[Ints] = []
    for q, r in channels:
        held = _filters_held(shape, chip, n, e, q * r)
        if held < 1:
            continue
        count = int(np.searchsorted(filters[1], sets // r, side="right"))
        p, t = filters[0][:count], filters[1][:count]
        fits = p * q * shape.kernel_cols <= chip.filter_pad
        chunks.append(_with_m(shape, held, p[fits], q, r, t[fits]))
    m, p, q_, r_, t = np.concatenate([np.empty((5, 0), np.int64), *chunks], axis=1)
    return Grid(m, np.asarray(n), np.asarray(e), p, q_, r_, t)


def _filters_held(shape: Shape, chip: Chip, n: int, e: int, channels: int) -> int:
    """Return the most filters m whose psums the buffer holds beside these ifmaps."""
    taken = -(-ifmap_bytes(shape, chip, n, e, channels) // chip.bank_bytes)
    left = (chip.banks - taken) * chip.bank_bytes
    return min(shape.filters, int(left // (n * e * shape.out_cols * chip.word_bytes)))


def _with_m(shape: Shape, held: int, p: Ints, q: int, r: int, t: Ints) -> Ints:
    """Return rows m, p, q, r, t with the m worth trying.

    Of the multiples of p t the least that needs no more sweeps over the ifmaps than the largest.
    """
    together = p * t
    multiple = held // together * together
    sweeps = ceil_div(shape.filters, np.maximum(multiple, 1))
    even = np.minimum(ceil_div(ceil_div(shape.filters, sweeps), together) * together, held)
    rows = [np.stack(np.broadcast_arrays(np.int64(held), p, q, r, t))]
    whole = multiple > 0
    rows.append(np.stack(np.broadcast_arrays(even, p, q, r, t))[:, whole])
    return np.concatenate(rows[::-1], axis=1)
