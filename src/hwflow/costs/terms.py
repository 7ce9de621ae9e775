"""Which places of a plan each layer's cost depends on, found on paper.

Latency, energy or traffic of a layer follow from the layer alone: its shapes, its bits and those of
the tensors it reads and writes. So a layer depends on the choices that change its description.
Where each choice changes a place of its own (operations at sites), what it changes is one term.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hwflow.cost import Ints
from hwflow.problem import Problem
from hwflow.space import Apart, BitsPart, Local, Plan, Space

NETWORK = ""
"""Stands for the layer in the term of what belongs to no layer, such as loose parameters."""

SAMPLES = 3
"""Random plans from which dependences are sought too, where edits change more than bits."""


class Term(NamedTuple):
    """One layer, and the places of a plan that its cost depends on."""

    layer: str
    """Its name; that of a choice for all layers that belong to the choice alone."""
    places: tuple[int, ...]


def terms(problem: Problem) -> tuple[Term, ...]:
    """Return the terms that make up a plan's cost.

    One for every choice where each changes a place of its own, and one for the rest of the network;
    else one for every layer that some plan has (:func:`by_layer`).
    """
    return by_layer(problem) if apart(problem) is None else by_choice(problem)


def apart(problem: Problem) -> Apart | None:
    """Return what belongs to each choice where all choices change places of their own."""
    parts = [part for part in problem.space.parts if part.choices]
    if len(parts) != 1 or not isinstance(parts[0], Local):
        return None
    return parts[0].apart(problem.space.workload)


def by_choice(problem: Problem) -> tuple[Term, ...]:
    """Return one term for each choice, and one for what belongs to none."""
    named = (Term(choice.name, (i,)) for i, choice in enumerate(problem.space.choices))
    return (Term(NETWORK, ()), *named)


def by_layer(problem: Problem) -> tuple[Term, ...]:
    """Return one term for every layer that some plan has, with the places it depends on.

    Found on paper: one choice is changed at a time, and a layer that differs then depends on it.
    From the default plan this finds every dependence of bits. Where edits change more (an operation
    is replaced, and then its bits count), a few random plans are started from as well. A dependence
    that only a rare combination shows is missed; TermTable.error tells.
    """
    held: dict[str, set[int]] = {name: set() for name in _on_paper(problem, problem.space.default)}
    for start in _starts(problem):
        for place in range(len(problem.space)):
            for plan in active(problem.space, start, place):
                for name in _differing(problem, plan, place):
                    held.setdefault(name, set()).add(place)
    return tuple(Term(name, tuple(sorted(places))) for name, places in held.items())


def _starts(problem: Problem) -> list[Plan]:
    space = problem.space
    if all(isinstance(part, BitsPart) for part in space.parts if part.choices):
        return [space.default]
    rng = random.Random(0)
    return list(dict.fromkeys([space.default, *(space.sample(rng) for _ in range(SAMPLES))]))


def active(space: Space, plan: Plan, place: int) -> Iterator[Plan]:
    """Yield `plan` with the choice at `place` made active, in each way that its parent allows."""
    condition = space.choices[place].only_if
    if condition is None:
        yield plan
        return
    parent = next(i for i, choice in enumerate(space.choices) if choice.name == condition[0])
    for start in active(space, plan, parent):
        for option, value in enumerate(space.choices[parent].options):
            if value in condition[1]:
                yield swapped(start, parent, option)


def _differing(problem: Problem, plan: Plan, place: int) -> set[str]:
    """Return the layers that any other option at `place` changes, adds or takes away."""
    before = _on_paper(problem, plan)
    found: set[str] = set()
    for option in range(len(problem.space.choices[place].options)):
        if option != plan[place]:
            after = _on_paper(problem, swapped(plan, place, option))
            names = before.keys() | after.keys()
            found.update(name for name in names if before.get(name) != after.get(name))
    return found


def _on_paper(problem: Problem, plan: Plan) -> dict[str, object]:
    workload = problem.space.on_paper(plan, problem.design).workload
    return {NETWORK: workload.loose_params, **{layer.name: layer for layer in workload}}


def swapped(plan: Plan, place: int, option: int) -> Plan:
    """Return the plan with another option at one place; it need not be canonical."""
    return (*plan[:place], option, *plan[place + 1 :])


def crossed(space: Space) -> list[Plan]:
    """Return two random plans, and one that has every other option from the second."""
    rng = random.Random(0)
    first, second = space.sample(rng), space.sample(rng)
    pairs = enumerate(zip(first, second, strict=True))
    return [first, second, space.canonical([pair[place % 2] for place, pair in pairs])]


@dataclass(frozen=True)
class Settings:
    """The distinct settings of one term's places in some plans."""

    keys: list[int]
    shown_by: list[int]
    """A plan that has each."""
    place: Ints
    """Which of them each plan has."""

    @classmethod
    def of(cls, matrix: np.ndarray, places: Sequence[int], strides: Sequence[int]) -> Settings:
        """Return those of `places` in a matrix of plans, shape (plans, choices)."""
        if not places:
            return cls([0], [0], np.zeros(len(matrix), np.int64))
        keys = matrix[:, list(places)] @ np.array(strides, matrix.dtype)
        kinds, first, place = np.unique(keys, return_index=True, return_inverse=True)
        return cls(kinds.tolist(), first.tolist(), place)
