"""Layers for the chip, and its pass model walked by plain loops: the tests' oracle.

The walk knows nothing of closed forms: it runs through groups, images, strips, blocks of filters,
channels and filters, and adds up what each pass does (METHODS, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hwflow.costs.chip import Chip, Passes
from hwflow.workload import Layer


def conv(
    batch: int = 1, filters: int = 1, channels: int = 1, out: int = 1, kernel: int = 1,
    stride: int = 1, groups: int = 1, pad: int = 0, dilation: int = 1, size: int | None = None,
    op: str = "conv",
) -> Layer:  # fmt: skip
    span = (out - 1) * stride + (kernel - 1) * dilation + 1
    size = span - 2 * pad if size is None else size
    return Layer(
        "layer", op, ("x",), ((batch, channels, size, size),), (batch, filters, out, out),
        batch=batch, out_channels=filters, in_channels=channels, out_size=(out, out),
        kernel=(kernel, kernel), stride=(stride, stride), dilation=(dilation, dilation),
        padding=(pad,) * 4, groups=groups,
    )  # fmt: skip


ALEXNET = {
    "conv1": conv(4, 96, 3, 55, 11, stride=4),
    "conv2": conv(4, 256, 96, 27, 5, groups=2, pad=2),
    "conv3": conv(4, 384, 256, 13, 3, pad=1),
    "conv4": conv(4, 384, 384, 13, 3, groups=2, pad=1),
    "conv5": conv(4, 256, 384, 13, 3, groups=2, pad=1),
}
OWN = {
    "conv1": Passes(96, 1, 7, 16, 1, 1, 2),
    "conv2": Passes(64, 1, 27, 16, 2, 1, 1),
    "conv3": Passes(64, 4, 13, 16, 3, 2, 2),
    "conv4": Passes(64, 4, 13, 16, 3, 2, 2),
    "conv5": Passes(64, 4, 13, 16, 3, 2, 2),
}
"""The chip's parameters; conv3 with q, r, t that fit its measured traffic."""


@dataclass
class Walked:
    """What a walk has added up; words."""

    passes: int = 0
    array_cycles: float = 0.0
    psums: int = 0
    ifmap_reads: int = 0
    ifmap_writes: int = 0
    weights: int = 0

    @property
    def buffer_words(self) -> int:
        return self.psums + self.ifmap_reads + self.ifmap_writes


def pieces(size: int, tile: int) -> Iterator[int]:
    """Yield the sizes of tiles, the last one short."""
    for start in range(0, size, tile):
        yield min(tile, size - start)


def walk(layer: Layer, at: Passes, chip: Chip) -> Walked:
    """Run through the passes of a plain convolution (dilation 1, stride up to the kernel)."""
    found = Walked()
    kernel, out = layer.kernel[0], layer.out_size[1]
    filters, channels = layer.out_channels // layer.groups, layer.in_channels // layer.groups
    width = (out - 1) * layer.stride[1] + kernel
    for _ in range(layer.groups):
        for images in pieces(layer.batch, at.n):
            for rows in pieces(layer.out_size[0], at.e):
                strip = images * ((rows - 1) * layer.stride[0] + kernel) * width
                for block in pieces(filters, at.m):
                    for depth in pieces(channels, at.q * at.r):
                        found.ifmap_writes += strip * depth
                        for some in pieces(block, at.p * at.t):
                            found.passes += 1
                            found.ifmap_reads += strip * depth
                            found.psums += 2 * images * rows * some * out
                            found.weights += some * depth * kernel**2
                            found.array_cycles += pass_cycles(at, kernel, out, chip)
    return found


def pass_cycles(at: Passes, kernel: int, out: int, chip: Chip) -> float:
    """Count one pass: it is as long as a full one even where a remainder is left."""
    loaded = at.p * at.t * at.q * at.r * kernel * kernel
    constants = chip.fitted.load_cycles * loaded + chip.fitted.pass_cycles
    return at.n * out * kernel * at.p * at.q + constants


def fits(layer: Layer, at: Passes, chip: Chip) -> bool:
    """Say whether a mapping fits, by filling bands of the array set by set."""
    kernel, out = layer.kernel[0], layer.out_size[1]
    width = (out - 1) * layer.stride[1] + kernel
    ifmap = at.q * at.r * at.n * ((at.e - 1) * layer.stride[0] + kernel) * width * chip.word_bytes
    psum = at.n * at.m * at.e * out * chip.word_bytes
    banks = sum(-(-int(size) // chip.bank_bytes) for size in (ifmap, psum))
    return (
        at.p * at.q * kernel <= chip.filter_pad
        and at.q * kernel <= chip.ifmap_pad
        and at.p <= chip.psum_pad
        and bands(at.e, at.r * at.t, chip.cols) * kernel <= chip.rows
        and banks <= chip.buffer_bytes // chip.bank_bytes
    )


def bands(outputs: int, sets: int, cols: int) -> int:
    """Count the bands that so many sets take: whole ones, and rests put side by side."""
    taken, free = 0, 0
    for _ in range(sets):
        left = outputs
        while left >= cols:
            taken, left = taken + 1, left - cols
        if left > free:
            taken, free = taken + 1, cols
        free -= left
    return taken
