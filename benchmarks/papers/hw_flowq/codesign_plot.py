"""Draw a co-design as a static SVG: its front beside presets, and hypervolume by evaluations.

    python benchmarks/papers/hw_flowq/codesign_plot.py FOLDER resnet20 --to docs/codesign.svg

FOLDER has the results that codesign.py left there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hwflow.report.compare_svg import text

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 470, 420, 60, 110, 50
INK, FAINT = "#222222", "#d0d0d0"
COLOURS = ("#1f5fa8", "#b3541e", "#3c7d3c", "#7a4f9a", "#8a7a1a", "#555555")
DASHES = ("none", "6 3", "2 3", "8 3 2 3")
Scale = Callable[[float], float]


def main() -> None:
    """Read the results and write the drawing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("network")
    parser.add_argument("--to", type=Path, required=True)
    given = parser.parse_args()
    results = [
        json.loads(file.read_text())
        for mode in ("nested", "joint", "sequential", "machine-first")
        for file in sorted(given.folder.glob(f"codesign-{given.network}-{mode}-[0-9].json"))
    ]
    presets = given.folder / f"codesign-{given.network}-presets.json"
    rows = json.loads(presets.read_text())["presets"] if presets.exists() else []
    given.to.write_text(drawing(given.network, results, rows))


def drawing(name: str, results: Sequence[dict[str, Any]], presets: Sequence[dict[str, Any]]) -> str:
    """Return the SVG."""
    width = 2 * (LEFT + WIDTH)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="12">',
        f"<title>Co-design of {name}: front beside presets, and modes</title>",
        f'<rect width="{width}" height="{HEIGHT}" fill="white"/>',
        *front_panel(results, presets),
        *volume_panel(results),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def front_panel(results: Sequence[dict[str, Any]], presets: Sequence[dict[str, Any]]) -> list[str]:
    """Return accuracy against latency: what was found, and the presets with the same networks."""
    found = [row for result in results for row in result["front"] if row["accuracy"] >= 0.5]
    most = max(row["latency_s"] for row in found) * 4
    x, y = scale(0, most * 1e6, LEFT, LEFT + WIDTH - 130), scale(0.5, 0.95, HEIGHT - BOTTOM, TOP)
    parts = [text(LEFT, 22, "Accuracy by latency (area in mm²)", size=14)]
    parts += axes(x, y, ticks(most * 1e6), [0.5, 0.6, 0.7, 0.8, 0.9], "latency, µs")
    drawn = [row for row in presets if row.get("front") and row["front"][-1][1] <= most]
    drawn.sort(key=lambda row: row["front"][-1][1])
    for place, row in enumerate(drawn):
        colour, dash = COLOURS[1:][place % len(COLOURS[1:])], DASHES[place // len(COLOURS[1:])]
        points = " ".join(f"{x(t * 1e6):.1f},{y(a):.1f}" for a, t in row["front"] if t <= most)
        line = f'fill="none" stroke="{colour}" stroke-dasharray="{dash}"'
        parts.append(f'<polyline points="{points}" {line}/>')
        height, edge = TOP + 15 * place, LEFT + WIDTH - 118
        parts.append(f'<path d="M{edge},{height - 4} h18" {line}/>')
        label = f"{row['preset']} {row['area_um2'] / 1e6:.2f}"
        parts.append(text(edge + 24, height, label, size=11, color=colour))
    for row in found:
        parts.append(
            f'<circle cx="{x(row["latency_s"] * 1e6):.1f}" cy="{y(row["accuracy"]):.1f}" r="4" '
            f'fill="{COLOURS[0]}"/>'
        )
    areas = [row["area_um2"] / 1e6 for row in found]
    label = f"found, {min(areas):.2f} to {max(areas):.2f}"
    parts.append(text(LEFT + WIDTH - 118, TOP - 15, label, size=11, color=COLOURS[0]))
    return parts


def volume_panel(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return the hypervolume after each accuracy evaluation, a line for each mode."""
    start = LEFT + WIDTH
    most = max(len(result["hypervolumes"]) for result in results)
    top = max(max(result["hypervolumes"]) for result in results)
    x = scale(0, most, start + LEFT, start + LEFT + WIDTH - 130)
    y = scale(0, 1.1, HEIGHT - BOTTOM, TOP)
    parts = [text(start + LEFT, 22, "Hypervolume (largest = 1) by evaluations", size=14)]
    parts += axes(x, y, ticks(most), [0, 0.5, 1], "accuracy evaluations")
    ends = [y(result["hypervolumes"][-1] / top) + 4 for result in results]
    for colour, result, height in zip(COLOURS, results, apart(ends), strict=False):
        values = [value / top for value in result["hypervolumes"]]
        points = " ".join(f"{x(i + 1):.1f},{y(v):.1f}" for i, v in enumerate(values))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(text(x(len(values)) + 5, height, result["mode"], color=colour))
    return parts


def apart(heights: Sequence[float], least: float = 14) -> list[float]:
    """Return the heights of labels, moved down so that none lies on another."""
    moved, last = list(heights), float("-inf")
    for place in sorted(range(len(moved)), key=moved.__getitem__):
        last = moved[place] = max(moved[place], last + least)
    return moved


def scale(low: float, high: float, start: float, stop: float) -> Scale:
    """Return the linear map from [low, high] to [start, stop]."""
    return lambda value: start + (value - low) / (high - low) * (stop - start)


def ticks(most: float) -> list[float]:
    """Return four or five round values from 0 up to `most`."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if most / s <= 5)
    return [float(number * step) for number in range(int(most / step) + 1)]


def axes(x: Scale, y: Scale, across: Sequence[float], up: Sequence[float], label: str) -> list[str]:
    """Return grid lines with their values."""
    left, right = x(0), x(across[-1])
    parts = [
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="{FAINT}"/>'
        f'<text x="{left - 8:.1f}" y="{y(v) + 4:.1f}" text-anchor="end">{v:g}</text>'
        for v in up
    ]
    for value in across:
        parts.append(
            f'<text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
            f"{value:g}</text>"
        )
    middle = (left + right) / 2
    parts.append(
        f'<text x="{middle:.1f}" y="{HEIGHT - 12}" text-anchor="middle" fill="{INK}">{label}</text>'
    )
    return parts


if __name__ == "__main__":
    main()
