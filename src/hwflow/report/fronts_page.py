"""The page that lays fronts side by side: engine against engine, or level against level."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwflow.compare.fronts import NamedFront
from hwflow.errors import HwflowError
from hwflow.report import words
from hwflow.report.compare_lines import COLORS
from hwflow.report.document import document, write_page
from hwflow.report.series import plain

SCRIPTS = ("figures.js", "parts.js", "bits.js", "fronts.js")
SHOWN = ("latency_s", "energy_j", "dram_bytes", "bit_ops", "model_bytes")
"""Costs that fronts are drawn against."""

WEIGHT, ACTIVATION = "weight_bits:", "activation_bits:"


def render_fronts(found: Sequence[NamedFront], title: str) -> str:
    """Return the page as one HTML document; the same data give the same text.

    Raises HwflowError where there is nothing to show.
    """
    check(found)
    data = fronts_page_data(found)
    return document(
        "fronts.html.j2",
        SCRIPTS,
        data,
        title=title,
        fronts=list(zip(found, colors(found), strict=True)),
        rows=[_row(one) for one in found],
        metrics=[words.NAMES[entry["id"]] for entry in data["metrics"]],
    )


def write_fronts_page(found: Sequence[NamedFront], title: str, path: str | Path) -> None:
    """Write the page to `path`, whole or not at all.

    Raises HwflowError when the file cannot be written.
    """
    write_page(render_fronts(found, title), path)


def check(found: Sequence[NamedFront]) -> None:
    """Raise HwflowError unless there is a front of one network or more, with a cost they share."""
    if not any(len(one) for one in found):
        raise HwflowError("There is no front to show: no run has a network within its limits.")
    if not metrics(found):
        raise HwflowError("These fronts have no cost in common. Cost them again at one level.")


def metrics(found: Sequence[NamedFront]) -> list[str]:
    """Return the costs that all fronts have."""
    return [n for n in SHOWN if all(len(one.shares.get(n, ())) == len(one) for one in found)]


def colors(found: Sequence[NamedFront]) -> list[str]:
    """Return a colour for each front."""
    return [COLORS[index % len(COLORS)] for index in range(len(found))]


def fronts_page_data(found: Sequence[NamedFront]) -> dict[str, Any]:
    """Return what the page's scripts read."""
    return dict(
        plain(
            {
                "metrics": [{"id": n, "name": words.NAMES[n]} for n in metrics(found)],
                "fronts": [
                    {
                        "name": one.name, "machine": one.machine, "level": one.level,
                        "color": color, "number": one.numbers, "quality": one.quality,
                        "shares": {n: one.shares[n] for n in metrics(found)},
                        "weights": bit_rows(one, WEIGHT), "activations": bit_rows(one, ACTIVATION),
                    }
                    for one, color in zip(found, colors(found), strict=True)
                ],
            }
        )
    )  # fmt: skip


def bit_rows(one: NamedFront, kind: str) -> dict[str, Any]:
    """Return names of layers or tensors, and their bits on each network of the front."""
    names = [name for name in one.bits if name.startswith(kind)]
    return {
        "names": [name.removeprefix(kind) for name in names],
        "bits": [list(one.bits[name]) for name in names],
    }


def _row(one: NamedFront) -> list[str]:
    best = max(one.quality, default=None)
    least = [min(one.shares[n], default=None) for n in ("latency_s", "energy_j") if n in one.shares]
    cells = [words.NOTHING if v is None else f"{100 * v:.1f} %" for v in (best, *least)]
    return [one.name, one.machine, one.level, str(one.evaluations), str(len(one)), *cells]
