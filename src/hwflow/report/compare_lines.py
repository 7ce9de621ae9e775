"""The curves of a comparison as plain numbers, for the page's charts and for the static picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from statistics import median

import numpy as np

from hwflow.compare import Comparison, Curve
from hwflow.compare.comparison import YARDSTICK

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1c2530", "#7f3c8d")
"""Okabe and Ito's palette where it shows on white, told apart with any colour vision."""

GREY = "#7a828c"
"""The yardstick's."""

EARLY = 0.25
"""The quality axis reaches down to where most contenders are after this share of the budget."""


@dataclass(frozen=True)
class Line:
    """A figure of one contender: its median from where it is known, and the band of its seeds."""

    x: tuple[int, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Series:
    """One contender's look and its two figures against evaluations."""

    name: str
    color: str
    dashed: bool
    """Told apart by dashes where the colours begin again."""
    quality: Line
    volume: Line


def series(found: Comparison) -> list[Series]:
    """Return every contender, best first."""
    floor = quality_range(found)[0]
    made: list[Series] = []
    others = 0
    for one in found.ranking():
        yardstick = all(run.solver == YARDSTICK for run in one.runs)
        color = GREY if yardstick else COLORS[others % len(COLORS)]
        dashed = not yardstick and others >= len(COLORS)
        quality = _line(one.curve(found.evaluations), floor)
        made.append(Series(one.name, color, dashed, quality, _line(found.volume_curve(one), 0.0)))
        others += not yardstick
    return made


def quality_range(found: Comparison) -> tuple[float, float]:
    """Return the quality axis: where it is decided, not the first steps from nothing."""
    early = max(1, int(EARLY * found.evaluations))
    last = [one.quality_at(found.evaluations) for one in found.contenders]
    lows = _finite(spread.least for spread in last)
    tops = _finite(spread.largest for spread in last)
    starts = _finite(one.quality_at(early).median for one in found.contenders)
    if not tops:
        return 0.0, 1.0
    low, high = min([*lows, *([median(starts)] if starts else []), max(tops)]), max(tops)
    pad = 0.06 * ((high - low) or abs(high) or 1.0)
    return low - pad, high + pad


def volume_range(found: Comparison) -> tuple[float, float]:
    """Return the axis of the hypervolume, from nothing."""
    top = max((volume for row in found.rows for volume in row.volumes), default=0.0)
    return 0.0, 1.06 * top or 1.0


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if isfinite(value)]


def _line(curve: Curve, floor: float) -> Line:
    """Leave out what comes before the median is known; a band without an end goes to `floor`."""
    start = int(np.count_nonzero(~np.isfinite(curve.median)))
    low = np.where(np.isfinite(curve.least), curve.least, floor)
    columns = (low, curve.median, curve.largest)
    cut = (tuple(map(float, column[start:])) for column in columns)
    return Line(tuple(curve.evaluations[start:]), *cut)
