"""Where the layers lie below the machine's roofs, before and after the edits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hwflow.cost import Cost, LayerCost
from hwflow.costs.mid import OPS_PER_MAC, Roofline
from hwflow.machine import Accelerator
from hwflow.report.data import ReportData
from hwflow.workload import Workload

NAMED_PAIRS = 3
"""A roof is labelled with at most this many pairs of bits."""

Spot = list[float]
"""[operations per bit of off-chip traffic, operations per second]"""


def roofs(data: ReportData, names: Sequence[str]) -> dict[str, Any] | None:
    """Return bandwidth, roofs and the spots of the named layers; None without a roofline."""
    if data.roofline is None:
        return None
    return {
        "bits_per_s": float(data.roofline.bits_per_s),
        "before": _before(data.roofline, names),
        "after": {
            str(number): _after(data.machine, workload, cost, names)
            for number, (workload, cost) in data.details.items()
        },
    }


def _before(roofline: Roofline, names: Sequence[str]) -> dict[str, Any]:
    points = zip(roofline.ops_per_bit, roofline.ops_per_s, strict=True)
    spots = {n: [float(x), float(y)] for n, (x, y) in zip(roofline.layers, points, strict=True)}
    pairs = zip(roofline.pairs, roofline.roofs, strict=True)
    return {"spots": [spots.get(n) for n in names], "roofs": _labelled(pairs)}


def _after(
    machine: Accelerator, workload: Workload, cost: Cost, names: Sequence[str]
) -> dict[str, Any]:
    spots = {layer.name: spot(layer) for layer in cost.layers}
    widths = {
        (int(machine.width(layer.weight_bits)), int(machine.width(layer.input_bits[0])))
        for layer in workload.mac_layers
        if layer.input_bits
    }
    peaks = [(pair, OPS_PER_MAC * float(machine.peak_macs_per_s(*pair))) for pair in sorted(widths)]
    return {"spots": [spots.get(n) for n in names], "roofs": _labelled(peaks)}


def spot(layer: LayerCost) -> Spot | None:
    """Return operations per bit of traffic and per second; None for a layer without them."""
    ops = OPS_PER_MAC * layer.values.get("macs", 0.0)
    bits, seconds = 8 * layer.values.get("dram_bytes", 0.0), layer.values.get("latency_s", 0.0)
    if not (ops > 0 and bits > 0 and seconds > 0):
        return None
    return [ops / bits, ops / seconds]


def _labelled(peaks: Iterable[tuple[tuple[int, int], float]]) -> list[dict[str, Any]]:
    """Return one roof per height, highest first, labelled with the bits it holds for."""
    by_height: dict[float, list[tuple[int, int]]] = {}
    for pair, height in peaks:
        by_height.setdefault(float(height), []).append(pair)
    return [
        {"ops_per_s": height, "label": _label(by_height[height])}
        for height in sorted(by_height, reverse=True)
    ]


def _label(pairs: list[tuple[int, int]]) -> str:
    named = [f"w{weight}a{read}" for weight, read in sorted(pairs, reverse=True)]
    rest = len(named) - NAMED_PAIRS
    return ", ".join(named[:NAMED_PAIRS]) + (f" and {rest} more" if rest > 0 else "")
