"""A plan's cost as a sum of small terms: what one layer costs under the few choices it depends on.

    table = TermTable(problem)
    table.total(plan)["latency_s"]
    table.delta(plan, place, option)["latency_s"]     # re-costs only the terms that hold the place

A term keeps what its layer costs under each setting of its places that was asked for, so a plan of
known terms is costed by additions alone. Metrics that are no sums over layers (peak memory, area)
are left out; what belongs to no layer, such as loose parameters, is a term of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from math import prod
from operator import mul
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from hwflow.cost import METRICS, Floats, Ints
from hwflow.costs.arrays import LOOSE
from hwflow.costs.terms import (
    NETWORK,
    Settings,
    Term,
    active,
    apart,
    by_choice,
    by_layer,
    crossed,
    swapped,
    terms,
)
from hwflow.errors import HwflowError
from hwflow.files import whole
from hwflow.problem import Problem
from hwflow.space import Plan

__all__ = ["NETWORK", "Term", "TermTable", "terms"]

ROUNDING = 1e-12
"""Share of a total below which what the layers leave over is rounding."""

APART = 1e-9
"""Share of a total by which a sum over choices may be off: more, and terms are sought by layer."""

VERSION = 1


class TermTable:
    """The terms of a problem and what is known of their costs so far."""

    def __init__(self, problem: Problem) -> None:
        """Find the terms. Raises HwflowError when the cost model gives no metric that adds up."""
        self.problem = problem
        total = problem.costs([problem.space.default])[0].total
        self.metrics = tuple(name for name in total if METRICS[name].total != "max")
        if not self.metrics:
            raise HwflowError(f"The cost model {problem.cost.level!r} gives nothing that adds up.")
        self._apart = apart(problem)
        self._begin()
        if self._apart is not None and max(self.error(crossed(problem.space)).values()) > APART:
            self._apart = None
            self._begin()

    def _begin(self) -> None:
        """Find the terms; nothing is known of them yet."""
        for name in ("_shapes", "_strides", "_holding"):  # what was derived from other terms
            self.__dict__.pop(name, None)
        whole = self._apart is not None
        self.terms = by_choice(self.problem) if whole else by_layer(self.problem)
        self._rows: list[dict[int, Floats]] = [{} for _ in self.terms]
        index = {term.layer: index for index, term in enumerate(self.terms)}
        self._network = index[NETWORK]
        owners = {} if self._apart is None else self._apart.owners
        self._index = {name: index[choice] for name, choice in owners.items()} if whole else index
        """The term that each layer belongs to; others belong to the network as a whole."""

    def __len__(self) -> int:
        """Return how many entries are known."""
        return sum(map(len, self._rows))

    @property
    def entries(self) -> int:
        """How many entries the table has when all are known."""
        return sum(map(prod, self._shapes))

    @property
    def widest(self) -> int:
        """How many entries the largest term has."""
        return max(map(prod, self._shapes), default=0)

    def total(self, plan: Sequence[int]) -> dict[str, float]:
        """Return the cost of a plan by metric, SI units: that of ``problem.totals``, to rounding.

        Raises HwflowError for a plan of another space.
        """
        return self._named(self._sum(self.problem.space.canonical(plan), range(len(self.terms))))

    def totals(self, plans: Sequence[Sequence[int]]) -> dict[str, Floats]:
        """Return the costs of many plans, arrays of shape (plans,) by metric."""
        summed = np.zeros((len(plans), len(self.metrics)))
        if plans:
            canonical = [self.problem.space.canonical(plan) for plan in plans]
            settings = self._settings(canonical)
            self._fill(canonical, settings)
            for rows, found in zip(self._rows, settings, strict=True):
                summed += np.array([rows[key] for key in found.keys])[found.place]
        return {name: summed[:, column] for column, name in enumerate(self.metrics)}

    def delta(self, plan: Sequence[int], place: int, option: int) -> dict[str, float]:
        """Return what a change of one choice adds to the cost, by metric; below 0 it is saved."""
        space = self.problem.space
        before = space.canonical(plan)
        after = space.canonical(swapped(before, place, option))
        moved = [i for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        touched = sorted({index for i in moved for index in self._holding[i]})
        return self._named(self._sum(after, touched) - self._sum(before, touched))

    def table(self, index: int) -> Floats:
        """Return all of one term, shape (options of each of its places, metrics).

        What is not known yet is found, in batches, with the other places at their defaults.
        """
        shape = self._shapes[index]
        plans = {options: self._with(index, options) for options in product(*map(range, shape))}
        self.totals(list(plans.values()))
        values = [self._rows[index][self._key(index, plan)] for plan in plans.values()]
        return np.array(values).reshape(*shape, len(self.metrics))

    def fill(self) -> None:
        """Find all there is to know where every term hangs on one place: in few plans, else none.

        Each plan shows one option at every place, so there are as many as the largest has options.
        """
        choices = self.problem.space.choices
        alone = all(len(term.places) <= 1 for term in self.terms)
        if alone and all(choice.only_if is None for choice in choices):
            sizes = [len(choice.options) for choice in choices]
            self.totals([tuple(k % size for size in sizes) for k in range(max(sizes, default=0))])

    def error(self, plans: Sequence[Plan]) -> dict[str, float]:
        """Return by what share the sum of terms is off at worst, by metric: 0 where it is exact."""
        true, summed = self.problem.totals(plans), self.totals(plans)
        return {
            name: float(np.max(np.abs(summed[name] - true[name]) / _scale(true[name]), initial=0.0))
            for name in self.metrics
        }

    def save(self, path: Path | str) -> None:
        """Write what is known to an .npz file that :meth:`load` reads; replaced in one step."""
        held: dict[str, Any] = {"header": np.array(json.dumps(self._header()))}
        for index, rows in enumerate(self._rows):
            options = [self._options(index, key) for key in rows]
            held[f"options{index}"] = np.array(options, np.int64).reshape(
                len(rows), len(self._shapes[index])
            )
            values = np.array(list(rows.values()), np.float64)
            held[f"values{index}"] = values.reshape(len(rows), len(self.metrics))
        with whole(Path(path)) as part, part.open("wb") as file:
            np.savez_compressed(file, **held)

    @classmethod
    def load(cls, path: Path | str, problem: Problem) -> TermTable:
        """Return the table of a problem with what a file knows of it.

        Raises HwflowError when the file cannot be read, or is of another workload, machine, cost
        model or space.
        """
        table = cls(problem)
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as held:
                table._check_header(path, json.loads(str(held["header"])))
                for index in range(len(table.terms)):
                    table._take(index, held[f"options{index}"], held[f"values{index}"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise HwflowError(
                f"{path} is no table of terms that can be read: {error}. Give the file that "
                "TermTable.save wrote, or start without one."
            ) from error
        return table

    def _header(self) -> dict[str, Any]:
        problem = self.problem
        base = problem.space.on_paper(problem.space.default, problem.design).workload
        kinds = [part.kind for part in problem.space.parts]
        space = json.dumps([kinds, problem.space.describe(), base.digest()])
        return {
            "version": VERSION,
            "workload": problem.space.workload.digest(),
            "machine": problem.machine.digest(),
            "cost model": problem.cost.digest(),
            "space": hashlib.sha256(space.encode()).hexdigest(),
            "metrics": list(self.metrics),
            "terms": [[term.layer, list(term.places)] for term in self.terms],
        }

    def _check_header(self, path: Path | str, header: Mapping[str, Any]) -> None:
        for name, own in self._header().items():
            given = header.get(name)
            if given != own:
                raise HwflowError(
                    f"The table {path} is of another {name} ({str(given)[:12]} there, "
                    f"{str(own)[:12]} here), so its costs mean nothing here. "
                    "Use one file per problem."
                )

    def _take(self, index: int, options: Ints, values: Floats) -> None:
        """Put a file's rows of one term in; raises ValueError for what the term cannot have."""
        name, shape = repr(self.terms[index].layer), self._shapes[index]
        if options.shape != (len(values), len(shape)) or values.shape[1:] != (len(self.metrics),):
            raise ValueError(f"its arrays of {name} have shapes {options.shape}, {values.shape}")
        if (options < 0).any() or (options >= np.array(shape, np.int64)).any():
            raise ValueError(f"options of {name} that the space does not have")
        if not np.isfinite(values).all():
            raise ValueError(f"costs of {name} that are not finite")
        strides = self._strides[index]
        for row, value in zip(options.tolist(), values, strict=True):
            self._rows[index][sum(map(mul, row, strides))] = value

    @cached_property
    def _shapes(self) -> list[tuple[int, ...]]:
        choices = self.problem.space.choices
        return [tuple(len(choices[p].options) for p in term.places) for term in self.terms]

    @cached_property
    def _strides(self) -> list[list[int]]:
        """A setting's key is its options in mixed radix, the last place fastest."""
        return [[prod(shape[i + 1 :]) for i in range(len(shape))] for shape in self._shapes]

    @cached_property
    def _holding(self) -> list[list[int]]:
        """The terms that hold each place."""
        places = range(len(self.problem.space))
        return [[i for i, term in enumerate(self.terms) if p in term.places] for p in places]

    def _key(self, index: int, plan: Plan) -> int:
        strides = self._strides[index]
        return sum(plan[p] * s for p, s in zip(self.terms[index].places, strides, strict=True))

    def _options(self, index: int, key: int) -> list[int]:
        pairs = zip(self._strides[index], self._shapes[index], strict=True)
        return [key // stride % options for stride, options in pairs]

    def _settings(self, plans: Sequence[Plan]) -> list[Settings]:
        small = max(map(prod, self._shapes)) < 2**62
        matrix = np.array(plans, np.int64 if small else object).reshape(len(plans), -1)
        return [
            Settings.of(matrix, term.places, strides)
            for term, strides in zip(self.terms, self._strides, strict=True)
        ]

    def _named(self, values: Floats) -> dict[str, float]:
        return dict(zip(self.metrics, values.tolist(), strict=True))

    def _sum(self, plan: Plan, which: Sequence[int]) -> Floats:
        keys = [self._key(index, plan) for index in which]
        if not all(key in self._rows[index] for index, key in zip(which, keys, strict=True)):
            self._fill([plan], self._settings([plan]))
        summed = np.zeros(len(self.metrics))
        for index, key in zip(which, keys, strict=True):
            summed += self._rows[index][key]
        return summed

    def _fill(self, plans: Sequence[Plan], settings: Sequence[Settings]) -> None:
        """Cost, at once, those of the plans that show a setting which is not known yet."""
        wanted = {
            row
            for rows, found in zip(self._rows, settings, strict=True)
            for key, row in zip(found.keys, found.shown_by, strict=True)
            if key not in rows
        }
        if not wanted:
            return
        chosen = [plans[row] for row in sorted(wanted)]
        values = self._costed(chosen)
        for index, rows in enumerate(self._rows):
            for plan, value in zip(chosen, values[:, index], strict=True):
                rows.setdefault(self._key(index, plan), value)

    def _costed(self, plans: Sequence[Plan]) -> Floats:
        """Return what each term adds to plans' costs, shape (plans, terms, metrics)."""
        values = np.zeros((len(plans), len(self.terms), len(self.metrics)))
        table = self.problem.bit_costs(plans)
        if table is not None:
            columns = [self._index[layer.name] for layer in table.workload]
            for number, name in enumerate(self.metrics):
                values[:, columns, number] = table.layers[name]
            whole = np.stack([table.total[name] for name in self.metrics], axis=1)
        else:
            costs = self.problem.costs(plans)
            whole = np.array([[cost.total[name] for name in self.metrics] for cost in costs])
            for row, cost in enumerate(costs):
                for layer in cost.layers:
                    own = [layer.values.get(name, 0.0) for name in self.metrics]
                    values[row, self._index.get(layer.name, self._network)] += own
            self._add_loose(plans, values)
        rest = whole - values.sum(axis=1)
        rest[np.abs(rest) <= ROUNDING * np.abs(whole)] = 0.0
        values[:, self._network] += rest
        return values

    def _add_loose(self, plans: Sequence[Plan], values: Floats) -> None:
        """Add, to terms of choices, the parameters beside layers that their options bring."""
        if self._apart is None:
            return
        factors = np.array([LOOSE.get(name, 0.0) for name in self.metrics])
        for index, term in enumerate(self.terms):
            if term.places:
                counts = np.array(self._apart.loose[term.layer])
                chosen = [plan[term.places[0]] for plan in plans]
                values[:, index] += counts[chosen, None] * factors

    def _with(self, index: int, options: Sequence[int]) -> Plan:
        """Return a plan with these options at a term's places, conditional ones made active."""
        space, places = self.problem.space, self.terms[index].places
        plan = space.default
        for place in places:
            plan = next(active(space, plan, place))
        for place, option in zip(places, options, strict=True):
            plan = swapped(plan, place, option)
        return space.canonical(plan)


def _scale(values: Floats) -> Floats:
    return np.where(values == 0, 1.0, np.abs(values))
