"""Random legal mappings of a layer, drawn and judged by the oracle's rules alone.

Half of them are drawn afresh, sizes small or as large as fits; the others change one loop of the
best ones so far, so that the draw comes close to good mappings where a uniform one never would.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, prod

from fine_oracle import DIMS, PE_LOOPS, SHORT, Oracle, Sizes

TILED = "NKCPQ"
"""Loops whose buffer tile is a choice; kernels are whole, groups are those of the array."""


@dataclass(frozen=True)
class Drawn:
    """One mapping: PEs along loops, tiles of PE and buffer, and two loop orders."""

    spread: Sizes
    tile: Sizes
    block: Sizes
    outer: str
    inner: str


class Draw:
    """Draws mappings of one layer on one machine."""

    def __init__(self, oracle: Oracle, seed: int) -> None:
        self.oracle, self.chance = oracle, random.Random(seed)
        self.loops = PE_LOOPS.get(oracle.machine.dataflow, "SRNQPCK")

    def afresh(self) -> Drawn | None:
        """Return any mapping; None when the tiles chosen do not fit."""
        spread = self.spread()
        return self.finished(spread, self.tile(spread))

    def finished(self, spread: Sizes, tile: Sizes) -> Drawn | None:
        """Add a buffer tile and orders."""
        block = self.block(self.whole(spread, tile))
        if block is None:
            return None
        return Drawn(spread, tile, block, self.chance.choice(SHORT), self.chance.choice(SHORT))

    def changed(self, drawn: Drawn) -> Drawn | None:
        """Return a mapping that differs in one of its choices."""
        kind = self.chance.randrange(5)
        if kind == 0:
            spread = self.spread()
            return self.finished(spread, self.tile(spread, drawn.tile))
        if kind == 1:
            return self.finished(drawn.spread, self.tile(drawn.spread, drawn.tile))
        if kind == 2:
            block = self.block(self.whole(drawn.spread, drawn.tile), drawn.block)
            return replace(drawn, block=block) if block else None
        order = self.chance.choice(SHORT)
        return replace(drawn, outer=order) if kind == 3 else replace(drawn, inner=order)

    def spread(self) -> Sizes:
        """Return PEs along each loop: factors on rows and columns, the last pass spread evenly."""
        array, used = self.oracle.machine.array, dict.fromkeys(DIMS, 1)
        for loops, most in (
            (array.unroll_rows, array.rows.value),
            (array.unroll_cols, array.cols.value),
        ):
            for d in self.chance.sample(list(loops), len(loops)):
                factor = self.size(max(1, min(most, self.oracle.size[d])))
                used[d], most = used[d] * factor, most // factor
        size = self.oracle.size
        steps = {d: ceil(size[d] / min(used[d], size[d])) for d in DIMS}
        return {d: ceil(size[d] / steps[d]) for d in DIMS}

    def size(self, most: int) -> int:
        """Return 1, the most, or anything between."""
        return self.chance.choice((1, most, self.chance.randint(1, most)))

    def tile(self, spread: Sizes, like: Sizes | None = None) -> Sizes:
        """Return a scratchpad tile, as `like` but for one loop where that fits."""
        oracle, tile = self.oracle, dict.fromkeys(DIMS, 1)
        other = self.chance.choice(self.loops or DIMS)
        for d in self.loops:
            steps = ceil(oracle.size[d] / spread[d])
            most = largest(steps, lambda n, d=d: oracle.fits_pe({**tile, d: n}))
            if d == "S" and oracle.machine.dataflow == "row-stationary" and most == steps:
                tile[d] = steps
            elif like is None or d == other:
                tile[d] = self.size(most)
            else:
                tile[d] = min(like[d], most)
        return tile

    def whole(self, spread: Sizes, tile: Sizes) -> Sizes:
        """Return what one pass of the array covers."""
        return {d: min(tile[d] * spread[d], self.oracle.size[d]) for d in DIMS}

    def block(self, array: Sizes, like: Sizes | None = None) -> Sizes | None:
        """Return a buffer tile of multiples of the array's, as `like` but for one loop."""
        oracle, size = self.oracle, self.oracle.size
        block = {d: size[d] if d in "RS" else array[d] for d in DIMS}
        if not oracle.fits_buffer(block):
            return None
        other = self.chance.choice(TILED)
        for d in self.chance.sample(TILED, len(TILED)):
            most = largest(
                ceil(size[d] / array[d]),
                lambda n, d=d: oracle.fits_buffer({**block, d: min(n * array[d], size[d])}),
            )
            times = self.size(most)
            if like is not None and d != other:
                times = min(ceil(like[d] / array[d]), most)
            block[d] = min(times * array[d], size[d])
        return block

    def mappings(self, count: int) -> Iterator[tuple[Drawn, float, float]]:
        """Yield so many legal mappings with their joules and cycles."""
        best: list[tuple[float, Drawn]] = []
        while count:
            parent = self.chance.choice(best)[1] if best and self.chance.random() < 0.5 else None
            drawn = self.afresh() if parent is None else self.changed(parent)
            if drawn is None:
                continue
            energy, cycles = self.oracle.cost(
                drawn.spread, drawn.tile, drawn.block, drawn.outer, drawn.inner
            )
            best = kept(best, (energy * cycles, drawn))
            count -= 1
            yield drawn, energy, cycles


def kept(best: list[tuple[float, Drawn]], new: tuple[float, Drawn]) -> list[tuple[float, Drawn]]:
    """Return the eight of least product."""
    if len(best) == 8 and new[0] >= best[-1][0]:
        return best
    return sorted([*best, new], key=lambda entry: entry[0])[:8]


def largest(most: int, fits: object) -> int:
    """Return the largest size that fits, sizes below it fitting too; 1 at least."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)  # type: ignore[operator]
    return low


def legal(oracle: Oracle, drawn: Drawn) -> bool:
    """Say whether a mapping fits: what the draw promises."""
    array = oracle.machine.array
    return (
        oracle.fits_pe(drawn.tile)
        and oracle.fits_buffer(drawn.block)
        and prod(drawn.spread.values()) <= array.rows.value * array.cols.value
    )
