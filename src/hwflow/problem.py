"""A problem: all that a solver may know. Space, design, cost model, limits and objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hwflow.cost import Bits, Cost, CostModel, Costs, Floats, Limits, metric
from hwflow.design import Design
from hwflow.errors import HwflowError
from hwflow.machine import Accelerator, load_machine
from hwflow.space import BitsPart, Plan, Space

QUALITY = "accuracy"
"""The objective that stands for the quality, whatever the task's metric is; higher is better."""


@dataclass(frozen=True)
class Problem:
    """What to search: a space on a machine, costed by a model, below limits, for objectives."""

    space: Space
    on: Accelerator | str
    cost: CostModel
    below: Limits = field(default_factory=Limits)
    objectives: tuple[str, ...] = (QUALITY, "energy", "latency")
    """"accuracy" is maximised, every cost metric minimised."""

    def __post_init__(self) -> None:
        if isinstance(self.on, str):
            object.__setattr__(self, "on", load_machine(self.on))
        if not self.objectives or len(set(self.objectives)) != len(self.objectives):
            raise HwflowError("Give one or more different objectives, such as accuracy, latency.")
        names = tuple(n if n == QUALITY else metric(n).name for n in self.objectives)
        object.__setattr__(self, "objectives", names)

    @property
    def machine(self) -> Accelerator:
        """The machine."""
        assert isinstance(self.on, Accelerator)  # __post_init__ has loaded it
        return self.on

    @cached_property
    def design(self) -> Design:
        """The pristine network on the machine."""
        return Design(self.space.workload, self.machine)

    @property
    def cost_names(self) -> tuple[str, ...]:
        """The objectives that are costs, as metric names."""
        return tuple(name for name in self.objectives if name != QUALITY)

    def costs(self, plans: Sequence[Plan]) -> list[Cost]:
        """Cost plans; those of one shape and different bits are costed at once."""
        if not plans:
            return []
        table = self.bit_costs(plans)
        if table is not None:
            return [table[row] for row in range(len(plans))]
        return self.cost.costs([self.space.on_paper(plan, self.design) for plan in plans])

    def totals(self, plans: Sequence[Plan]) -> dict[str, Floats]:
        """Return total costs by metric name, arrays of shape (plans,)."""
        table = self.bit_costs(plans) if plans else None
        if table is not None:
            return dict(table.total)
        if len(plans) == 1:  # a solver's step: without the costs by layer
            design = self.space.on_paper(plans[0], self.design)
            return dict(self.cost.over_bits(design, Bits.of([design.workload])).total)
        rows = [cost.total for cost in self.costs(plans)]
        return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}

    def bit_costs(self, plans: Sequence[Plan]) -> Costs | None:
        """Cost plans in one array call where the space changes bits only, else return None."""
        open_parts = [part for part in self.space.parts if part.choices]
        if len(open_parts) != 1 or not isinstance(open_parts[0], BitsPart):
            return None
        bits: Bits = open_parts[0].bits(self._base.workload, plans)
        return self.cost.over_bits(self._base, bits)

    @cached_property
    def _base(self) -> Design:
        """The design of the default plan: the workload that bit assignments are rows of."""
        return self.space.on_paper(self.space.default, self.design)

    def values(self, quality: float, total: Mapping[str, float]) -> tuple[float, ...]:
        """Return the objectives of a trial, all to be minimised."""
        return tuple(-quality if n == QUALITY else float(total[n]) for n in self.objectives)
