"""The staircase: at how many output channels the latency of a layer steps on a device.

Kernels work on blocks of channels, so 33 channels may cost as much as 40. Pruning to the multiples
of a block keeps as many channels as the time pays for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwflow.costs.measured.fill import Measuring, fill, missing
from hwflow.costs.measured.networks import layer_key
from hwflow.errors import HwflowError
from hwflow.machine import Device
from hwflow.workload import Layer

STEPS = (1, 2, 4, 8, 16, 32)
"""Steps that are looked for."""

ENOUGH = 0.9
"""Share of the best step's explanation that a smaller step must reach to be taken instead."""

_SPEC = re.compile(r"(conv|pointwise|depthwise|linear):(\d+)(?:@(\d+))?(?:x(\d+))?")


@dataclass(frozen=True)
class Staircase:
    """Latency over output channels, and the step that explains it best."""

    channels: tuple[int, ...]
    latency_s: tuple[float, ...]
    step: int
    explained: Mapping[int, float]
    """By step: share of the variance about a straight line that a staircase of it explains."""

    @property
    def jumps(self) -> tuple[int, ...]:
        """Numbers of channels from which on a layer costs at least 10 % more than before."""
        pairs = zip(self.latency_s, self.latency_s[1:], strict=False)
        return tuple(self.channels[i] for i, (a, b) in enumerate(pairs) if b > 1.10 * a)


def layer_of(spec: str) -> Layer:
    """Read "conv:64" or "conv:64@28x3": input channels, height and width (14), kernel (3)."""
    match = _SPEC.fullmatch(spec)
    if match is None or int(match[2]) < 1:
        raise HwflowError(
            f"--staircase {spec!r} is no layer. Write conv:64, pointwise:64, depthwise:64 or "
            "linear:64 (input channels), and where you like @SIZE and xKERNEL: conv:64@28x3."
        )
    kind, channels, size = match[1], int(match[2]), int(match[3] or 14)
    if kind == "linear":
        return Layer("layer", "linear", ("x",), ((1, channels),), (1, channels), 1, channels,
                     channels, bias=True, input_bits=(32,))  # fmt: skip
    kernel = 1 if kind == "pointwise" else int(match[4] or 3)
    shape = (1, channels, size, size)
    pad = kernel // 2
    return Layer(
        "layer", "conv", ("x",), (shape,), shape, 1, channels, channels, (size, size),
        (kernel, kernel), padding=(pad, pad, pad, pad), bias=True, input_bits=(32,),
        groups=channels if kind == "depthwise" else 1,
    )  # fmt: skip


def with_channels(layer: Layer, count: int) -> Layer:
    """Return the layer with so many output channels; a depthwise one reads as many."""
    out = (layer.out_shape[0], count, *layer.out_shape[2:])
    if layer.groups == 1:
        return replace(layer, out_channels=count, out_shape=out)
    return replace(layer, out_channels=count, in_channels=count, groups=count, out_shape=out,
                   in_shapes=(out,))  # fmt: skip


def staircase(layer: Layer, device: Device, measuring: Measuring, most: int = 72) -> Staircase:
    """Measure a layer at 1 to `most` output channels and find the step; it is kept in the table.

    `hwflow search --prune --step array` then prunes to its multiples.
    """
    channels = tuple(range(8, most + 1))
    layers = [with_channels(layer, count) for count in channels]
    known = device.latencies
    fill(device, missing(device, layers), measuring)
    found = of_times(channels, [known[layer_key(la)].latency_s for la in layers])
    known.keep("channel_step", found.step)
    return found


def of_times(channels: Sequence[int], latency_s: Sequence[float]) -> Staircase:
    """Find the step of a staircase: the least whose multiples explain nearly all that any does."""
    counts, times = np.asarray(channels), np.asarray(latency_s, float)
    rest = _left(times, counts.astype(float))
    explained = {}
    for step in STEPS:
        stairs = -(-counts // step) * step
        explained[step] = 1 - _left(times, counts.astype(float), stairs.astype(float)) / rest
    best = max(explained.values())
    near = [step for step, share in explained.items() if share >= ENOUGH * best]
    step = min(near) if best > 0.2 else 1
    return Staircase(tuple(channels), tuple(map(float, times)), step, explained)


def _left(times: np.ndarray, *columns: np.ndarray) -> float:
    """Return the variance that is left after a least-squares fit on columns and a constant."""
    rows = np.column_stack([np.ones(len(times)), *columns])
    found, *_ = np.linalg.lstsq(rows, times, rcond=None)
    return float(((times - rows @ found) ** 2).sum()) or 1e-30
