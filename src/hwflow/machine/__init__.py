"""Machines: accelerators described in YAML, a source beside every figure."""

from hwflow.machine.accelerator import Accelerator, Dataflow, load_machine, machine_names

__all__ = ["Accelerator", "Dataflow", "load_machine", "machine_names"]
