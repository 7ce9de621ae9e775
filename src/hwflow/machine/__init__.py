"""Machines: accelerators described in YAML, a source beside every figure, and measured devices."""

from hwflow.machine.accelerator import (
    Accelerator,
    Dataflow,
    device_names,
    is_device,
    load_machine,
    machine_names,
)
from hwflow.machine.device import Device

__all__ = [
    "Accelerator",
    "Dataflow",
    "Device",
    "device_names",
    "is_device",
    "load_machine",
    "machine_names",
]
