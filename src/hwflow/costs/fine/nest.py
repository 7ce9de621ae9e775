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
    buffer: Ints
    """Buffer tile: along each loop a multiple of the array tile, or the whole loop."""
    stays_in_pes: str | None
    """Tensor whose loops run innermost in the buffer; None where nothing can stay."""
    stays_in_buffer: str
    """Tensor whose loops run innermost in DRAM."""

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
        """Return the buffer tiles along each loop."""
        return tuple(_ceil(d, b) for d, b in zip(shape.dims, self.buffer, strict=True))

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Mapping:
        """Read what `dataclasses.asdict` wrote."""
        sizes = ("pe", "rows", "cols", "spread", "buffer")
        return cls(**{**plain, **{name: tuple(plain[name]) for name in sizes}})

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


def written(mapping: Mapping, shape: Shape, levels: tuple[str, str] = ("DRAM", "buffer")) -> str:
    """Return the mapping as an indented loop nest, one level after the other."""
    return "\n".join(
        f"{'  ' * depth}{line}" for depth, line in enumerate(_lines(mapping, shape, levels))
    )


def _lines(mapping: Mapping, shape: Shape, levels: tuple[str, str]) -> Iterator[str]:
    outer, passes = mapping.dram_trips(shape), mapping.passes(shape)
    inner = tuple(_ceil(p, o) for p, o in zip(passes, outer, strict=True))
    pairs = ((outer, mapping.stays_in_buffer, levels[0]), (inner, mapping.stays_in_pes, levels[1]))
    for trips, stays, level in pairs:
        kept = f"  # {level}: {stays} stay" if stays else f"  # {level}"
        loops = [d for d in loop_order(stays) if trips[DIMS.index(d)] > 1]
        for d in loops:
            yield f"for {d.lower()} in {trips[DIMS.index(d)]}:{kept}"
    for axis, factors in (("rows", mapping.rows), ("cols", mapping.cols)):
        used = [f"{d.lower()} in {f}" for d, f in zip(DIMS, factors, strict=True) if f > 1]
        if used:
            yield f"parallel {', '.join(used)}:  # array {axis}"
    tile = [f"{d.lower()} in {a}" for d, a in zip(DIMS, mapping.pe, strict=True) if a > 1]
    yield f"for {', '.join(tile)}: mac" if tile else "mac"
