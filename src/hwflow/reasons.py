"""What ``hwflow cost --why`` and ``--page`` add to a cost: what would relieve it, and a page."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwflow.costs.fine import Fine, LayerReport
from hwflow.costs.fine.relief import Relief, relief
from hwflow.costs.mid import ops_roofline
from hwflow.errors import HwflowError
from hwflow.machine import Device
from hwflow.report import CostData, write_cost_page

if TYPE_CHECKING:
    from hwflow.costing import Costing


def explained(costing: Costing) -> Relief:
    """Return what binds every layer and what would relieve it.

    Raises HwflowError for a level that does not search the mappings of a changed machine.
    """
    if not isinstance(costing.model, Fine):
        raise HwflowError(
            f"--why: the {costing.level} level cannot cost a layer again on a changed machine. "
            "Use --level fine, without --mapping."
        )
    return relief(costing.model, costing.design)


def with_relief(plain: Mapping[str, Any], found: Relief) -> dict[str, Any]:
    """Return the JSON of a cost with `relief` beside each layer's costs and in total."""
    by_name = {layer.name: {"relief": layer.to_json()} for layer in found.layers}
    layers = [layer | by_name.get(layer["name"], {}) for layer in plain["layers"]]
    return {**plain, "layers": layers, "relief": found.to_json()}


def write_page(costing: Costing, path: Path, model: str, batch: int) -> None:
    """Write the page of a cost: reasons where the level gives any, mappings where it has them."""
    design = costing.design
    reports = [report for report in costing.reports if isinstance(report, LayerReport)]
    data = CostData(
        model=model,
        machine=design.machine,
        level=costing.level,
        workload=design.workload,
        cost=costing.cost,
        batch=batch,
        reports=reports,
        relief=explained(costing) if isinstance(costing.model, Fine) else None,
        roofline=None if isinstance(design.machine, Device) else ops_roofline(design),
        provenance=provenance(),
        notes=[note for note in (costing.certificate,) if note],
    )
    write_cost_page(data, path)


def provenance() -> dict[str, object]:
    """Return the command and the versions that a page was made with."""
    return {
        "command": " ".join(["hwflow", *sys.argv[1:]]),
        "versions": {name: version(name) for name in ("hwflow", "numpy")},
        "python": platform.python_version(),
    }
