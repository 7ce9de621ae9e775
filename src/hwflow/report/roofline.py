"""Where the layers lie below the machine's roofs, before and after the edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwflow.costs.mid import Roofline, ops_roofline
from hwflow.design import Design
from hwflow.machine import Accelerator
from hwflow.workload import Workload

NAMED_PAIRS = 3
"""A roof is labelled with at most this many pairs of bits."""


def roofs(
    before: Roofline | None,
    machine: Accelerator,
    after: Mapping[int, Workload],
    names: Sequence[str],
) -> dict[str, Any] | None:
    """Return bandwidth, roofs and the spots of the named layers; None without a roofline.

    A spot is [operations per bit of off-chip traffic, operations per second]. The networks of the
    front are placed by the same roofline as the original, whatever level the search used.
    """
    if before is None:
        return None
    return {
        "bits_per_s": float(before.bits_per_s),
        "before": _side(before, names),
        "after": {
            str(number): _side(ops_roofline(Design(workload, machine)), names)
            for number, workload in after.items()
        },
    }


def _side(roofline: Roofline, names: Sequence[str]) -> dict[str, Any]:
    """Return the spots of the named layers (None for those without MACs), and the roofs."""
    points = zip(roofline.ops_per_bit, roofline.ops_per_s, strict=True)
    spots = {n: [float(x), float(y)] for n, (x, y) in zip(roofline.layers, points, strict=True)}
    return {"spots": [spots.get(name) for name in names], "roofs": _labelled(roofline)}


def _labelled(roofline: Roofline) -> list[dict[str, Any]]:
    """Return one roof per height, highest first, labelled with the bits it holds for."""
    by_height: dict[float, list[tuple[int, int]]] = {}
    for pair, height in zip(roofline.pairs, roofline.roofs, strict=True):
        by_height.setdefault(float(height), []).append(pair)
    return [
        {"ops_per_s": height, "label": _label(by_height[height])}
        for height in sorted(by_height, reverse=True)
    ]


def _label(pairs: list[tuple[int, int]]) -> str:
    named = [f"w{weight}a{read}" for weight, read in sorted(pairs, reverse=True)]
    rest = len(named) - NAMED_PAIRS
    return ", ".join(named[:NAMED_PAIRS]) + (f" and {rest} more" if rest > 0 else "")
