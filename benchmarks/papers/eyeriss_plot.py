"""Draw the errors of the pass model against silicon as a static SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT, TOP, BOTTOM, LEFT = 310, 330, 64, 60, 56
RANGE = 13.0
"""Errors from -RANGE to +RANGE percent are drawn."""
PANELS = {"processing": "processing latency", "buffer": "global-buffer bytes",
          "energy": "chip energy"}  # fmt: skip
HALF_DIGIT = {"processing": 0.05, "buffer": 0.05}
"""Half of the last printed digit of a measurement, in its unit."""
INK, FAINT, MODEL, OUT = "#222222", "#c8c8c8", "#1f5fa8", "#b3541e"


@dataclass(frozen=True)
class Mark:
    """One layer in one panel; errors in percent."""

    name: str
    error: float
    low: float
    high: float
    left_out: float | None


def drawing(data: dict[str, Any]) -> str:
    """Return the SVG: a panel for each quantity, a mark with its error bar for each layer."""
    width = LEFT + len(PANELS) * WIDTH
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="12">',
        "<title>Errors of the pass model against the Eyeriss chip, AlexNet</title>",
        f'<rect width="{width}" height="{HEIGHT}" fill="white"/>',
        text(
            LEFT, 20, "Model against silicon: error in percent of the measured value", "start", 14
        ),
        legend(LEFT, 40),
    ]
    for index, (what, title) in enumerate(PANELS.items()):
        parts.append(panel(LEFT + index * WIDTH, title, marks(data, what)))
    return "\n".join([*parts, "</svg>"]) + "\n"


def marks(data: dict[str, Any], what: str) -> list[Mark]:
    """Return the marks of a panel: bars span the refits and the measurement's last digit."""
    found = []
    for name, row in data["layers"].items():
        point = row[what]
        refits = [fit["errors"].get(what, {}).get(name) for fit in data["left_out"].values()]
        errors = [point["error_percent"], *(value for value in refits if value is not None)]
        digit = half_digit_percent(what, point)
        own = data["left_out"][name]["errors"].get(what, {}).get(name)
        found.append(Mark(name, errors[0], min(errors) - digit, max(errors) + digit, own))
    return found


def half_digit_percent(what: str, point: dict[str, float]) -> float:
    """Return half of the last printed digit, in percent; energy: power has three digits."""
    half = HALF_DIGIT.get(what)
    return 100 * half / point["measured"] if half else 0.4


def y(percent: float) -> float:
    """Return the height at which an error is drawn."""
    inside = max(-RANGE, min(RANGE, percent))
    return TOP + (RANGE - inside) / (2 * RANGE) * (HEIGHT - TOP - BOTTOM)


def panel(x: float, title: str, found: Sequence[Mark]) -> str:
    """Draw one panel with its left edge at `x`."""
    right = x + WIDTH - 56
    parts = [text((x + right) / 2, HEIGHT - 18, title, "middle", 13)]
    for percent in (-10, -5, 0, 5, 10):
        stroke = INK if percent == 0 else FAINT
        parts.append(line(x, y(percent), right, y(percent), stroke, 1))
        parts.append(text(x - 6, y(percent) + 4, f"{percent:+d} %" if percent else "0", "end"))
    step = (right - x) / len(found)
    for index, mark in enumerate(found):
        parts.append(point(x + step * (index + 0.5), mark))
    return "\n".join(parts)


def point(x: float, mark: Mark) -> str:
    """Draw a layer: bar, dot, and a diamond for the prediction without that layer."""
    parts = [
        line(x, y(mark.low), x, y(mark.high), MODEL, 2),
        line(x - 5, y(mark.low), x + 5, y(mark.low), MODEL, 2),
        line(x - 5, y(mark.high), x + 5, y(mark.high), MODEL, 2),
        dot(x, y(mark.error)),
        text(x, HEIGHT - BOTTOM + 18, mark.name, "middle", 11),
    ]
    if mark.left_out is not None:
        parts.append(diamond(x + 12, y(mark.left_out)))
    return "\n".join(parts)


def legend(x: float, at: float) -> str:
    """Explain the marks."""
    return "\n".join(
        [
            dot(x + 4, at - 4),
            text(x + 14, at, "model; bar: constants fitted without any one layer, and the "
                 "measurement's last digit", "start"),
            diamond(x + 514, at - 4),
            text(x + 524, at, "constants fitted without this layer", "start"),
        ]
    )  # fmt: skip


def dot(x: float, at: float) -> str:
    """Draw a filled dot."""
    return f'<circle cx="{x:.1f}" cy="{at:.1f}" r="4" fill="{MODEL}"/>'


def diamond(x: float, at: float) -> str:
    """Draw a hollow diamond."""
    corners = f"{x:.1f},{at - 5:.1f} {x + 5:.1f},{at:.1f} {x:.1f},{at + 5:.1f} {x - 5:.1f},{at:.1f}"
    return f'<polygon points="{corners}" fill="white" stroke="{OUT}" stroke-width="1.5"/>'


def line(x1: float, y1: float, x2: float, y2: float, stroke: str, width: float) -> str:
    """Draw a line."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{stroke}" stroke-width="{width}"/>'
    )


def text(x: float, at: float, words: str, anchor: str, size: int = 12) -> str:
    """Write words; the anchor is start, middle or end."""
    return (
        f'<text x="{x:.1f}" y="{at:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{INK}">{words}</text>'
    )
