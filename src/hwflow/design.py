"""A design: a workload on a machine. What edits change on paper and cost models read."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hwflow.machine import Accelerator
from hwflow.workload import Workload


@dataclass(frozen=True)
class Design:
    """A workload and the machine it runs on."""

    workload: Workload
    machine: Accelerator

    def with_workload(self, workload: Workload) -> Design:
        """Return the same machine with another workload."""
        return replace(self, workload=workload)
