"""Machines: accelerators described in YAML, a source beside every figure."""

from hwflow.machine.accelerator import Accelerator, Dataflow, load_machine, machine_names
from hwflow.machine.device import Device

__all__ = ["Accelerator", "Dataflow", "Device", "load_machine", "machine_names"]
