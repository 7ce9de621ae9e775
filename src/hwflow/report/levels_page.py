"""The page on how far the levels agree: which one is enough for a space on a machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwflow.fidelity import Fidelity, Row, summary, verdicts
from hwflow.fidelity.compare import COUNTS, TARGETS
from hwflow.fidelity.statistics import WITHIN, front_of
from hwflow.fidelity.verdict import EXCESS, NAMES, RANK, REGRET, STAND_INS, passes, percent
from hwflow.report import tables, words
from hwflow.report.document import document, write_page
from hwflow.report.series import metric_entry, plain

SCRIPTS = ("figures.js", "parts.js", "levels.js")
HEADINGS = (
    "level",
    "stand-in",
    "rank correlation",
    "front kept",
    "excess",
    "regret",
    "spread at equal",
)


def render_levels(found: Fidelity, provenance: Mapping[str, object] | None = None) -> str:
    """Return the page as one HTML document; the same data give the same text."""
    return document(
        "levels.html.j2",
        SCRIPTS,
        levels_page_data(found),
        found=found,
        headline=summary(found),
        verdicts=verdicts(found),
        tables=[_table(found, target) for target in TARGETS],
        headings=HEADINGS,
        bars={"rank": RANK, "excess": percent(EXCESS), "regret": percent(REGRET)},
        within=percent(WITHIN),
        seconds=[(level, f"{value:.2f} s") for level, value in found.seconds.items()],
        joint=[(level, f"{r.kept} of {r.members}") for level, r in found.fronts.items()],
        machine=found.machine,
        machine_summary=tables.machine_summary(found.machine),
        machine_figures=tables.machine_figures(found.machine),
        provenance=tables.provenance(found.machine, provenance or {}),
    )


def write_levels_page(
    found: Fidelity, path: str | Path, provenance: Mapping[str, object] | None = None
) -> None:
    """Write the page to `path`, whole or not at all.

    Raises HwflowError when the file cannot be written.
    """
    write_page(render_levels(found, provenance), path)


def _table(found: Fidelity, target: str) -> tuple[str, str, list[tuple[list[str], bool]]]:
    """Return a metric's name, how far Fine's figure varies, and the rows of its stand-ins."""
    name = NAMES[target]
    return name[0].upper() + name[1:], percent(found.varies[target] - 1), rows_of(found, target)


def rows_of(found: Fidelity, target: str) -> list[tuple[list[str], bool]]:
    """Return (cells in the order of `HEADINGS`, whether it passes) of every stand-in."""
    return [(cells(row), passes(row)) for row in found.rows if row.target == target]


def cells(row: Row) -> list[str]:
    """Return the figures of one stand-in as text."""
    spread = words.NOTHING if row.spread.plans < 2 else (
        f"{percent(row.spread.ratio - 1)} over {row.spread.plans} plans"
    )  # fmt: skip
    own = "its own figure" if row.stand_in == row.target else STAND_INS[row.stand_in]
    return [
        row.level,
        own,
        words.NOTHING if row.rank is None else f"{row.rank:.3f}",
        f"{row.recall.kept} of {row.recall.members}",
        percent(row.excess),
        percent(row.regret),
        spread,
    ]


def levels_page_data(found: Fidelity) -> dict[str, Any]:
    """Return what the page's scripts read: every plan's costs at each level."""
    fine = found.totals["fine"]
    fronts = {t: front_of(np.stack([found.change, fine[t]], axis=1)).tolist() for t in TARGETS}
    data = {
        "metrics": [metric_entry(name) for name in TARGETS],
        "counts": [{"id": n, "name": STAND_INS[n], "unit": words.unit(n)} for n in COUNTS],
        "change": found.change.tolist(),
        "front": fronts,
        "fine": {name: fine[name].tolist() for name in TARGETS},
        "mid": {name: found.totals["mid"][name].tolist() for name in TARGETS},
        "coarse": {n: found.totals["coarse"][n].tolist() for n in (*TARGETS, *COUNTS)},
    }
    return dict(plain(data))
