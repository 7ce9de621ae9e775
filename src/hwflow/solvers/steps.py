"""Choices as steps of a walk: in the order of the layers they change, options from lean to rich."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwflow.problem import Problem
from hwflow.space import Choice, Plan, Space
from hwflow.workload import Layer, Workload


@dataclass(frozen=True)
class Step:
    """One decision of an episode."""

    place: int
    """Index of the choice in a plan."""
    choice: Choice
    order: tuple[int, ...]
    """Option indices from the leanest to the richest."""
    layers: tuple[int, ...]
    """Positions of the layers that the choice changes; the first is the one the state describes."""
    free: bool = False
    """Whether it changes neither network nor machine on paper (a length of training): no option
    costs less than another."""

    @property
    def options(self) -> int:
        """How many options there are."""
        return len(self.order)

    def option(self, rank: int) -> int:
        """Return the option index of a rank, 0 being the leanest."""
        return self.order[rank]

    def rank(self, action: float) -> int:
        """Return the rank of an action in [0, 1]: equal shares, as HAQ rounds its bits.

        round(b_min - 0.5 + a (b_max - b_min + 1)), clipped (HAQ, CVPR 2019).
        """
        return min(int(action * self.options), self.options - 1)

    def action(self, rank: int) -> float:
        """Return the action in the middle of a rank's share."""
        return (rank + 0.5) / self.options


def steps_of(problem: Problem) -> tuple[Step, ...]:
    """Return the steps of an episode; choices of a single option are no steps."""
    space = problem.space
    design = space.on_paper(space.default, problem.design)
    base = design.workload
    found = []
    for place, choice in enumerate(space.choices):
        if len(choice.options) < 2:
            continue
        plan = _farthest(space, place)
        after = space.on_paper(plan, problem.design)
        free = after == design and plan != space.default
        layers = _changed(base, after.workload)
        found.append(Step(place, choice, _order(problem, place), layers, free))
    return tuple(sorted(found, key=lambda step: (step.layers[:1] or (len(base),), step.place)))


def actions(steps: Sequence[Step], plan: Plan) -> list[float]:
    """Return the actions in [0, 1] that walk along a plan."""
    return [step.action(step.order.index(plan[step.place])) for step in steps]


def swapped(space: Space, plan: Plan, place: int, option: int) -> Plan:
    """Return the plan with another option at one place."""
    return space.canonical((*plan[:place], option, *plan[place + 1 :]))


def _order(problem: Problem, place: int) -> tuple[int, ...]:
    """Return options by value where they are numbers, else by what each costs alone."""
    options = problem.space.choices[place].options
    if all(isinstance(value, int | float) for value in options):
        return tuple(sorted(range(len(options)), key=lambda index: options[index]))
    start = problem.space.default
    plans = [swapped(problem.space, start, place, index) for index in range(len(options))]
    totals = problem.totals(plans)
    name = next((name for name, _ in problem.below.items()), _first(totals))
    return tuple(int(index) for index in np.argsort(totals[name], kind="stable"))


def _first(totals: Mapping[str, object]) -> str:
    return next(name for name in ("latency_s", "energy_j", "bit_ops", *totals) if name in totals)


def _farthest(space: Space, place: int) -> Plan:
    """Return the default plan with the option of one choice that lies farthest from its own."""
    choice = space.choices[place]
    other = max(range(len(choice.options)), key=lambda index: abs(index - choice.default))
    return swapped(space, space.default, place, other)


def _changed(base: Workload, after: Workload) -> tuple[int, ...]:
    """Return the layers that a choice changes, MAC layers first, as any option shows."""
    now = {layer.name: layer for layer in after}
    changed = [i for i, layer in enumerate(base) if now.get(layer.name) != layer]
    return tuple(sorted(changed, key=lambda index: (not base.layers[index].is_mac, index)))


def described(base: Workload, step: Step) -> Layer | None:
    """Return the layer that stands for a step in the state."""
    return base.layers[step.layers[0]] if step.layers else None
