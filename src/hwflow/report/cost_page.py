"""The page of one network on one machine: what each layer costs, why, and what would relieve it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwflow.cost import Cost, LayerCost
from hwflow.machine import Accelerator
from hwflow.report import tables, words
from hwflow.report.anatomy import anatomy
from hwflow.report.document import document, write_page
from hwflow.report.roofline import roofs
from hwflow.report.series import costly, layer_metrics, metric_entry, plain, side
from hwflow.report.tables import Cell
from hwflow.units import FLOAT_BITS
from hwflow.workload import Layer, Workload

if TYPE_CHECKING:
    from hwflow.costs.fine.level import LayerReport
    from hwflow.costs.fine.relief import Gain, LayerRelief, Relief
    from hwflow.costs.mid import Roofline

SCRIPTS = ("figures.js", "anatomy.js", "parts.js", "cost.js")
CARDS = ("latency_s", "energy_j", "dram_bytes", "macs")
_COLUMNS = ("macs", "latency_s", "energy_j", "dram_bytes")
_BOUNDS = {"compute": "arithmetic", "port": "a buffer's port", "dram": "DRAM", "free": "nothing"}


@dataclass(frozen=True)
class CostData:
    """The cost of one network on one machine, and what is known of its layers."""

    model: str
    machine: Accelerator
    level: str
    workload: Workload
    cost: Cost
    batch: int = 1
    reports: Sequence[LayerReport] = ()
    """Mappings of the layers with MACs; empty where the level has none."""
    relief: Relief | None = None
    roofline: Roofline | None = None
    provenance: Mapping[str, object] = field(default_factory=dict)
    notes: Sequence[str] = ()


def render_cost(data: CostData) -> str:
    """Return the page as one HTML document; the same data give the same text."""
    return document(
        "cost.html.j2",
        SCRIPTS,
        cost_page_data(data),
        data=data,
        headline=headline(data),
        cards=[(words.NAMES[n], words.cost(n, data.cost.total[n])) for n in _known(CARDS, data)],
        rows=_totals(data),
        standings=words.STANDINGS,
        layer_columns=_headings(data),
        layer_rows=list(_layer_rows(data)),
        remedies=[_remedy(gain) for gain in data.relief.total] if data.relief else [],
        heat=_heat(data.relief) if data.relief else None,
        mapped=[report.name for report in data.reports],
        machine=data.machine,
        machine_summary=tables.machine_summary(data.machine),
        machine_figures=tables.machine_figures(data.machine),
        provenance=tables.provenance(data.machine, data.provenance),
    )


def write_cost_page(data: CostData, path: str | Path) -> None:
    """Write the page to `path`, whole or not at all.

    Raises HwflowError when the file cannot be written.
    """
    write_page(render_cost(data), path)


def cost_page_data(data: CostData) -> dict[str, Any]:
    """Return what the page's scripts read: the same form as a run's page, with one network."""
    metrics = layer_metrics(data.cost)
    names = costly(data.workload, data.cost, metrics)
    sides = {"before": (data.workload, data.cost, data.reports)}
    found = {
        "single": True,
        "metrics": [metric_entry(name) for name in metrics],
        "layers": {
            "names": names,
            "metrics": metrics,
            "native_bits": data.machine.native_bits,
            "before": side(data.workload, data.cost, names, metrics),
            "after": {},
        },
        "roofline": roofs(data.roofline, data.machine, {}, names),
        "anatomy": anatomy(data.machine, sides, names),
    }
    return dict(plain(found))


def headline(data: CostData) -> str:
    """Say in one or two sentences what the network costs, what binds it and what helps most."""
    known = _known(("latency_s", "energy_j"), data)
    costs = " and ".join(words.cost(name, data.cost.total[name]) for name in known)
    start = f"{costs}, {_binding(data)}." if _is_measured(data) else f"{costs}; {_binding(data)}."
    best = data.relief.total[0] if data.relief and data.relief.total else None
    if best is None or best.saved <= 0:
        return start
    sought = data.relief.sought if data.relief else ""
    return f"{start} {_unbroken(best.words[0].upper() + best.words[1:])} of the {sought}."


def _binding(data: CostData) -> str:
    """Say what takes most of the time, such as "layers that DRAM binds take 54 % of it"."""
    if _is_measured(data):
        slowest = max(data.cost.layers, key=lambda layer: layer.latency_s)
        part = 100 * slowest.latency_s / (sum(x.latency_s for x in data.cost.layers) or 1)
        return f"measured; of all layers {slowest.name} takes most, {part:.0f}{words.SPACE}%"
    times: dict[str, float] = {}
    for layer in data.cost.layers:
        times[layer.bound_by] = times.get(layer.bound_by, 0.0) + layer.latency_s
    most = max(times, key=lambda name: times[name])
    whole = sum(times.values())
    share = f"{100 * times[most] / whole:.0f}{words.SPACE}%" if whole else "none"
    return f"layers that {_BOUNDS.get(most, most)} binds take {share} of the time"


def _known(names: Sequence[str], data: CostData) -> list[str]:
    """Return the metrics that the level gives."""
    return [name for name in names if name in data.cost.total]


def _is_measured(data: CostData) -> bool:
    """Whether latencies were measured, so that what binds a layer is not known."""
    return data.cost.standing.get("latency_s") == "measured"


def _totals(data: CostData) -> list[tuple[str, str, str]]:
    """Return (metric, total, standing) of every metric that the level gives."""
    standing = data.cost.standing
    return [
        (name, words.cost(key, data.cost.total[key]), standing.get(key, "estimate"))
        for key, name in words.NAMES.items()
        if key in data.cost.total
    ]


def _headings(data: CostData) -> list[tuple[str, bool]]:
    """Return the headings of the table of layers, and whether a column holds numbers."""
    costs = [(words.NAMES[name], True) for name in _known(_COLUMNS, data)]
    last = [("array used", True)] if data.reports else []
    reasons = "what binds it, and what helps" if data.relief else "bound by"
    reasons = "how it is known" if _is_measured(data) else reasons
    return [("operator", False), ("output", True), ("bits", True), *costs, *last, (reasons, False)]


def _layer_rows(data: CostData) -> list[tuple[str, list[Cell], str]]:
    """Return (layer, its cells, what binds it) for every layer that costs anything."""
    known = {layer.name: layer for layer in data.workload}
    reports = {report.name: report for report in data.reports}
    reliefs = {one.name: one for one in data.relief.layers} if data.relief else {}
    return [
        (
            row.name,
            _cells(known[row.name], row, reports.get(row.name), data),
            _reason(row, reliefs.get(row.name)),
        )
        for row in data.cost.layers
        if row.bound_by != "free"
    ]


def _cells(layer: Layer, row: LayerCost, report: LayerReport | None, data: CostData) -> list[Cell]:
    shape = "x".join(map(str, layer.out_shape[1:]))
    bits = f"{_bits('w', layer.weight_bits)} {_bits('a', layer.input_bits[0])}"
    names = _known(_COLUMNS, data)
    costs = [Cell(words.cost(n, row.values.get(n)), row.values.get(n)) for n in names]
    used = report.score.utilization if report else None
    share = Cell(words.NOTHING if used is None else f"{100 * used:.0f}{words.SPACE}%", used)
    return [
        Cell(layer.op, None),
        Cell(shape, None),
        Cell(bits if layer.is_mac else "", None),
        *costs,
        *[share][: bool(data.reports)],
    ]


def _bits(operand: str, bits: int) -> str:
    return f"{operand} float" if bits == FLOAT_BITS else f"{operand}{bits}"


def _reason(row: LayerCost, relief: LayerRelief | None) -> str:
    bound = _BOUNDS.get(row.bound_by, row.bound_by)
    if bound == "measured":
        return "Measured."
    return _unbroken(relief.sentence) if relief else f"{bound[0].upper()}{bound[1:]} binds."


def _unbroken(text: str) -> str:
    """Keep figures and their percent sign on one line."""
    return text.replace(" %", f"{words.SPACE}%")


@dataclass(frozen=True)
class Remedy:
    """One remedy for the whole network, ready to print."""

    doing: str
    latency: str
    energy: str
    latency_saved: float
    energy_saved: float
    latency_text: str
    energy_text: str


def _remedy(gain: Gain) -> Remedy:
    return Remedy(
        gain.doing,
        words.cost("latency_s", gain.latency_s),
        words.cost("energy_j", gain.energy_j),
        gain.latency_saved,
        gain.energy_saved,
        words.change(-gain.latency_saved),
        words.change(-gain.energy_saved),
    )


def _heat(relief: Relief) -> dict[str, Any]:
    """Return the latency that each remedy saves of each layer, remedies as in the total's order."""
    keys = [gain.key for gain in relief.total]
    rows = []
    for layer in relief.layers:
        saved = {gain.key: gain.latency_saved for gain in layer.gains}
        rows.append((layer.name, [saved.get(key) for key in keys]))
    return {"keys": keys, "rows": rows}
