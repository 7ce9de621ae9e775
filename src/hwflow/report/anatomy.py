"""Inside the layers of a fine-level cost: energy by part, and mappings to be drawn. Plain data.

A *side* is one network: "before" for the original, else the number of a trial. Layers that share a
mapping share one entry of `maps`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from hwflow.cost import Cost
from hwflow.costs.fine.level import LayerReport, loops_on
from hwflow.costs.fine.memories import level_names, memory_names
from hwflow.costs.fine.nest import loop_order
from hwflow.costs.fine.shape import DIMS
from hwflow.costs.layerwise import costed_bits
from hwflow.machine import Accelerator
from hwflow.workload import Layer, Workload

Side = tuple[Workload, Cost, Sequence[LayerReport]]

LOOPS = {
    "N": "images", "K": "output channels", "C": "input channels", "P": "output rows",
    "Q": "output columns", "R": "kernel rows", "S": "kernel columns", "G": "groups",
}  # fmt: skip
"""What each loop runs over."""

_PART_NAMES = {"mac": "MACs", "scratchpads": "scratchpads", "array": "array network",
               "idle": "idle power"}  # fmt: skip


def anatomy(
    machine: Accelerator, sides: Mapping[str, Side], names: Sequence[str]
) -> dict[str, Any] | None:
    """Return energy by part and mappings of the named layers on each side.

    None where no side has a report of its layers, as at the levels above fine.
    """
    reported = [report for _, _, reports in sides.values() for report in reports]
    if not reported:
        return None
    maps = _Maps(machine)
    spent = [report.score.energy_by_part for report in reported]
    parts = [part for part in spent[0] if any(one[part] for one in spent)]
    return {
        "parts": [{"id": part, "name": part_name(machine, part)} for part in parts],
        "loops": [{"id": loop, "name": LOOPS[loop]} for loop in DIMS],
        "levels": list(level_names(machine)),
        "array": {"rows": machine.array.rows.value, "cols": machine.array.cols.value},
        "layers": list(names),
        "sides": {key: _side(machine, side, names, parts, maps) for key, side in sides.items()},
        "maps": maps.entries,
    }


def part_name(machine: Accelerator, part: str) -> str:
    """Return what the page calls a part of the energy: memories by the machine's own names."""
    own = dict(zip(memory_names(machine), level_names(machine), strict=True))
    return _PART_NAMES.get(part, own.get(part, part))


def _side(
    machine: Accelerator,
    side: Side,
    names: Sequence[str],
    parts: Sequence[str],
    maps: _Maps,
) -> dict[str, Any]:
    workload, cost, reports = side
    known = {layer.name: layer for layer in workload}
    reported = {report.name: report for report in reports}
    rows = {
        layer.name: _energy(machine, reported.get(layer.name), layer.energy_j, layer.latency_s)
        for layer in cost.layers
    }
    return {
        "energy": {part: [rows.get(n, {}).get(part) for n in names] for part in parts},
        "total": {part: sum(row.get(part, 0.0) for row in rows.values()) for part in parts},
        "maps": [maps.of(known[n], reported[n]) if n in reported else None for n in names],
    }


def _energy(
    machine: Accelerator, report: LayerReport | None, energy_j: float, latency_s: float
) -> Mapping[str, float]:
    """Return joules by part; a layer without MACs moves its operands through DRAM once."""
    if report is not None:
        return report.score.energy_by_part
    idle = machine.idle_w * latency_s
    return {"dram": energy_j - idle, "idle": idle}


class _Maps:
    """Collects mappings, each once."""

    def __init__(self, machine: Accelerator) -> None:
        self.machine = machine
        self.entries: list[dict[str, Any]] = []
        self._places: dict[str, int] = {}

    def of(self, layer: Layer, report: LayerReport) -> int:
        """Return the place of a layer's mapping in `entries`."""
        entry = mapped(self.machine, layer, report)
        text = json.dumps(entry)
        if text not in self._places:
            self._places[text] = len(self.entries)
            self.entries.append(entry)
        return self._places[text]


def mapped(machine: Accelerator, layer: Layer, report: LayerReport) -> dict[str, Any]:
    """Return one layer's mapping as the page draws it; sizes are over the loops N K C P Q R S G.

    `tiles` go from the outermost buffer to one PE, `nests` are the loops over them.
    """
    score, shape, nest = report.score, loops_on(machine, layer), report.plan
    cuts = [(1,) * len(DIMS), *nest.cuts(shape)]
    trips = [
        [-(-inner // outer) for outer, inner in zip(*pair, strict=True)] for pair in pairwise(cuts)
    ]
    return {
        "dims": list(shape.dims),
        "bits": list(costed_bits(machine, layer)),
        "text": report.mapping,
        "bound_by": score.bound_by,
        "utilization": score.utilization,
        "active_pes": score.active_pes,
        "cycles": {
            "compute": score.compute_cycles, **score.cycles_by_memory, "ends": score.end_cycles,
        },
        "total_cycles": score.cycles,
        "bytes": score.bytes_by_memory(),
        "tiles": [*map(list, nest.tiles), list(nest.array_tile(shape)), list(nest.pe)],
        "nests": [_loops(sizes, stays) for sizes, stays in zip(trips, nest.stays, strict=True)],
        "rows": _factors(nest.rows),
        "cols": _factors(nest.cols),
    }  # fmt: skip


def _loops(trips: Sequence[int], stays: str | None) -> dict[str, Any]:
    order = [(loop, trips[DIMS.index(loop)]) for loop in loop_order(stays)]
    return {"stays": stays, "loops": [[loop, count] for loop, count in order if count > 1]}


def _factors(sizes: Sequence[int]) -> list[list[Any]]:
    return [[loop, size] for loop, size in zip(DIMS, sizes, strict=True) if size > 1]
