"""A mapping as plain data, and as a loop nest that people read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from hwflow.costs.fine.shape import DIMS, GROUPS, TENSORS, Ints, Shape


@dataclass(frozen=True, slots=True)
class Mapping:
    """Tile sizes per level (vectors over N K C P Q R S G) and what stays where."""

    pe: Ints
    """Scratchpad tile of one PE."""
    rows: Ints
    """Factors along the rows of the array."""
    cols: Ints
    spread: Ints
    """PEs used along each loop, at most rows x cols factors."""
    tiles: tuple[Ints, ...]
    """Tile of each buffer between DRAM and the array, outermost first; one entry where there is
    none. Along each loop a multiple of the next inner tile, or the whole loop."""
    stays: tuple[str | None, ...]
    """Tensor whose loops run innermost in DRAM, then in each buffer; None where nothing can stay.
    One entry more than `tiles`."""

    @property
    def buffer(self) -> Ints:
        """Tile of the buffer that feeds the array."""
        return self.tiles[-1]

    @property
    def stays_in_buffer(self) -> str | None:
        """Tensor whose loops run innermost in DRAM."""
        return self.stays[0]

    @property
    def stays_in_pes(self) -> str | None:
        """Tensor whose loops run innermost in the buffer that feeds the array."""
        return self.stays[-1]

    def array_tile(self, shape: Shape) -> Ints:
        """Return what one pass of the array covers along each loop."""
        sizes = zip(self.pe, self.spread, shape.dims, strict=True)
        return tuple(min(a * s, d) for a, s, d in sizes)

    def passes(self, shape: Shape) -> Ints:
        """Return the passes of the array along each loop, over the whole layer."""
        return tuple(
            _ceil(_ceil(d, s), a) for a, s, d in zip(self.pe, self.spread, shape.dims, strict=True)
        )

    def dram_trips(self, shape: Shape) -> Ints:
        """Return the tiles of the outermost buffer along each loop."""
        return self.cuts(shape)[0]

    def cuts(self, shape: Shape) -> tuple[Ints, ...]:
        """Return the tiles along each loop over the whole layer, of each buffer and the array."""
        tiles = (tuple(map(_ceil, shape.dims, tile)) for tile in self.tiles)
        return (*tiles, self.passes(shape))

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Mapping:
        """Read what `dataclasses.asdict` wrote."""
        sizes = {name: tuple(plain[name]) for name in ("pe", "rows", "cols", "spread", "stays")}
        return cls(**sizes, tiles=tuple(map(tuple, plain["tiles"])))

    @property
    def active_pes(self) -> int:
        """PEs that work."""
        return prod(self.spread)


def _ceil(whole: int, part: int) -> int:
    return -(-whole // part)


def loop_order(stays: str | None) -> str:
    """Return the loops of a level from outside inward: G first, the stationary group last."""
    inner = GROUPS[TENSORS.index(stays)] if stays else ""
    return "G" + "".join(group for group in ("NPQ", "K", "CRS") if group != inner) + inner


def written(mapping: Mapping, shape: Shape, levels: tuple[str, ...] = ("DRAM", "buffer")) -> str:
    """Return the mapping as an indented loop nest, one level after the other.

    `levels` are the names of DRAM and of every buffer, from outside inward.
    """
    return "\n".join(
        f"{'  ' * depth}{line}" for depth, line in enumerate(_lines(mapping, shape, levels))
    )


def _lines(mapping: Mapping, shape: Shape, levels: tuple[str, ...]) -> Iterator[str]:
    cuts = mapping.cuts(shape)
    before = ((1,) * len(DIMS), *cuts)
    for outer, inner, stays, level in zip(before, cuts, mapping.stays, levels, strict=False):
        trips = dict(zip(DIMS, map(_ceil, inner, outer), strict=True))
        kept = f"  # {level}: {stays} stay" if stays else f"  # {level}"
        for d in loop_order(stays):
            if trips[d] > 1:
                yield f"for {d.lower()} in {trips[d]}:{kept}"
    for axis, factors in (("rows", mapping.rows), ("cols", mapping.cols)):
        used = [f"{d.lower()} in {f}" for d, f in zip(DIMS, factors, strict=True) if f > 1]
        if used:
            yield f"parallel {', '.join(used)}:  # array {axis}"
    tile = [f"{d.lower()} in {a}" for d, a in zip(DIMS, mapping.pe, strict=True) if a > 1]
    yield f"for {', '.join(tile)}: mac" if tile else "mac"
