"""Results of stages as Markdown tables, for the scripts that fill the docs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hwflow.reproduce.stages import Plain


def results(folder: Path, pattern: str) -> list[Plain]:
    """Return the results of full runs in files whose names match, sorted by name."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob(pattern))]
    return [result for result in found if not result.get("quick")]


def percent(share: float | None) -> str:
    """Write a share in percent; "not reached" for none."""
    return "not reached" if share is None else f"{100 * share:.1f} %"


def points(test: Plain, digits: int = 2, sign: int = 1) -> str:
    """Write a paired drop in points with its 95 % interval; or with sign=-1 a gain."""
    drop, half = 100 * sign * test["drop"] + 0.0, 100 * test["half_width_95"]
    return f"{drop:+.{digits}f} ± {half:.{digits}f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rule = "|" + "---|" * len(heads)
    head, *body = ("| " + " | ".join(line) + " |" for line in (heads, *rows))
    return "\n".join([head, rule, *body, ""])
