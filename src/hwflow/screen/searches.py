"""Fronts of searches, and searches side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from hwflow.cost import METRICS
from hwflow.front import Front, Trial
from hwflow.plans import spread
from hwflow.problem import QUALITY
from hwflow.screen.base import out, plain_table
from hwflow.units import show

if TYPE_CHECKING:
    from hwflow.compare import Comparison
    from hwflow.solvers.surrogate import Worth


def front_table(front: Front, baseline: Trial | None = None, limit: int = 20) -> Table:
    """Return the front (at most `limit` trials, spread evenly) beside the original network."""
    table = plain_table(f"Front: {len(front)} networks")
    table.add_column("trial", justify="right")
    for name in front.objectives:
        table.add_column(_heading(name), justify="right")
        if baseline is not None and name != QUALITY:
            table.add_column("saved", justify="right")
    if baseline is not None:
        table.add_row("original", *_cells(baseline, front.objectives, baseline), style="dim")
    for trial in spread(front.trials, limit):
        table.add_row(f"#{trial.number}", *_cells(trial, front.objectives, baseline))
    if len(front) > limit:
        table.caption = f"{limit} of {len(front)} shown, evenly spread; all are in front.csv"
    return table


def _heading(name: str) -> str:
    return name if name == QUALITY else METRICS[name].short


def _cells(trial: Trial, objectives: Sequence[str], baseline: Trial | None) -> Iterator[str]:
    for name in objectives:
        if name == QUALITY:
            yield f"{100 * trial.value(name):.2f} %"
            continue
        yield show(trial.value(name), METRICS[name].unit)
        if baseline is not None:
            yield _saving(trial.value(name), baseline.value(name))


def _saving(value: float, before: float) -> str:
    return f"{100 * (1 - value / before):.0f} %" if before else "-"


def worth_lines(worth: Worth | None) -> Iterator[str]:
    """Say what the single changes were worth that a search began with; nothing without them."""
    if worth is None:
        return
    from hwflow.solvers.surrogate import TRUSTED

    found = worth.correlation
    ranks = "too few networks differ for a rank correlation"
    if found is not None:
        ranks = f"their sums rank the networks with {found:.2f} (Spearman; {TRUSTED} is good)"
    yield f"Single changes: {ranks}."
    if worth.gaps:
        spare = [each for each in worth.gaps if each.gap > 0]
        most = max(each.gap for each in worth.gaps)
        yield (
            f"By them {len(spare)} of {len(worth.gaps)} networks of the front lose more than need "
            f"be at their costs, {most:.2g} at most."
        )


def show_comparison(found: Comparison) -> None:
    """Print who wins, the contenders' figures, and what is to be known of them."""
    from hwflow.compare import notes, verdict

    out.print(compare_table(found))
    for note in notes(found):
        out.print(f"Note: {escape(note)}", highlight=False)
    out.print(f"[bold]{escape(verdict(found))}[/bold]", highlight=False)


def compare_table(found: Comparison) -> Table:
    """Return contenders, best first: quality and hypervolume at the evaluations compared at."""
    from hwflow.compare import shown, span

    level = f", costed at {found.level}" if found.recosted else ""
    table = plain_table(f"After {found.evaluations} evaluations on {found.machine}{level}")
    last = () if found.target is None else ("to random",)
    for heading in ("solver", "seeds", found.quality, "over seeds", "volume", *last, "CPU"):
        left = heading == "solver"
        table.add_column(heading, justify="left" if left else "right", no_wrap=not left)
    for row in found.rows:
        reached = () if row.reached is None else (
            f"{row.reached:g}" if isfinite(row.reached) else "never",
        )  # fmt: skip
        table.add_row(
            escape(row.name), ", ".join(map(str, row.seeds)), shown(found, row.quality.median),
            span(found, row.quality), f"{row.volume:.3f}", *reached, show(row.cpu_seconds, "s"),
        )  # fmt: skip
    table.caption = (
        f"best {found.quality} and hypervolume: median over seeds; to random: evaluations to "
        "random's median; CPU: time of evaluation"
    )
    return table
