"""Samples costed at the fine level: a search, a cost with reasons, and a comparison of levels."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from sample_data import residual, sample

from hwflow.costs.fine import Fine
from hwflow.costs.fine.relief import relief
from hwflow.costs.mid import ops_roofline
from hwflow.design import Design
from hwflow.edits.quantize import quantize
from hwflow.fidelity import Fidelity, levels
from hwflow.machine import load_machine
from hwflow.report import CostData, ReportData
from hwflow.testing.toy import toy_workload

FINE = Fine()


@cache
def fine_run() -> ReportData:
    """The sample search, its networks' costs by layer replaced by those of the fine level."""
    data = sample(blocks=1, count=12)
    design = Design(data.workload_before, data.machine)
    after = {n: design.with_workload(workload) for n, (workload, _) in data.details.items()}
    return replace(
        data,
        level="fine",
        cost_before=FINE.cost(design),
        details={n: (one.workload, FINE.cost(one)) for n, one in after.items()},
        reports_before=FINE.report(design),
        reports={n: FINE.report(one) for n, one in after.items()},
    )


@cache
def costed(machine: str = "eyeriss") -> CostData:
    """A small residual network on a machine, with reasons."""
    design = Design(residual(1, "resnet8"), load_machine(machine))
    return CostData(
        model="cifar:resnet8",
        machine=design.machine,
        level="fine",
        workload=design.workload,
        cost=FINE.cost(design),
        reports=FINE.report(design),
        relief=relief(FINE, design),
        roofline=ops_roofline(design),
        provenance={"command": "hwflow cost cifar:resnet8 --on eyeriss --why"},
        notes=("A note.",),
    )


@cache
def compared() -> Fidelity:
    """Forty plans of a small network at every level."""
    space = quantize(toy_workload(), bits=(2, 4, 8))
    return levels(space, load_machine("eyeriss"), 40, fine=FINE)
