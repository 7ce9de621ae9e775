"""Whether a given mapping fits layer and machine; the search makes only mappings that do.

Checked are the tiles' nesting, the array's PEs and the loops each axis allows, the scratchpads and
every buffer. Which loops a dataflow tiles in a PE bounds the search alone and is not checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import prod

from hwflow.costs.fine.memories import level_names
from hwflow.costs.fine.nest import Mapping
from hwflow.costs.fine.rates import Rates
from hwflow.costs.fine.shape import DIMS, RELEVANT, TENSORS, G, Ints, R, S, Shape, spread_in
from hwflow.errors import WorkloadError
from hwflow.machine import Accelerator


def check_mapping(machine: Accelerator, shape: Shape, rates: Rates, mapping: Mapping) -> None:
    """Raise WorkloadError with everything that keeps a mapping from running."""
    faults = [
        *_counts(rates, mapping),
        *_array(machine, mapping),
        *_nesting(machine, shape, mapping),
        *_pads(machine, shape, rates, mapping),
        *_buffers(machine, shape, rates, mapping),
    ]
    if faults:
        raise WorkloadError(
            f"the mapping does not fit {machine.name}: {'; '.join(faults)}. Lower these sizes."
        )


def _counts(rates: Rates, mapping: Mapping) -> Iterator[str]:
    buffers = len(rates.buffers)
    if len(mapping.tiles) != buffers or len(mapping.stays) != buffers + 1:
        yield (
            f"it has {len(mapping.tiles)} tiles and {len(mapping.stays)} entries of `stays`, "
            f"{buffers} and {buffers + 1} are needed"
        )
        return
    last = mapping.stays[-1]
    allowed = [t for t, may in zip(TENSORS, rates.stays, strict=True) if may]
    if last is not None and last not in allowed:
        yield f"{last} cannot stay in the PEs ({', '.join(allowed) or 'nothing'} can)"


def _array(machine: Accelerator, mapping: Mapping) -> Iterator[str]:
    array = machine.array
    for axis, factors, most, named in (
        ("rows", mapping.rows, array.rows.value, array.unroll_rows),
        ("cols", mapping.cols, array.cols.value, array.unroll_cols),
    ):
        loops = spread_in(machine.view, named)
        if prod(factors) > most:
            yield f"it takes {prod(factors)} {axis} of PEs, the array has {most}"
        others = [d for d, n in zip(DIMS, factors, strict=True) if n > 1 and d not in loops]
        if others:
            allowed = ", ".join(sorted(loops)) or "no loop"
            yield f"{', '.join(others)} cannot be spread over the {axis} ({allowed} can)"
    for d, used, row, col in zip(DIMS, mapping.spread, mapping.rows, mapping.cols, strict=True):
        if used > row * col:
            yield f"`spread` takes {used} PEs along {d}, rows and cols give {row * col}"


def _nesting(machine: Accelerator, shape: Shape, mapping: Mapping) -> Iterator[str]:
    if mapping.pe[G] > 1:
        yield "a PE works on one group at a time, `pe` has several"
    names = (*level_names(machine)[1:], "the array")
    tiles = (*mapping.tiles, mapping.array_tile(shape))
    for name, tile in zip(names, mapping.tiles, strict=False):
        for axis in (R, S):
            if tile[axis] < shape.dims[axis]:
                held = f"{tile[axis]} of {shape.dims[axis]} along {DIMS[axis]}"
                yield f"{name} holds {held}: whole kernels are needed"
    for i, (outer, inner) in enumerate(pairwise(tiles)):
        for d, whole, large, small in zip(DIMS, shape.dims, outer, inner, strict=True):
            if large < whole and (large < small or large % small):
                yield (
                    f"the tile of {names[i]} is {large} along {d}, no multiple of {small} in "
                    f"{names[i + 1]}"
                )


def _elements(shape: Shape, tile: Ints) -> tuple[int, int, int]:
    """Return the elements of weights, inputs (with halo) and outputs in a tile."""
    clipped = [min(t, n) for t, n in zip(tile, shape.dims, strict=True)]
    size = dict(zip(DIMS, clipped, strict=True))
    rows, columns = shape.span(0, size["P"], size["R"]), shape.span(1, size["Q"], size["S"])
    weights, _, outputs = (prod(size[d] for d in relevant) for relevant in RELEVANT)
    return weights, size["G"] * size["N"] * size["C"] * rows * columns, outputs


def _pads(machine: Accelerator, shape: Shape, rates: Rates, mapping: Mapping) -> Iterator[str]:
    needs = [
        count * bits for count, bits in zip(_elements(shape, mapping.pe), rates.in_pe, strict=True)
    ]
    if rates.shared:
        lack = sum(needs) - max(rates.pad_bits)
        if lack > 0:
            yield f"the shared scratchpad lacks {lack / 8:g} bytes"
        return
    for tensor, need, room in zip(TENSORS, needs, rates.pad_bits, strict=True):
        if need > room:
            yield f"the {tensor} scratchpad lacks {(need - room) / 8:g} bytes"


def _buffers(machine: Accelerator, shape: Shape, rates: Rates, mapping: Mapping) -> Iterator[str]:
    for name, memory, tile in zip(
        level_names(machine)[1:], rates.buffers, mapping.tiles, strict=False
    ):
        parts = zip(_elements(shape, tile), memory.bits, memory.held, strict=True)
        lack = sum(count * bits for count, bits, held in parts if held) - memory.capacity
        if lack > 0:
            half = " (half of it, being double-buffered)" if memory.overlapped else ""
            yield f"{name}{half} lacks {lack / 8:g} bytes"
