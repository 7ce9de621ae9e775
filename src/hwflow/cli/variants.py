"""The machine's own figures as choices: the option --vary, and a table of what variants cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwflow.errors import HwflowError
from hwflow.units import show

if TYPE_CHECKING:
    from rich.table import Table

    from hwflow.cost import CostModel
    from hwflow.edits.resize import Given
    from hwflow.machine import Accelerator
    from hwflow.space import Plan, Space, Value
    from hwflow.workload import Workload

Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--vary", metavar="FIGURE=VALUES",
        help="Figure of the machine to choose, such as array.rows=8,16,32, GLB.size=32KiB:256KiB:x2"
        " or engine=bitfusion,simd-16; repeatable.",
    ),
]  # fmt: skip

MOST = 1000
"""Variants in one table."""

_COLUMNS = ("latency_s", "energy_j", "dram_bytes", "area_um2")


def read_vary(texts: Sequence[str]) -> dict[str, tuple[Given, ...]]:
    """Read the values of each figure; HwflowError for what cannot be read."""
    from hwflow.edits import resize

    return resize.read_vary(texts)


def variants(
    workload: Workload, machine: Accelerator, vary: Sequence[str], model: CostModel
) -> list[dict[str, Any]]:
    """Return what a workload costs on every variant of a machine, the smallest first.

    Each has its figures, its costs, and whether no other is better in latency, energy and area.
    """
    from hwflow.edits.resize import PREFIX, resize
    from hwflow.plans import distinct_plans
    from hwflow.problem import Problem

    space = resize(workload, machine, read_vary(vary))
    if space.size > MOST:
        raise HwflowError(
            f"{space.size:,} variants do not fit a table of {MOST:,}: give fewer values, or let "
            "`hwflow search --vary` choose."
        )
    plans = list(distinct_plans(space))
    totals = Problem(space, machine, model).totals(plans)
    names = [name for name in _COLUMNS if name in totals]
    rows = [
        {
            "choices": {k.removeprefix(PREFIX): v for k, v in _active(space, plan).items()},
            **{name: float(totals[name][row]) for name in names},
        }
        for row, plan in enumerate(plans)
    ]
    return sorted(_with_best(rows), key=lambda row: [row.get("area_um2", 0), row["latency_s"]])


def _active(space: Space, plan: Plan) -> dict[str, Value]:
    """Return the figures of a variant, without those that its engine does not have."""
    named = enumerate(space.values(plan).items())
    return {name: value for place, (name, value) in named if space.active(place, plan)}


def _with_best(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    import numpy as np

    from hwflow.front import non_dominated

    names = [name for name in ("latency_s", "energy_j", "area_um2") if name in rows[0]]
    best = set(non_dominated(np.array([[row[name] for name in names] for row in rows])))
    return [row | {"unbeaten": index in best} for index, row in enumerate(rows)]


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return variants as a table for the screen."""
    from rich.table import Table

    from hwflow.cost import METRICS

    names = [name for name in _COLUMNS if name in rows[0]]
    found = Table(title="* no variant is better in latency, energy and area together")
    found.add_column("", min_width=1, no_wrap=True)
    paths = list(dict.fromkeys(path for row in rows for path in row["choices"]))
    for path in paths:
        found.add_column(path, justify="right", overflow="fold")  # the long names give way first
    for name in names:
        found.add_column(METRICS[name].short, justify="right", no_wrap=True)
    for row in rows:
        figures = [show(row[name], METRICS[name].unit) for name in names]
        choices = [_shown(row["choices"].get(path, "-")) for path in paths]
        found.add_row("*" if row["unbeaten"] else "", *choices, *figures)
    return found


def _shown(value: object) -> str:
    """Write a figure; the machine's own sizes come in bytes and are shown in KiB where whole."""
    number, _, unit = str(value).partition(" ")
    if unit == "B" and float(number) % 1024 == 0:
        return f"{float(number) / 1024:g} KiB"
    return str(value)
