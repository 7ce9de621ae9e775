"""Which options are worth training for a machine: costs of every option at every site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from hwflow.cost import CostModel
from hwflow.costs.measured.fill import gathered
from hwflow.costs.measured.level import Measured
from hwflow.design import Design
from hwflow.edits.operations import Option
from hwflow.edits.sites import Site
from hwflow.errors import HwflowError
from hwflow.machine import Accelerator, Device
from hwflow.quality.promising import OptionCost, faster, promising
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
    return _costs(_pieces(workload, site, options), machine, model)


def _pieces(
    workload: Workload, site: Site, options: Sequence[Option], bits: int | None = None
) -> dict[str, Workload]:
    """Return what would stand at a site with each option that fits, by name."""
    pieces = {o.name: o.piece(site, workload) for o in options if o.fits(site)}
    return pieces if bits is None else {n: p.with_one_width(bits) for n, p in pieces.items()}


def _costs(
    pieces: Mapping[str, Workload], machine: Accelerator, model: CostModel
) -> dict[str, OptionCost]:
    found = {}
    for name, piece in pieces.items():
        with suppress(HwflowError):
            found[name] = _cost(piece, machine, model)
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
    bits: int | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
) -> dict[str, tuple[str, ...]]:
    """Return by site the names of the options that are worth training for a machine.

    See :func:`hwflow.quality.promising.promising`; for `chosen` of :func:`hwflow.distill.distill`.
    With `bits` all options, and what stands at the sites, are costed with these.
    """
    names = [option.name for option in options]
    priced = _priced(workload, sites, options, machine, model, bits)
    return {
        site: promising(names, costs, keep, alpha=alpha, beta=beta)
        for site, costs in priced.items()
    }


def slower_options(
    workload: Workload,
    sites: Sequence[Site],
    options: Sequence[Option],
    machine: Accelerator,
    model: CostModel,
    *,
    bits: int | None = None,
) -> dict[str, tuple[str, ...]]:
    """Return by site the names of the options that a machine runs no faster than its own layers.

    Fewer bits or fewer multiplications are no promise: these options would cost accuracy for
    nothing. `bits` as in :func:`promising_options`.
    """
    names = [option.name for option in options]
    found = {}
    for site, costs in _priced(workload, sites, options, machine, model, bits).items():
        quick = {*faster(names, costs)}
        found[site] = tuple(name for name in names if name in costs and name not in quick)
    return found


def _priced(
    workload: Workload,
    sites: Sequence[Site],
    options: Sequence[Option],
    machine: Accelerator,
    model: CostModel,
    bits: int | None,
) -> dict[str, dict[str, OptionCost]]:
    """Return by site what the options cost that fit it; a device is measured first."""
    pieces = {site.name: _pieces(workload, site, options, bits) for site in sites}
    if isinstance(machine, Device) and isinstance(model, Measured):
        gathered(machine, (p for row in pieces.values() for p in row.values()), model.measuring)
    return {site: _costs(row, machine, model) for site, row in pieces.items()}
