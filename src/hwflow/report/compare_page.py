"""The page that compares searches: who wins, how they got there, and the figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from hwflow.compare import Comparison, Row, Run, notes, shown, verdict
from hwflow.compare.comparison import POINTS, YARDSTICK
from hwflow.cost import METRICS
from hwflow.problem import QUALITY
from hwflow.report import words
from hwflow.report.compare_lines import Series, quality_range, series, volume_range
from hwflow.report.document import document, write_page
from hwflow.report.series import plain
from hwflow.units import show

SCRIPTS = ("figures.js", "parts.js", "compare.js")


def render_comparison(found: Comparison) -> str:
    """Return the page as one HTML document; the same data give the same text."""
    looks = series(found)
    return document(
        "compare.html.j2",
        SCRIPTS,
        compare_page_data(found, looks),
        found=found,
        network=network(found),
        headline=unbroken(verdict(found)),
        notes=[unbroken(note) for note in notes(found)],
        limits=words.joined([f"{words.NAMES[n]} ≤ {words.cost(n, v)}" for n, v in _limits(found)]),
        objectives=words.joined([_objective(found, name) for name in found.objectives]),
        looks=looks,
        headings=headings(found),
        rows=[
            (row.name, look.color, cells(found, row))
            for row, look in zip(found.rows, looks, strict=True)
        ],
        runs=[(one.name, _about(run)) for one in found.ranking() for run in one.runs],
        points=POINTS,
        yardstick=YARDSTICK if found.target is not None else "",
    )


def write_compare_page(found: Comparison, path: str | Path) -> None:
    """Write the page to `path`, whole or not at all.

    Raises HwflowError when the file cannot be written.
    """
    write_page(render_comparison(found), path)


def compare_page_data(found: Comparison, looks: list[Series]) -> dict[str, Any]:
    """Return what the page's scripts read: every contender's curves."""
    return dict(
        plain(
            {
                "evaluations": found.evaluations,
                "quality": {
                    "name": found.quality,
                    "share": found.is_share,
                    "range": quality_range(found),
                },
                "volume": {"name": "hypervolume", "range": volume_range(found)},
                "contenders": [asdict(look) for look in looks],
            }
        )
    )


def network(found: Comparison) -> str:
    """Return the network's name where the runs say it."""
    run = found.contenders[0].runs[0]
    return str(run.provenance.get("network", "") or "")


def headings(found: Comparison) -> list[str]:
    """Return the headings of the table of contenders after their name."""
    reached = [] if found.target is None else [f"evaluations to {YARDSTICK}’s median"]
    best = f"best {found.quality}"
    return ["seeds", f"{best}, median", "least", "largest", "hypervolume", *reached, "CPU time"]


def cells(found: Comparison, row: Row) -> list[str]:
    """Return the figures of a contender, in the order of `headings`."""
    reached = [] if row.reached is None else [_reached(row.reached)]
    quality = (row.quality.median, row.quality.least, row.quality.largest)
    return [
        ", ".join(map(str, row.seeds)),
        *(unbroken(shown(found, value)) for value in quality),
        f"{row.volume:.3f}",
        *reached,
        words.SPACE.join(show(row.cpu_seconds, "s").split()),
    ]


def unbroken(text: str) -> str:
    """Keep figures and their percent sign on one line."""
    return text.replace(" %", f"{words.SPACE}%")


def _reached(evaluations: float) -> str:
    return f"{evaluations:g}" if isfinite(evaluations) else "not reached"


def _limits(found: Comparison) -> list[tuple[str, float]]:
    return [(name, found.limits[name]) for name in METRICS if name in found.limits]


def _objective(found: Comparison, name: str) -> str:
    return found.quality if name == QUALITY else words.NAMES[name]


def _about(run: Run) -> list[str]:
    """Return folder, seed, evaluations and the solver's settings of a run."""
    settings: Mapping[str, Any] = run.settings["solver"]
    told = ", ".join(f"{k} {v}" for k, v in settings.items() if k not in ("name", "seed"))
    return [run.folder, str(run.seed), f"{len(run.trials)}", run.solver, told or words.NOTHING]
