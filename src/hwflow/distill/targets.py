"""Which options are worth training for a machine: costs of every option at every site."""

from __future__ import annotations

from collections.abc import Sequence

from hwflow.cost import CostModel
from hwflow.costs.measured.fill import gathered
from hwflow.costs.measured.level import Measured
from hwflow.design import Design
from hwflow.edits.operations import Option
from hwflow.edits.sites import Site
from hwflow.errors import HwflowError
from hwflow.machine import Accelerator, Device
from hwflow.quality.promising import OptionCost, promising
from hwflow.workload import Workload


def option_costs(
    workload: Workload,
    site: Site,
    options: Sequence[Option],
    machine: Accelerator,
    model: CostModel,
) -> dict[str, OptionCost]:
    """Return what options cost at a site, each alone, by name.

    Those that do not fit the site or that the model cannot cost are left out.
    """
    found = {}
    for option in options:
        if option.fits(site):
            try:
                found[option.name] = _cost(option.piece(site, workload), machine, model)
            except HwflowError:
                continue
    return found


def _cost(piece: Workload, machine: Accelerator, model: CostModel) -> OptionCost:
    if not piece.layers:
        return OptionCost(0.0, 0.0, 0.0)
    total = model.cost(Design(piece, machine)).total
    return OptionCost(float(piece.macs), float(piece.params), float(total["latency_s"]))


def promising_options(
    workload: Workload,
    sites: Sequence[Site],
    options: Sequence[Option],
    machine: Accelerator,
    model: CostModel,
    keep: int = 12,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
) -> dict[str, tuple[str, ...]]:
    """Return by site the names of the options that are worth training for a machine.

    See :func:`hwflow.quality.promising.promising`; for `chosen` of :func:`hwflow.distill.distill`.
    """
    names = [option.name for option in options]
    if isinstance(machine, Device) and isinstance(model, Measured):
        fitting = [(o, site) for site in sites for o in options if o.fits(site)]
        gathered(machine, (o.piece(site, workload) for o, site in fitting), model.measuring)
    found = {}
    for site in sites:
        costs = option_costs(workload, site, options, machine, model)
        found[site.name] = promising(names, costs, keep, alpha=alpha, beta=beta)
    return found
