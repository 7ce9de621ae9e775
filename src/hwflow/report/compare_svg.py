"""A comparison as a static picture for documents: an SVG on white, read in light and dark alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil, floor, log10
from pathlib import Path

from hwflow.compare import Comparison
from hwflow.report.compare_lines import Line, Series, quality_range, series, volume_range
from hwflow.report.compare_page import network
from hwflow.report.document import write_page

WIDTH, PLOT, HEIGHT, LEFT, GAP = 940, 390, 260, 64, 76
"""Picture, one panel's plot, and the room left of it and between the two."""
TITLE, ROW, LETTER = 30, 20, 6.8
"""Height of the title and of a row of the legend, about the width of a letter."""
INK, SOFT, GRID = "#1c2530", "#5b6673", "#e4e8ec"


@dataclass(frozen=True)
class Panel:
    """One plot: where it stands, and what its axes span."""

    left: float
    top: float
    evaluations: int
    low: float
    high: float
    share: bool = False
    stepped: bool = False
    """Whether a value holds until the next."""

    def x(self, evaluations: float) -> float:
        """Return where a number of evaluations is drawn."""
        return self.left + PLOT * evaluations / self.evaluations

    def y(self, value: float) -> float:
        """Return where a value is drawn; what lies beyond the axes is clipped."""
        return self.top + HEIGHT * (self.high - value) / (self.high - self.low)


def render_svg(found: Comparison) -> str:
    """Return the picture: best quality and hypervolume against evaluations, a legend above."""
    looks = series(found)
    legend, rows = _legend(looks)
    top = TITLE + ROW * rows + 24
    ranges = (quality_range(found), volume_range(found))
    left, right = LEFT, LEFT + PLOT + GAP
    quality = Panel(left, top, found.evaluations, *ranges[0], found.is_share, stepped=True)
    volume = Panel(right, top, found.evaluations, *ranges[1])
    within = "within the limits" if found.limits else "so far"
    height = top + HEIGHT + 52
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(_title(found))}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        text(16, 22, _title(found), size=15),
        legend,
        *_panel(quality, f"best {found.quality} {within}", looks, lambda one: one.quality),
        *_panel(volume, "hypervolume", looks, lambda one: one.volume),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def write_compare_svg(found: Comparison, path: str | Path) -> None:
    """Write the picture to `path`, whole or not at all.

    Raises HwflowError when the file cannot be written.
    """
    write_page(render_svg(found), path)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round values from `low` to `high`: steps of 1, 2 or 5 times a power of ten."""
    size = 10.0 ** floor(log10((high - low) / most))
    step = next(size * n for n in (1, 2, 5, 10) if (high - low) / (size * n) <= most)
    return [step * n for n in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def labels(values: Sequence[float], share: bool) -> list[str]:
    """Write ticks with as many digits as their step needs, shares in percent."""
    scaled = [100 * value for value in values] if share else list(values)
    step = min((b - a for a, b in pairwise(scaled)), default=1.0)
    digits = max(0, -floor(log10(step) + 1e-9))
    return [f"{value:.{digits}f}{' %' if share else ''}" for value in scaled]


def _title(found: Comparison) -> str:
    name = network(found)
    return (
        f"{f'{name} on ' if name else ''}{found.machine}, {found.level} level: "
        "median over seeds, band from least to largest"
    )


def _legend(looks: Sequence[Series]) -> tuple[str, int]:
    """Return the names with their colours, broken into rows, and the number of rows."""
    parts, x, row = [], 16.0, 0
    for one in looks:
        width = 40 + LETTER * len(one.name)
        if x > 16 and x + width > WIDTH - 16:
            x, row = 16.0, row + 1
        y = TITLE + ROW * row + 14
        parts.append(_stroke(f"M{x:.1f} {y - 4}h20", one))
        parts.append(text(x + 26, y, one.name))
        x += width + 12
    return "\n".join(parts), row + 1


def _panel(
    panel: Panel, title: str, looks: Sequence[Series], of: Callable[[Series], Line]
) -> list[str]:
    """Draw axes, then bands, then lines; the best contender on top."""
    found = [(one, of(one)) for one in reversed(looks)]
    shown = [(one, line) for one, line in found if line.x]
    name = f"plot-{panel.left}"
    return [
        text(panel.left, panel.top - 10, title, size=13),
        *_axes(panel),
        f'<clipPath id="{name}"><rect x="{panel.left}" y="{panel.top}" width="{PLOT}" '
        f'height="{HEIGHT}"/></clipPath><g clip-path="url(#{name})">',
        *(_band(panel, one, line) for one, line in shown),
        *(_stroke(_path(panel, line.x, line.middle), one) for one, line in shown),
        "</g>",
    ]


def _axes(panel: Panel) -> list[str]:
    values = ticks(panel.low, panel.high)
    parts = []
    for value, label in zip(values, labels(values, panel.share), strict=True):
        parts.append(_rule(panel.left, panel.y(value), panel.left + PLOT, panel.y(value), GRID))
        parts.append(text(panel.left - 8, panel.y(value) + 4, label, "end"))
    bottom = panel.top + HEIGHT
    parts.append(_rule(panel.left, bottom, panel.left + PLOT, bottom, SOFT))
    for value in (v for v in ticks(0, panel.evaluations) if v == int(v)):
        parts.append(_rule(panel.x(value), bottom, panel.x(value), bottom + 4, SOFT))
        parts.append(text(panel.x(value), bottom + 18, f"{value:.0f}", "middle"))
    parts.append(text(panel.left + PLOT / 2, bottom + 38, "evaluations", "middle"))
    return parts


def _band(panel: Panel, one: Series, line: Line) -> str:
    there = _points(panel, line.x, line.high)
    back = _points(panel, line.x, line.low)[::-1]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*there, *back])
    return f'<polygon points="{path}" fill="{one.color}" fill-opacity="0.16"/>'


def _path(panel: Panel, xs: Sequence[float], ys: Sequence[float]) -> str:
    points = _points(panel, xs, ys)
    end = "" if len(points) > 1 else "h3"
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + end


def _points(panel: Panel, xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    """Return where a line goes; a stepped one turns at each change only."""
    points = [(panel.x(x), panel.y(y)) for x, y in zip(xs, ys, strict=True)]
    if not panel.stepped:
        return points
    made = points[:1]
    for x, y in points[1:]:
        if y != made[-1][1]:
            made += [(x, made[-1][1]), (x, y)]
    return [*made, (points[-1][0], made[-1][1])] if made[-1][0] < points[-1][0] else made


def _stroke(path: str, one: Series) -> str:
    dash = ' stroke-dasharray="6 4"' if one.dashed else ""
    return f'<path d="{path}" fill="none" stroke="{one.color}" stroke-width="2"{dash}/>'


def _rule(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def text(
    x: float, y: float, words: str, anchor: str = "start", size: int = 12, color: str = INK
) -> str:
    """Return a line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{color}">{escape(words)}</text>'
    )
