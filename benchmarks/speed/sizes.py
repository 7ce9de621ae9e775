"""How many mappings a mapspace holds before anything is pruned.

A mapping is an unrolling over the array, a tile in the PEs and one in the buffer, and two orders
out of three. Tiles count whether they fit or not, so the number says what is searched, not how
many mappings are legal. Along one loop a tile counts once for each number of trips it can make.
"""

from __future__ import annotations

from functools import cache

from hwflow.costs.fine.mapspace import mapspace
from hwflow.costs.fine.shape import DIMS, Shape
from hwflow.machine import Accelerator

ORDERS = 3 * 3
BLOCKED = "NKCPQ"
"""Loops whose buffer tile is a choice."""


def mapspace_size(machine: Accelerator, shape: Shape, full: bool) -> int:
    """Return the number of mappings; loops are independent, so factors of each unrolling."""
    space = mapspace(machine)
    tiled = {DIMS[index] for index in space.pe_loops}
    if space.whole_rows:
        tiled.discard("S")
    total = 0
    for spread in space.unrollings(shape).tolist():
        ways = 1
        for name, size, factor in zip(DIMS, shape.dims, spread, strict=True):
            ways *= along(size, factor, name in tiled, name in BLOCKED, full)
        total += ways
    return ORDERS * total


@cache
def along(size: int, factor: int, tiled: bool, blocked: bool, full: bool) -> int:
    """Return the pairs of a PE tile and a buffer tile along one loop."""
    steps = -(-size // factor)
    tiles = pe_tiles(steps, full) if tiled else {1}
    if not blocked:
        return len(tiles)
    return sum(len(trips(-(-size // min(tile * factor, size)))) for tile in tiles)


def pe_tiles(steps: int, full: bool) -> set[int]:
    """Return tiles of so many steps: all, or divisors and the two largest."""
    every = trips(steps)
    if full:
        return every
    return {tile for tile in range(1, steps + 1) if steps % tile == 0} | set(sorted(every)[-2:])


def trips(steps: int) -> set[int]:
    """Return the smallest tile for each number of trips over so many steps."""
    return {-(-steps // -(-steps // tile)) for tile in range(1, steps + 1)}
