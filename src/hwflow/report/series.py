"""The numbers behind the charts, as plain data for the page's scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, sqrt
from typing import Any

from hwflow.cost import Cost, LayerCost
from hwflow.report import words
from hwflow.report.anatomy import anatomy
from hwflow.report.data import ReportData
from hwflow.report.progress import progress
from hwflow.report.roofline import roofs
from hwflow.workload import Layer, Workload

LAYER_CHARTS = 3
_LAYER_METRICS = (
    "energy_j", "latency_s", "dram_bytes", "bit_ops", "frac_ops", "macs", "peak_bytes",
)  # fmt: skip


def charts(data: ReportData) -> dict[str, Any]:
    """Return all that the charts draw; every number is finite or None."""
    metrics = layer_metrics(data.cost_before)
    names = layer_names(data, metrics)
    sides = {number: side(*pair, names, metrics) for number, pair in data.details.items()}
    workloads = {number: workload for number, (workload, _) in data.details.items()}
    found = {
        "quality": {
            "name": data.quality,
            "share": data.is_share,
            "original": data.original_quality,
        },
        "metrics": [metric_entry(name) for name in data.metrics],
        "objectives": list(data.front.objectives),
        "before": {name: data.cost_before.total.get(name) for name in data.metrics},
        "trials": _trials(data),
        "progress": progress(data.evaluated, data.front.objectives),
        "layers": {
            "names": names,
            "metrics": metrics,
            "native_bits": data.machine.native_bits,
            "before": side(data.workload_before, data.cost_before, names, metrics),
            "after": {str(number): columns for number, columns in sides.items()},
        },
        "roofline": roofs(data.roofline, data.machine, workloads, names),
        "anatomy": _anatomy(data, names),
    }
    return dict(plain(found))


def _anatomy(data: ReportData, names: Sequence[str]) -> dict[str, Any] | None:
    """Return energy by part and mappings of the original and of every network of the front."""
    sides = {"before": (data.workload_before, data.cost_before, data.reports_before)}
    for number, reports in data.reports.items():
        sides[str(number)] = (*data.details[number], reports)
    return anatomy(data.machine, sides, names)


def metric_entry(name: str) -> dict[str, Any]:
    """Return what the scripts know of a metric."""
    return {"id": name, "name": words.NAMES[name], "unit": words.unit(name)}


def _trials(data: ReportData) -> dict[str, list[Any]]:
    """Return the evaluated trials by column."""
    front = {trial.number for trial in data.front}
    rows = data.evaluated
    columns: dict[str, list[Any]] = {
        "number": [t.number for t in rows],
        "front": [t.number in front for t in rows],
        "quality": [t.quality for t in rows],
        "weight_bits": [stored_bits(t.total) for t in rows],
        "product_bits": [product_bits(t.total) for t in rows],
    }
    return columns | {name: [t.total.get(name) for t in rows] for name in data.metrics}


def stored_bits(total: Mapping[str, float]) -> float | None:
    """Return the mean bits of a parameter, 8 model_bytes / params."""
    return _ratio(8 * total.get("model_bytes", 0.0), total.get("params", 0.0))


def product_bits(total: Mapping[str, float]) -> float | None:
    """Return the root of BitOPs / MACs: the width of equal operands that does the same work."""
    ratio = _ratio(total.get("bit_ops", 0.0), total.get("macs", 0.0))
    return sqrt(ratio) if ratio else None


def _ratio(above: float, below: float) -> float | None:
    return above / below if above > 0 and below > 0 else None


def layer_metrics(cost: Cost) -> list[str]:
    """Return the metrics that are shown by layer: the first few that any layer has."""
    return [n for n in _LAYER_METRICS if any(_positive(c, n) for c in cost.layers)][:LAYER_CHARTS]


def _positive(layer: LayerCost, name: str) -> bool:
    return layer.values.get(name, 0.0) > 0


def layer_names(data: ReportData, metrics: Sequence[str]) -> list[str]:
    """Return the layers worth showing, before and after, in the order they run."""
    names = costly(data.workload_before, data.cost_before, metrics)
    for workload, cost in data.details.values():
        names = merged(names, costly(workload, cost, metrics))
    return names


def costly(workload: Workload, cost: Cost, metrics: Sequence[str]) -> list[str]:
    """Return the layers that multiply, or cost something in one of the metrics."""
    by_name = {layer.name: layer for layer in cost.layers}
    return [
        layer.name
        for layer in workload
        if layer.is_mac
        or (layer.name in by_name and any(_positive(by_name[layer.name], m) for m in metrics))
    ]


def merged(first: list[str], second: Sequence[str]) -> list[str]:
    """Return `first` with the other names of `second` put after the names they follow there."""
    names, known, place = list(first), set(first), 0
    for name in second:
        if name in known:
            place = names.index(name) + 1
        else:
            names.insert(place, name)
            known.add(name)
            place += 1
    return names


def side(
    workload: Workload, cost: Cost, names: Sequence[str], metrics: Sequence[str]
) -> dict[str, list[Any]]:
    """Return bits, costs and bounds of the named layers; None where a layer is missing."""
    costs = {layer.name: layer for layer in cost.layers}
    known = {layer.name: layer for layer in workload}
    layers = [known.get(name) for name in names]
    found = [costs.get(name) for name in names]
    columns: dict[str, list[Any]] = {
        "weight_bits": [_weight_bits(layer) for layer in layers],
        "input_bits": [max(layer.input_bits, default=None) if layer else None for layer in layers],
        "op": [layer.op if layer else None for layer in layers],
        "bound_by": [c.bound_by if c else None for c in found],
    }
    return columns | {m: [c.values.get(m) if c else None for c in found] for m in metrics}


def _weight_bits(layer: Layer | None) -> int | None:
    return layer.weight_bits if layer and layer.is_mac else None


def plain(value: Any) -> Any:
    """Return `value` for JSON: floats with 7 digits, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    return float(f"{value:.7g}") if isfinite(value) else None
