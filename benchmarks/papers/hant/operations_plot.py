"""Draw which operations stand where, a column for each machine and limit, as a static SVG.

    python benchmarks/papers/hant/operations_plot.py docs/hant-operations.svg [--network resnet56]

The results transform-*.json beside this script are drawn, cheapest on the right.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from hwflow.edits.operations import find
from hwflow.report.compare_svg import text
from hwflow.reproduce.tables import results

HERE = Path(__file__).parent
LEFT, TOP, CELL, WIDTH = 110, 84, 17, 132
COLOURS = {
    "keep": "#eceff1", "pruned": "#9ecae1", "low_rank": "#c7b9e2", "conv_bn_act": "#f4b183",
    "depthwise_separable": "#f7dc8b", "inverted_residual": "#a9d8a0", "bottleneck": "#d9c2a7",
    "quantized": "#8fd0c8", "skip": "#f2a6a6",
}  # fmt: skip


def main() -> None:
    """Read the results and write the drawing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("to", type=Path)
    parser.add_argument("--network", default="resnet56")
    given = parser.parse_args()
    found = [r for r in results(HERE, "transform-*.json") if r["case"]["network"] == given.network]
    found.sort(key=lambda r: (heads(r["case"])[0], -float(r["case"]["share"].rstrip("%"))))
    given.to.write_text(drawing(given.network, found))


def heads(case: dict[str, Any]) -> tuple[str, str]:
    """Return what stands above a column."""
    return case["machine"] + (", 8 bits" if case.get("eight") else ""), f"{case['share']} latency"


def drawing(name: str, found: Sequence[dict[str, Any]]) -> str:
    """Return the SVG."""
    sites = list(found[0]["operations"])
    width, height = LEFT + WIDTH * len(found) + 16, TOP + CELL * len(sites) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" font-family="sans-serif" font-size="11">',
        f"<title>Operations in {escape(name)} by machine and latency</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        text(16, 24, f"What stands at the sites of {name}", size=15),
    ]
    for row, site in enumerate(sites):
        parts.append(text(LEFT - 8, TOP + CELL * row + 12, site, "end", 11))
    for column, result in enumerate(found):
        x = LEFT + WIDTH * column
        machine, limit = heads(result["case"])
        parts += [text(x, TOP - 26, machine, size=11), text(x, TOP - 10, limit, size=11)]
        for row, site in enumerate(sites):
            option = result["operations"][site]
            y = TOP + CELL * row
            parts.append(
                f'<rect x="{x}" y="{y}" width="{WIDTH - 4}" height="{CELL - 1}" '
                f'fill="{COLOURS[find((option,))[-1].family]}"/>'
            )
            if option != "keep":
                parts.append(text(x + 4, y + 12, label_of(option), size=10))
    parts.append(text(LEFT, height - 16, "empty: the block is kept as it is", size=11))
    return "\n".join([*parts, "</svg>"]) + "\n"


def label_of(option: str) -> str:
    """Return a short name."""
    return option.replace("inverted_residual", "inverted").replace("_se0", "").removesuffix("_l1")


if __name__ == "__main__":
    main()
