"""What a cost model owes: known metrics with a standing, totals that add up, batches that agree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from hwflow.cost import METRICS, Bits, Cost, CostModel
from hwflow.design import Design
from hwflow.machine import Accelerator, load_machine
from hwflow.testing.check import require
from hwflow.testing.toy import toy_workload
from hwflow.workload import Workload

STANDINGS = ("exact", "bound", "estimate", "measured")
COUNTED = ("macs", "params")
"""Metrics that a workload itself counts."""
SHRINKING = ("bit_ops", "frac_ops", "model_bytes", "dram_bytes", "peak_bytes")
"""Metrics that fewer bits never raise."""


def check_cost_model(model: CostModel, on: Accelerator | str = "eyeriss") -> None:
    """Check a cost model on a small workload of convolutions, an add and a linear layer.

    - Every metric is a known one, finite, not negative, and has a standing; totals are the sum (or
      the maximum) of the layers; MACs and parameters are those of the workload.
    - `costs` gives what `cost` gives, and each row of `over_bits` the cost of the workload that has
      these bits.
    - Fewer bits never raise bit operations, sizes or traffic.
    - `digest` does not change.

    Raises CheckError.
    """
    machine = load_machine(on) if isinstance(on, str) else on
    design = Design(toy_workload(), machine)
    workloads = [design.workload.with_one_width(bits) for bits in (8, 4, 2, 1)]
    designs = [design, *map(design.with_workload, workloads)]
    require(isinstance(model.level, str) and bool(model.level), "`level` must be a name.")
    require(model.digest() == model.digest(), "`digest` gives another value every time.")
    single = [model.cost(each) for each in designs]
    for cost, each in zip(single, designs, strict=True):
        _check_cost(cost, each.workload)
    for one, many in zip(single, model.costs(designs), strict=True):
        _check_same("`costs` and `cost`", many, one)
    table = model.over_bits(design, Bits.of([each.workload for each in designs]))
    require(len(table) == len(designs), f"`over_bits` gives {len(table)} rows for {len(designs)}.")
    for row, one in enumerate(single):
        _check_same(f"Row {row} of `over_bits` and `cost`", table[row], one)
    for wide, narrow in pairwise(single):
        _check_shrinks(wide, narrow)


def _check_cost(cost: Cost, workload: Workload) -> None:
    names = [layer.name for layer in cost.layers]
    require(names == [x.name for x in workload], "Layers are not those of the workload, in order.")
    require(bool(cost.total), "The total holds no metric.")
    for name, value in cost.total.items():
        require(name in METRICS, f"{name!r} is no metric. Known: {', '.join(METRICS)}.")
        require(cost.standing.get(name) in STANDINGS, f"{name} has no standing of {STANDINGS}.")
        rows = [value, *(layer.values.get(name, 0.0) for layer in cost.layers)]
        sound = all(np.isfinite(v) and v >= 0 for v in rows)
        require(sound, f"{name} has a value that is negative or not finite: {min(rows)}.")
        _check_total(name, value, rows[1:])
    for name in COUNTED:
        if name in cost.total:
            expected = getattr(workload, name)
            require(
                cost.total[name] == expected, f"{name} is {cost.total[name]}, counted {expected}."
            )


def _check_total(name: str, total: float, layers: Sequence[float]) -> None:
    kind = METRICS[name].total
    if kind == "own":
        return
    expected = sum(layers) if kind == "sum" else max(layers)
    require(
        bool(np.isclose(total, expected, rtol=1e-9)),
        f"{name} is {total:g} in total, but the {kind} of the layers is {expected:g}.",
    )


def _check_same(what: str, left: Cost, right: Cost) -> None:
    require(left.total.keys() == right.total.keys(), f"{what} give different metrics.")
    pairs = [("the total", left.total, right.total)]
    pairs += [(a.name, a.values, b.values) for a, b in zip(left.layers, right.layers, strict=True)]
    for where, one, other in pairs:
        for name in one:
            require(
                bool(np.isclose(one[name], other[name], rtol=1e-9)),
                f"{what} differ in {name} of {where}: {one[name]:g} and {other[name]:g}.",
            )


def _check_shrinks(wide: Cost, narrow: Cost) -> None:
    for name in SHRINKING:
        if name in wide.total and wide.standing[name] != "measured":
            require(
                narrow.total[name] <= wide.total[name] * (1 + 1e-9),
                f"{name} grows from {wide.total[name]:g} to {narrow.total[name]:g} at fewer bits.",
            )
