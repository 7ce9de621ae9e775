"""Filling a device's table: what is missing is measured, chunk by chunk, and committed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from hwflow.costs.measured.networks import FREE, about, launch, layer_key, one_layer
from hwflow.costs.measured.operators import UnmeasurableError
from hwflow.costs.measured.runtimes import Runtime, runtime
from hwflow.costs.measured.timing import Repetitions, Run, Sample, Ticks, interleaved
from hwflow.machine import Device
from hwflow.machine.latencies import Latency
from hwflow.workload import Layer, Workload

LAUNCH = "launch"
"""Key of a call of the runtime that does next to nothing."""

CHUNK = 64
"""Layers measured side by side, and lost when the process is killed."""


class Progress(NamedTuple):
    """How far a measurement is."""

    done: int
    total: int
    left_s: float | None
    """Seconds that are left, by the rate so far."""


@dataclass(frozen=True)
class Measuring:
    """How missing latencies are measured; `runtime` and `ticks` are given by tests."""

    how: Repetitions = Repetitions()
    runtime: Runtime | None = None
    ticks: Ticks | None = None
    on_progress: Callable[[Progress], None] | None = field(default=None, compare=False)

    def of(self, device: Device) -> Runtime:
        """Return the device's runtime."""
        return self.runtime or runtime(device.runtime, device.provider, device.threads)


def keyed(layers: Iterable[Layer]) -> dict[str, Layer]:
    """Return layers by key, the first of equal ones; those that cost nothing are left out.

    Raises UnmeasurableError for operands of bits that a device does not have.
    """
    found: dict[str, Layer] = {}
    for layer in layers:
        if layer.op not in FREE:
            found.setdefault(layer_key(layer), layer)
    return found


def missing(device: Device, layers: Iterable[Layer]) -> dict[str, Layer]:
    """Return the layers, by key, that a device's table does not have."""
    table = device.latencies
    return {key: layer for key, layer in keyed(layers).items() if key not in table}


def gathered(device: Device, workloads: Iterable[Workload], measuring: Measuring) -> None:
    """Measure side by side what a device's table lacks of many workloads.

    Workloads with operands that the device does not have, and layers that its runtime refuses, are
    left out.
    """
    lack: dict[str, Layer] = {}
    for workload in workloads:
        with suppress(UnmeasurableError):
            lack.update(missing(device, workload))
    if lack and device.measurable:
        fill(device, lack, measuring)


def fill(device: Device, layers: Mapping[str, Layer], measuring: Measuring) -> dict[str, str]:
    """Measure layers, given by key, into a device's table; return why some could not be, by key.

    Every chunk is committed, so a measurement that was killed goes on with the rest.
    """
    wanted = {LAUNCH: None, **layers} if LAUNCH not in device.latencies else dict(layers)
    start, done, refused = time.monotonic(), 0, {}
    engine = measuring.of(device)
    for begin in range(0, len(wanted), CHUNK):
        names = list(wanted)[begin : begin + CHUNK]
        runs, faults = _loaded(engine, {name: wanted[name] for name in names})
        refused.update(faults)
        timed = interleaved(runs, measuring.how, measuring.ticks) if runs else {}
        device.latencies.add({n: latency(device, s, wanted[n]) for n, s in timed.items()})
        done += len(names)
        if measuring.on_progress is not None:
            rate = (time.monotonic() - start) / done
            measuring.on_progress(Progress(done, len(wanted), rate * (len(wanted) - done)))
    return refused


def _loaded(
    engine: Runtime, wanted: Mapping[str, Layer | None]
) -> tuple[dict[str, Run], dict[str, str]]:
    runs, faults = {}, {}
    for name, layer in wanted.items():
        try:
            runs[name] = engine.loaded(launch() if layer is None else one_layer(layer))
        except UnmeasurableError as error:
            faults[name] = str(error)
    return runs, faults


def latency(device: Device, sample: Sample, layer: Layer | None) -> Latency:
    """Return a sample as an entry of a device's table."""
    low, middle, high = sample.quartiles(device.clock)
    wall = sample.quartiles("wall")[1]
    text = json.dumps(about(layer), default=str) if layer is not None else ""
    return Latency(middle, low, high, wall, len(sample.wall_s), text)


def named(layers: Sequence[Layer], most: int = 3) -> str:
    """Name a few layers."""
    names = ", ".join(layer.name for layer in layers[:most])
    return names + (f" and {len(layers) - most} more" if len(layers) > most else "")
