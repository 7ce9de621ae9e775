"""What a report is made of: plain data, and the few facts that all of its sections need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from hwflow.cost import METRICS, Cost
from hwflow.front import Front, Trial
from hwflow.machine import Accelerator
from hwflow.problem import QUALITY
from hwflow.workload import Workload

if TYPE_CHECKING:
    from hwflow.costs.fine.level import LayerReport
    from hwflow.costs.mid import Roofline


@dataclass(frozen=True)
class ReportData:
    """A search and its result: everything the page shows, and nothing it would have to compute."""

    title: str
    model: str
    machine: Accelerator
    level: str
    """The cost model's name, such as "mid"."""
    front: Front
    trials: Sequence[Trial]
    """All trials, infeasible ones included, in the order they were made."""
    baseline: Trial | None
    """The pristine network: its quality; None when it was not measured."""
    workload_before: Workload
    cost_before: Cost
    details: Mapping[int, tuple[Workload, Cost]]
    """Workload and cost after the edits, by number of a trial of the front."""
    roofline: Roofline | None = None
    """Of the pristine network; None where the level has none."""
    reports_before: Sequence[LayerReport] = ()
    """The pristine network's mappings; empty where the level has none."""
    reports: Mapping[int, Sequence[LayerReport]] = field(default_factory=dict)
    """Mappings after the edits, by number of a trial of the front."""
    provenance: Mapping[str, object] = field(default_factory=dict)
    """What the run was made with and from; values may be nested mappings."""
    notes: Sequence[str] = ()
    latencies: Sequence[Mapping[str, Any]] = ()
    """Of networks that were built: modelled, tabled and measured; see hwflow.latencies."""
    run: str = "RUN"
    """The run folder, as it is to appear in command lines."""
    quality: str = "accuracy"
    """Name of the task's metric; higher is better."""

    @cached_property
    def evaluated(self) -> tuple[Trial, ...]:
        """The trials whose quality was measured."""
        return tuple(trial for trial in self.trials if trial.quality is not None)

    @cached_property
    def is_share(self) -> bool:
        """Whether the quality is a share of 1, to be written in percent."""
        found = [
            trial.quality for trial in (*self.trials, *self.front) if trial.quality is not None
        ]
        if self.original_quality is not None:
            found.append(self.original_quality)
        finite = [value for value in found if isfinite(value)]
        return all(0 <= value <= 1 for value in finite)

    @property
    def original_quality(self) -> float | None:
        """Quality of the pristine network; None when unknown or not finite."""
        value = self.baseline.quality if self.baseline else None
        return value if value is not None and isfinite(value) else None

    @property
    def cost_objectives(self) -> tuple[str, ...]:
        """The objectives that are costs, as metric names."""
        return tuple(name for name in self.front.objectives if name != QUALITY)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the level gives, objectives first."""
        rest = [n for n in METRICS if n in self.cost_before.total and n not in self.cost_objectives]
        return (*self.cost_objectives, *rest)

    def relative_change(self, trial: Trial, name: str) -> float | None:
        """Return (after - before) / before of a total cost, None where it is not defined."""
        before, after = self.cost_before.total.get(name), trial.total.get(name)
        if before is None or after is None or not 0 < before < inf:
            return None
        change = after / before - 1
        return change if isfinite(change) else None
