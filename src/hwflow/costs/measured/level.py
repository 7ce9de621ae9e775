"""Measured: the latency of a network on a device, from a table of its layers' latencies.

============= ========= ===================================================================
metric        standing  definition
============= ========= ===================================================================
latency_s     measured  sum of the layers' measured latencies, calibrated on whole networks
                        where the table has a calibration
macs, params, exact     counted, as at the coarse level
bit_ops,
frac_ops,
model_bytes,
peak_bytes
============= ========= ===================================================================

Energy, traffic and area are not known of a device, so limits on them are refused. Layers that the
table lacks are measured first, all of a call together, where the device is this computer; else they
are named. They are never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from hwflow.cost import Bits, Cost, Floats, Ints, Standing
from hwflow.costs.arrays import ArrayLevel, Arrays, Metrics, Operands
from hwflow.costs.coarse import STANDING, counted
from hwflow.costs.measured.calibration import Calibration
from hwflow.costs.measured.fill import LAUNCH, Measuring, fill, missing, named
from hwflow.costs.measured.networks import FREE, layer_key
from hwflow.design import Design
from hwflow.errors import MachineError
from hwflow.machine import Accelerator, Device
from hwflow.problem import Problem
from hwflow.workload import Layer, Workload

_COUNTED = ("macs", "params", "bit_ops", "frac_ops", "model_bytes", "peak_bytes")
_FREE, _MEASURED = 0, 1


@dataclass
class Measured(ArrayLevel):
    """Measured latencies; see the module's table."""

    measuring: Measuring = field(default_factory=Measuring)
    may_measure: bool = True
    """Whether missing layers may be measured here and now."""

    level = "measured"
    standing = MappingProxyType[str, Standing](
        {name: STANDING[name] for name in _COUNTED} | {"latency_s": "measured"}
    )
    bounds = ("free", "measured")

    def costs(self, designs: Sequence[Design]) -> list[Cost]:
        """Cost many designs; what is missing of all of them is measured together."""
        by_device: dict[Device, list[Layer]] = {}
        for design in designs:
            by_device.setdefault(device_of(design.machine), []).extend(design.workload)
        for device, layers in by_device.items():
            self.complete(device, layers)
        return super().costs(designs)

    def complete(self, device: Device, layers: Iterable[Layer]) -> None:
        """Measure the layers that a device's table lacks.

        Raises MachineError naming them where that is not possible.
        """
        lack = missing(device, layers)
        if not lack:
            return
        if not (self.may_measure and device.measurable):
            raise MachineError(_lacking(device, list(lack.values())))
        refused = fill(device, lack, self.measuring)
        if refused:
            raise MachineError(next(iter(refused.values())))

    def prepare(self, problem: Problem) -> None:
        """Calibrate a device that has no calibration yet on networks of the space; a minute."""
        from hwflow.costs.measured.profile import prepare

        if self.may_measure:
            prepare(problem, self.measuring)

    def table(self, const: Arrays, machine: Accelerator, at: Operands) -> tuple[Metrics, Ints]:
        """Return the metrics by layer, missing ones measured; what only renames memory is free."""
        device = device_of(machine)
        values = counted(const, machine, at)
        found = {name: values[name] for name in _COUNTED}
        columns = _Columns(const, Bits(at.raw_weights, at.raw_tensors))
        self.complete(device, (layer for row in columns.layers for layer in row))
        found["latency_s"] = columns.latencies(device)
        free = np.array([layer.op in FREE for layer in const.workload], bool)
        bound_by = np.where(free, _FREE, _MEASURED).astype(np.int64)
        return found, np.broadcast_to(bound_by, at.weights.shape)

    def notes(self, const: Arrays, machine: Accelerator, bits: Bits) -> tuple[str, ...]:
        """Return what latencies were measured with, and how well the sum stands for the whole."""
        device = device_of(machine)
        setting = ", ".join(f"{name}: {text}" for name, text in device.rows())
        return (f"Latencies were measured ({setting}).", _about_calibration(device))

    def digest(self) -> str:
        """Return the model's name and version; the table's state is in the device's digest."""
        return f"{self.level}-{self.version}"


def device_of(machine: Accelerator | Device) -> Device:
    """Return the machine as a device; MachineError for one that is modelled."""
    if isinstance(machine, Device):
        return machine
    raise MachineError(
        f"{machine.name} is a modelled machine: nothing can be measured on it. Use --level mid or "
        "fine, or name a device such as --on cpu."
    )


def calibration_of(device: Device) -> Calibration | None:
    """Return the calibration that a device's table holds."""
    plain = device.latencies.fact("calibration")
    return None if plain is None else Calibration.from_json(plain)


def launch_s(device: Device) -> float:
    """Return what a call of the device's runtime takes by itself; 0 where it is not known."""
    table = device.latencies
    return table[LAUNCH].latency_s if LAUNCH in table else 0.0


def latencies_s(device: Device, workload: Workload) -> dict[Layer, float]:
    """Return the latency of each layer as it was measured alone."""
    table = device.latencies
    return {la: table[layer_key(la)].latency_s if la.op not in FREE else 0.0 for la in workload}


class _Columns:
    """Layers by column, each at the distinct bits that it has in some assignments."""

    def __init__(self, const: Arrays, bits: Bits) -> None:
        workload = const.workload
        names = [i.name for i in workload.inputs] + [layer.name for layer in workload]
        column = {name: index for index, name in enumerate(names)}
        self.layers: list[list[Layer]] = []
        self._places: list[Ints] = []
        for index, layer in enumerate(workload):
            reads = [column[name] for name in layer.inputs]
            own = np.column_stack(
                [bits.weights[:, index], bits.tensors[:, [column[layer.name], *reads]]]
            )
            kinds, place = np.unique(own, axis=0, return_inverse=True)
            self.layers.append([_with_bits(layer, tuple(row)) for row in kinds.tolist()])
            self._places.append(place.reshape(-1))

    def latencies(self, device: Device) -> Floats:
        """Return the latencies, shape (n, layers); the first layer bears what a run takes."""
        calibration, start = calibration_of(device), launch_s(device)
        found = np.empty((len(self._places[0]) if self._places else 0, len(self.layers)))
        for index, (layers, place) in enumerate(zip(self.layers, self._places, strict=True)):
            values = [_latency(device, layer, calibration, start) for layer in layers]
            found[:, index] = np.array(values)[place]
        if calibration is not None and self.layers:
            found[:, 0] += start + calibration.run_s
        return found


def _latency(device: Device, layer: Layer, calibration: Calibration | None, start: float) -> float:
    if layer.op in FREE:
        return 0.0
    alone = device.latencies[layer_key(layer)].latency_s
    return alone if calibration is None else calibration.layer_s(layer, alone, start)


@lru_cache(maxsize=65536)
def _with_bits(layer: Layer, bits: tuple[int, ...]) -> Layer:
    weight, output, *reads = bits
    if layer.op == "matmul" and len(reads) > 1:
        weight = reads[1]
    return replace(layer, weight_bits=weight, output_bits=output, input_bits=tuple(reads))


def _about_calibration(device: Device) -> str:
    found = calibration_of(device)
    if found is None:
        return (
            "A network's latency is the plain sum of its layers', which is often 5 to 20 % off. "
            "Calibrate it on whole networks: hwflow profile NET --prune --calibrate 20."
        )
    if found.median_error is None:
        return "The sum of the layers is calibrated on whole networks."
    return (
        f"The sum of the layers is calibrated on {found.networks} whole networks: median error "
        f"{100 * found.median_error:.1f} % on those not fitted, {100 * (found.within_10 or 0):.0f} "
        f"% of them within 10 %."
    )


def _lacking(device: Device, layers: Sequence[Layer]) -> str:
    first = layers[0]
    shape: Any = json.dumps([list(s) for s in first.in_shapes])
    return (
        f"The table of {device.name} has no latency of {len(layers)} layers: {named(layers)} "
        f"({first.op} on {shape}, {first.weight_bits}-bit weights). Measure them there: hwflow "
        f"profile NET --on {device.name} --bundle DIR writes them, --read takes the times."
    )
