"""What the agent sees before each decision, every entry scaled to about [0, 1].

AMC's entries (ECCV 2018): index, type of layer, input and output channels, stride, kernel, weights,
what was saved so far, what is left to decide, last action. The channels, kernel and weights are
logarithms. HAQ's entry (CVPR 2019): 1 where the bits of a weight are decided, 0 elsewhere.
HW-Flow's hardware entries, from the cost model's own level (zero where it does not give them, so
that an agent can move from level to level), as shares of the original network: energy, latency and
DRAM traffic of the layers concerned; what was saved and what is left of each; utilisation of the
array; computation-to-communication ratio over the ridge point; and the local derivative: the
latency that the next leaner option saves, a staircase on arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log2, prod
from typing import NamedTuple

import numpy as np

from hwflow.cost import Floats
from hwflow.problem import Problem
from hwflow.solvers.steps import Step, described, swapped
from hwflow.space import Plan
from hwflow.workload import Layer, Workload

HARDWARE = ("latency_s", "energy_j", "dram_bytes")

_KINDS = ("replace", "prune", "fuse", "quantize", "resize", "finetune")
"""Kinds of edit, numbered in fifths; new ones at the end, as agents that were kept know these."""

_WEIGHT = "weight_bits:"
"""Begins the names of choices that are of a weight."""

_OPERATORS = ("conv", "depthwise", "conv_transpose", "linear", "matmul")


class _Costs(NamedTuple):
    """What a plan costs."""

    total: Mapping[str, float]
    layers: Mapping[str, Mapping[str, float]]
    """By name, those that are left."""


@dataclass(frozen=True)
class State:
    """Builds the vector of entries; `hardware` adds HW-Flow's to AMC's."""

    problem: Problem
    steps: tuple[Step, ...]
    hardware: bool = True

    @property
    def size(self) -> int:
        """Entries of a state."""
        return len(_STATIC) + 3 + (len(HARDWARE) * 3 + 3 if self.hardware else 0)

    def of(self, plan: Plan, number: int, last_action: float) -> Floats:
        """Return the state before step `number`; later choices of `plan` are at their default."""
        cost = self._cost(plan)
        entries = [*self._static[number], *self._progress(cost, number, "bit_ops"), last_action]
        if self.hardware:
            entries += self._hardware(plan, cost, number)
        return np.clip(np.array(entries, np.float64), -1.0, 2.0)

    @cached_property
    def _start(self) -> _Costs:
        return self._cost(self.problem.space.default)

    @cached_property
    def _base(self) -> Workload:
        """The network under the default plan, whose layers the steps name by position."""
        return self.problem.space.on_paper(self.problem.space.default, self.problem.design).workload

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(layer.name for layer in self._base)

    @cached_property
    def _static(self) -> Floats:
        rows = [
            _described(
                described(self._base, step), step, self._kind(step), number / len(self.steps)
            )
            for number, step in enumerate(self.steps)
        ]
        table = np.array(rows).reshape(len(rows), len(_STATIC))
        scaled: Floats = table / np.maximum(table.max(axis=0, initial=0.0), 1.0)
        return scaled

    @cached_property
    def _undecided(self) -> tuple[frozenset[int], ...]:
        """Layers of the steps from each number on."""
        left: list[frozenset[int]] = [frozenset()]
        for step in reversed(self.steps):
            left.append(left[-1] | frozenset(step.layers))
        return tuple(reversed(left))

    def _kind(self, step: Step) -> float:
        start = 0
        for part in self.problem.space.parts:
            start += len(part.choices)
            if step.place < start:
                return (_KINDS.index(part.kind) + 1) / 5
        return 0.0

    def _cost(self, plan: Plan) -> _Costs:
        cost = self.problem.costs([plan])[0]
        return _Costs(cost.total, {layer.name: layer.values for layer in cost.layers})

    def _progress(self, cost: _Costs, number: int, name: str) -> tuple[float, float]:
        """Return the shares of a metric that were saved, and that the open steps' layers take."""
        total = self._start.total.get(name, 0.0)
        if not total:
            return 0.0, 0.0
        rest = self._at(cost, self._undecided[number], name)
        return 1 - cost.total[name] / total, rest / total

    def _at(self, cost: _Costs, places: Iterable[int], name: str) -> float:
        """Return a metric of layers of the default plan; of those left out it is 0."""
        known = (cost.layers.get(self._names[place], {}) for place in places)
        return float(sum(layer.get(name, 0.0) for layer in known))

    def _hardware(self, plan: Plan, cost: _Costs, number: int) -> list[float]:
        step = self.steps[number]
        entries: list[float] = []
        for name in HARDWARE:
            here = self._at(cost, step.layers, name)
            whole = self._start.total.get(name, 0.0)
            entries += [here / whole if whole else 0.0, *self._progress(cost, number, name)]
        return [*entries, *self._array(cost, step), self._derivative(plan, cost, step)]

    def _array(self, cost: _Costs, step: Step) -> tuple[float, float]:
        """Return utilisation, and log2 of the CTC ratio over the ridge point in tenths."""
        first = step.layers[:1]
        macs, seconds, moved = (
            self._at(cost, first, name) for name in ("macs", "latency_s", "dram_bytes")
        )
        if not (macs and seconds and moved):
            return 0.0, 0.0
        machine, layer = self.problem.machine, self._base.layers[first[0]]
        peak = float(machine.peak_macs_per_s(layer.weight_bits, layer.input_bits[0]))
        ratio = macs / moved / (peak / machine.dram_bytes_per_s)
        return macs / seconds / peak, log2(ratio) / 10

    def _derivative(self, plan: Plan, cost: _Costs, step: Step) -> float:
        """Return the share of latency (else of bit operations) that one rank less saves."""
        rank = step.order.index(plan[step.place])
        name = HARDWARE[0] if self._start.total.get(HARDWARE[0]) else "bit_ops"
        whole = self._start.total.get(name, 0.0)
        if rank == 0 or not whole:
            return 0.0
        leaner = swapped(self.problem.space, plan, step.place, step.option(rank - 1))
        after = float(self.problem.totals([leaner])[name][0])
        return (cost.total[name] - after) / whole * len(self.steps)


_STATIC = ("index", "kind", "operator", "in", "out", "stride", "kernel", "weights", "options",
           "of_weight")  # fmt: skip


def _described(layer: Layer | None, step: Step, kind: float, index: float) -> list[float]:
    of_weight = float(step.choice.name.startswith(_WEIGHT))
    if layer is None:
        return [index, kind, *(0.0,) * (len(_STATIC) - 4), float(step.options), of_weight]
    return [
        index, kind, _operator(layer), log2(1 + layer.in_channels), log2(1 + layer.out_channels),
        float(layer.stride[0]), log2(1 + prod(layer.kernel)), log2(1 + layer.weights),
        float(step.options), of_weight,
    ]  # fmt: skip


def _operator(layer: Layer) -> float:
    depthwise = layer.op == "conv" and layer.groups > 1 and layer.groups == layer.in_channels
    name = "depthwise" if depthwise else layer.op
    return (_OPERATORS.index(name) + 1.0) if name in _OPERATORS else 0.0


def ranks(steps: Sequence[Step], plan: Plan) -> list[int]:
    """Return the rank of the chosen option at every step."""
    return [step.order.index(plan[step.place]) for step in steps]
