"""A problem: all that a solver may know. Space, design, cost model, limits and objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from hwflow.cost import (
    METRICS,
    Bits,
    Cost,
    CostModel,
    Costs,
    Floats,
    Ints,
    Limits,
    Standing,
    metric,
)
from hwflow.design import Design
from hwflow.errors import HwflowError, MachineError
from hwflow.machine import Accelerator, load_machine
from hwflow.space import BitsPart, Plan, Space

QUALITY = "accuracy"
"""The objective that stands for the quality, whatever the task's metric is; higher is better."""

SIZES = ("area_um2", "luts", "brams")
"""Metrics of the machine itself, whatever runs on it."""


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
        self._check_given([name for name, _ in self.below.items()])
        self._check_given(self.cost_names)

    def _check_given(self, names: Sequence[str]) -> None:
        """Raise HwflowError for a limit or an objective that the cost model does not give."""
        known = getattr(self.cost, "standing", None)
        for name in names:
            if known is not None and name not in known and name not in SIZES[1:]:
                given = ", ".join(METRICS[n].short for n in METRICS if n in known)
                raise HwflowError(
                    f"The {self.cost.level} level gives no {METRICS[name].short} on "
                    f"{self.machine.name}, so it can be neither limited nor minimised there. It "
                    f"gives {given}."
                )

    @property
    def machine(self) -> Accelerator:
        """The machine."""
        assert not isinstance(self.on, str)  # __post_init__ has loaded it
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
        designs = self._designs(plans)
        sizes = self._sizes([design.machine for design in designs])
        standing: dict[str, Standing] = dict.fromkeys(sizes, "estimate")
        return [
            replace(
                cost,
                total={**cost.total, **{name: float(sizes[name][row]) for name in sizes}},
                standing={**cost.standing, **standing},
            )
            for row, cost in enumerate(self.cost.costs(designs))
        ]

    def total(self, plan: Plan) -> dict[str, float]:
        """Return the total costs of one plan by metric name."""
        return {name: float(values[0]) for name, values in self.totals([plan]).items()}

    def totals(self, plans: Sequence[Plan]) -> dict[str, Floats]:
        """Return total costs by metric name, arrays of shape (plans,)."""
        table = self.bit_costs(plans) if plans else None
        if table is not None:
            return dict(table.total)
        if len(plans) == 1:  # a solver's step: without the costs by layer
            design = self._designs(plans)[0]
            found = self.cost.over_bits(design, Bits.of([design.workload]))
            return dict(found.total) | self._sizes([design.machine])
        rows = [cost.total for cost in self.costs(plans)]
        return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}

    @cached_property
    def original(self) -> dict[str, float]:
        """Total costs of the pristine network on the machine as it is."""
        sizes = {name: float(values[0]) for name, values in self._sizes([self.machine]).items()}
        return {**self.cost.cost(self.design).total, **sizes}

    def bit_costs(self, plans: Sequence[Plan]) -> Costs | None:
        """Cost plans in an array call per machine, or None where more than bits changes.

        Choices of the machine may be among them: plans of one machine are costed at once.
        """
        open_parts = [part for part in self.space.of_network.parts if part.choices]
        if len(open_parts) != 1 or not isinstance(open_parts[0], BitsPart):
            return None
        networks = [self.on_machine(plan)[0] for plan in plans]
        bits: Bits = open_parts[0].bits(self._base.workload, networks)
        machines = [self.on_machine(plan)[1] for plan in plans]
        parts = [
            (rows, self.cost.over_bits(replace(self._base, machine=machines[rows[0]]), bits[rows]))
            for rows in _alike(machines)
        ]
        table = parts[0][1] if len(parts) == 1 else Costs.merged(parts)
        sizes = self._sizes(machines)
        standing: dict[str, Standing] = dict.fromkeys(sizes, "estimate")
        return replace(
            table, total={**table.total, **sizes}, standing={**table.standing, **standing}
        )

    def on_machine(self, plan: Plan) -> tuple[Plan, Accelerator]:
        """Return a plan's choices of the network, and the machine that its other choices make."""
        own = len(self.space.of_network)
        chosen = tuple(plan[own:])
        if chosen not in self._machines:
            machine = self.space.of_machine.on_paper(chosen, self.design).machine
            self._machines[chosen] = machine
        return tuple(plan[:own]), self._machines[chosen]

    @cached_property
    def _machines(self) -> dict[Plan, Accelerator]:
        """The machines that were asked for, by the choices that make them."""
        return {}

    @cached_property
    def _base(self) -> Design:
        """The design of the default plan: the workload that bit assignments are rows of."""
        return self.space.on_paper(self.space.default, self.design)

    def _designs(self, plans: Sequence[Plan]) -> list[Design]:
        """Return the designs of plans; a network on several machines is edited once."""
        known: dict[Plan, Design] = {}
        found = []
        for plan in plans:
            own, machine = self.on_machine(plan)
            if own not in known:
                known[own] = self.space.of_network.on_paper(own, self.design)
            found.append(replace(known[own], machine=machine))
        return found

    def _sizes(self, machines: Sequence[Accelerator]) -> dict[str, Floats]:
        """Return area, LUTs and block RAMs of machines, those that are asked for."""
        if not self._size_names:
            return {}
        known: dict[int, tuple[float, ...]] = {}
        for machine in machines:
            if id(machine) not in known:
                known[id(machine)] = tuple(size(machine, name) for name in self._size_names)
        rows = np.array([known[id(machine)] for machine in machines])
        return {name: rows[:, column] for column, name in enumerate(self._size_names)}

    @cached_property
    def _size_names(self) -> tuple[str, ...]:
        """What of the machine itself is a cost here: what is asked for, and its area if it varies.

        While the machine is fixed, the area is what the cost model says of the bits.
        """
        varies = len(self.space.of_machine) > 0
        asked = {*self.objectives, *(name for name, _ in self.below.items())} & set(SIZES)
        if not varies:
            asked.discard("area_um2")
        elif not self.machine.area_lacks():
            asked.add("area_um2")
        return tuple(name for name in SIZES if name in asked)

    def values(self, quality: float, total: Mapping[str, float]) -> tuple[float, ...]:
        """Return the objectives of a trial, all to be minimised."""
        return tuple(-quality if n == QUALITY else float(total[n]) for n in self.objectives)


def size(machine: Accelerator, name: str) -> float:
    """Return one of SIZES; MachineError names what the machine lacks to have it."""
    if name == "area_um2":
        lacks = machine.area_lacks()
        if not lacks:
            return machine.area_um2()
        figures = " and ".join(f"{one}.size or {one}.area" for one in lacks)
        raise MachineError(
            f"The area of {machine.name} is not known: {', '.join(lacks)} is unlimited. Give "
            f"{figures} in its file, or leave area out of objectives and limits."
        )
    found = machine.fpga_resources()
    if found is None:
        raise MachineError(
            f"{machine.name} has no {name}: only machines whose engine is bismo state what they "
            f"take on an FPGA, this one's is {machine.engine.kind}. Use area instead."
        )
    return float(getattr(found, name))


def _alike(machines: Sequence[Accelerator]) -> list[Ints]:
    """Return the rows of each machine, in the order in which they come first."""
    rows: dict[int, list[int]] = {}
    for row, machine in enumerate(machines):
        rows.setdefault(id(machine), []).append(row)
    return [np.array(found, np.int64) for found in rows.values()]
