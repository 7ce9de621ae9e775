"""Fronts side by side, and the bits along one, as static pictures on white for documents."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from hwflow.compare.fronts import NamedFront
from hwflow.report import words
from hwflow.report.compare_svg import GRID, SOFT, labels, text, ticks
from hwflow.report.document import write_page
from hwflow.report.fronts_page import ACTIVATION, WEIGHT, bit_rows, check, colors, metrics

WIDTH, PLOT, HEIGHT, LEFT, GAP, TOP = 940, 390, 260, 64, 76, 74
REACH = 0.25
"""How far below the best accuracy the plots begin."""
NAMES, CELL, COLUMNS = 120, 13, 330
"""Room for the names of layers, height of a row, and width of a heat map."""
SCALE = ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#5ec962", "#addc30", "#fde725")
"""Viridis, for the least to the most bits."""


def render_fronts_svg(found: Sequence[NamedFront], title: str) -> str:
    """Return accuracy against two costs as a picture; lines give the best at a cost or less.

    Raises HwflowError where there is nothing to show.
    """
    check(found)
    best = max(value for one in found for value in one.quality)
    low = max(best - REACH, min(value for one in found for value in one.quality) - 0.01)
    parts = [*_head(title, TOP + HEIGHT + 52), *_legend(found)]
    for place, name in enumerate(metrics(found)[:2]):
        parts += _panel(LEFT + place * (PLOT + GAP), found, name, (low, best + 0.01))
    return "\n".join([*parts, "</svg>"]) + "\n"


def render_bits_svg(one: NamedFront, metric: str = "latency_s") -> str:
    """Return the bits of weights and activations as heat maps, cheapest network first."""
    check([one])
    order = sorted(range(len(one)), key=lambda column: one.shares[metric][column])
    sides = [bit_rows(one, WEIGHT), bit_rows(one, ACTIVATION)]
    rows = max(len(side["names"]) for side in sides)
    shown = [bits for side in sides for row in side["bits"] for bits in row]
    title = f"{one.name}: bits along the front, by {words.NAMES[metric]}, cheapest on the left"
    parts = _head(title, 110 + CELL * rows)
    for place, (side, name) in enumerate(zip(sides, ("weights", "activations"), strict=True)):
        left = 10 + NAMES + place * (COLUMNS + NAMES + 20)
        parts += [text(left, 56, name, size=13), *_map(side, order, left, 64, shown)]
    return "\n".join([*parts, *_key(shown, 90 + CELL * rows), "</svg>"]) + "\n"


def write_fronts_svg(found: Sequence[NamedFront], title: str, path: str | Path) -> None:
    """Write the fronts to `path`, whole or not at all."""
    write_page(render_fronts_svg(found, title), path)


def write_bits_svg(one: NamedFront, path: str | Path, metric: str = "latency_s") -> None:
    """Write the heat maps of a front to `path`, whole or not at all."""
    write_page(render_bits_svg(one, metric), path)


def _head(title: str, height: float) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height:g}" fill="white"/>',
        text(16, 22, title, size=15),
    ]


def _legend(found: Sequence[NamedFront]) -> list[str]:
    parts, x = [], 16.0
    for one, color in zip(found, colors(found), strict=True):
        parts.append(f'<path d="M{x:.0f} 40h20" stroke="{color}" stroke-width="2"/>')
        parts.append(text(x + 26, 44, one.name))
        x += 48 + 7 * len(one.name)
    return parts


def _panel(
    left: float, found: Sequence[NamedFront], metric: str, span: tuple[float, float]
) -> list[str]:
    lows = [min(one.shares[metric], default=1.0) for one in found]
    start, (low, high) = max(0.0, min(lows) - 0.03), span

    def at(share: float, quality: float) -> tuple[float, float]:
        x = left + PLOT * (share - start) / (1.03 - start)
        return x, TOP + HEIGHT * (high - quality) / (high - low)

    name = f"plot-{left:g}"
    parts = [f'<clipPath id="{name}"><rect x="{left}" y="{TOP}" width="{PLOT}" height="{HEIGHT}"/>'
             "</clipPath>"]  # fmt: skip
    for value, label in zip(ticks(low, high), labels(ticks(low, high), True), strict=True):
        y = at(0, value)[1]
        parts += [f'<path d="M{left} {y:.1f}h{PLOT}" stroke="{GRID}"/>']
        parts += [text(left - 8, y + 4, label, "end")]
    for value, label in zip(ticks(start, 1.03), labels(ticks(start, 1.03), True), strict=True):
        parts.append(text(at(value, low)[0], TOP + HEIGHT + 18, label, "middle"))
    parts.append(f'<path d="M{left} {TOP + HEIGHT}h{PLOT}" stroke="{SOFT}"/>')
    about = f"{words.NAMES[metric]}, share of that of highest bits"
    parts.append(text(left + PLOT / 2, TOP + HEIGHT + 38, about, "middle"))
    parts.append(f'<g clip-path="url(#{name})">')
    for one, color in zip(found, colors(found), strict=True):
        points = list(zip(one.shares[metric], one.quality, strict=True))
        parts += [_dot(*at(*point), color) for point in points]
        parts.append(_steps([at(*point) for point in _outline(points)], color))
    return [*parts, "</g>"]


def _outline(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that are better than all that cost less."""
    kept: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda one: (one[0], -one[1])):
        if not kept or point[1] > kept[-1][1]:
            kept.append(point)
    return kept


def _steps(points: Sequence[tuple[float, float]], color: str) -> str:
    path = " ".join(f"{'H' if i else 'M'}{x:.1f}{f'V{y:.1f}' if i else f' {y:.1f}'}"
                    for i, (x, y) in enumerate(points))  # fmt: skip
    return f'<path d="{path}" fill="none" stroke="{color}" stroke-width="2"/>'


def _dot(x: float, y: float, color: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}" fill-opacity="0.55"/>'


def _map(
    side: dict[str, list[str]], order: Sequence[int], left: float, top: float, shown: Sequence[int]
) -> list[str]:
    parts, width = [], COLUMNS / max(1, len(order))
    for row, (name, bits) in enumerate(zip(side["names"], side["bits"], strict=True)):
        y = top + CELL * row
        parts.append(text(left - 6, y + 10, name[-18:], "end", 10))
        for column, place in enumerate(order):
            parts.append(
                f'<rect x="{left + width * column:.2f}" y="{y}" width="{width:.2f}" '
                f'height="{CELL - 1}" fill="{_shade(int(bits[place]), shown)}"/>'
            )
    return parts


def _key(shown: Sequence[int], y: float) -> list[str]:
    parts = [text(16, y + 10, "bits")]
    for index, bits in enumerate(sorted(set(shown))):
        x, color = 56 + 44 * index, _shade(bits, shown)
        parts.append(f'<rect x="{x}" y="{y}" width="14" height="12" fill="{color}"/>')
        parts.append(text(x + 18, y + 10, str(bits)))
    return parts


def _shade(bits: int, shown: Sequence[int]) -> str:
    low, high = min(shown), max(shown)
    return SCALE[round((bits - low) / max(1, high - low) * (len(SCALE) - 1))]
