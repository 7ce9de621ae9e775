"""What a layer lacks that cannot be mapped: the memories too small for one smallest tile."""

from __future__ import annotations

from hwflow.costs.fine.memories import level_names
from hwflow.costs.fine.rates import Rates
from hwflow.costs.fine.shape import DIMS, TENSORS, R, S, Shape
from hwflow.machine import Accelerator


def too_small(machine: Accelerator, shape: Shape, rates: Rates) -> str:
    """Return a sentence that names every memory that is too small, and the bytes it lacks."""
    loops = " ".join(f"{d}{n}" for d, n in zip(DIMS, shape.dims, strict=True))
    named = _pads(rates) + _buffers(machine, shape, rates)
    return (
        f"A layer of loops {loops} cannot be mapped onto {machine.name}: {'; '.join(named)}. "
        "Enlarge it, lower the bits of the operands, or leave the tensor out of its `holds`."
    )


def _pads(rates: Rates) -> list[str]:
    if rates.shared:
        lack = sum(rates.in_pe) - max(rates.pad_bits)
        text = f"the shared scratchpad lacks {lack / 8:g} bytes for one element of each tensor"
        return [text] * (lack > 0)
    return [
        f"the {TENSORS[t]} scratchpad lacks {(need - room) / 8:g} bytes for one element"
        for t, (need, room) in enumerate(zip(rates.in_pe, rates.pad_bits, strict=True))
        if need > room
    ]


def _buffers(machine: Accelerator, shape: Shape, rates: Rates) -> list[str]:
    """Name the buffers that cannot hold one output, its whole kernel and its inputs."""
    rows, columns = (shape.span(axis, 1, shape.dims[R + axis]) for axis in (0, 1))
    sizes = (shape.dims[R] * shape.dims[S], rows * columns, 1)
    found = []
    for name, memory in zip(level_names(machine)[1:], rates.buffers, strict=True):
        parts = zip(sizes, memory.bits, memory.held, strict=True)
        lack = sum(size * bits * held for size, bits, held in parts) - memory.capacity
        if lack > 0:
            half = " (half of it, being double-buffered)" if memory.overlapped else ""
            found.append(f"{name}{half} lacks {lack / 8:g} bytes for the smallest tile")
    return found
