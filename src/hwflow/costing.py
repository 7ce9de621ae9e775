"""What ``hwflow cost`` does, without the screen: from options to costs, reports and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwflow import plugins
from hwflow.cost import Cost, CostModel
from hwflow.costs.densities import read_densities
from hwflow.design import Design
from hwflow.errors import HwflowError, unknown_name
from hwflow.machine import Accelerator, Device
from hwflow.workload import Workload

VIEWS = ("convolution", "gemm")


@dataclass(frozen=True)
class Options:
    """What is asked of the cost model."""

    level: str | None = None
    """None: fine for a file of mappings, else mid."""
    objective: str | None = None
    full: bool = False
    time_limit: float | None = None
    """Seconds for each search; what is found by then has a certified gap."""
    mapping: Path | None = None
    view: str | None = None
    """How convolutions are seen, instead of as the machine says."""
    cached: bool = True
    before_compiling: Callable[[], None] | None = None

    @property
    def name(self) -> str:
        """The level's name."""
        return self.level or ("fine" if self.mapping else "mid")

    def needs_search(self) -> list[str]:
        """Return the options given that only a level with a search has."""
        given = {
            "--objective": self.objective, "--full": self.full, "--time-limit": self.time_limit,
            "--mapping": self.mapping, "--view": self.view,
        }  # fmt: skip
        return [option for option, value in given.items() if value]


@dataclass(frozen=True)
class Costing:
    """A design's cost, and what the level says of each layer beyond it."""

    design: Design
    level: str
    cost: Cost
    reports: tuple[Any, ...] = ()
    """One for each layer with MACs, where the level gives them."""
    certificate: str = ""
    """What is proven of the mappings, and in which mapspace."""
    notes: tuple[str, ...] = field(default=())
    model: CostModel | None = field(default=None, compare=False, repr=False)
    """The level itself, for what else is to be asked of it."""

    @property
    def by_name(self) -> Mapping[str, dict[str, Any]]:
        """The reports as plain data, by layer."""
        return {report.name: report.to_json() for report in self.reports}

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the cost, with each layer's report beside its costs."""
        plain, more = self.cost.to_json(), self.by_name
        layers = [layer | more.get(layer["name"], {}) for layer in plain["layers"]]
        proof = {"certificate": self.certificate} if self.certificate else {}
        return plain | {"layers": layers, "notes": list(self.notes)} | proof


def own_level(machine: Accelerator) -> str | None:
    """Return the level that a machine has to be costed at: a device is measured."""
    return "measured" if isinstance(machine, Device) else None


def run(workload: Workload, machine: Accelerator, options: Options) -> Costing:
    """Cost a workload on a machine at the level that the options name."""
    model, notes = cost_model(options)
    machine = with_view(machine, options.view)
    design = Design(workload, machine)
    cost = model.cost(design)
    report = getattr(model, "report", None)
    reports = tuple(report(design)) if report else ()
    certificate = getattr(model, "certificate", None)
    return Costing(
        design=design,
        level=options.name,
        cost=cost,
        reports=reports,
        certificate=certificate(machine, reports) if certificate else "",
        notes=(*cost.notes, *notes()),
        model=model,
    )


Notes = Callable[[], Sequence[str]]


def cost_model(options: Options) -> tuple[CostModel, Notes]:
    """Return the level, and what says afterwards whether its cache failed.

    Raises HwflowError for options that the level does not have.
    """
    if options.name not in ("fine", "chip"):
        model = plugins.load("costs", options.name)()
        given = options.needs_search()
        if given:
            raise HwflowError(
                f"{', '.join(given)}: the {options.name} level knows no mappings. Add --level "
                "fine (or chip, on a row-stationary machine)."
            )
        return model, tuple
    return _searching(options)


def _searching(options: Options) -> tuple[CostModel, Notes]:
    from hwflow.costs.chip.level import ChipLevel
    from hwflow.costs.fine import Fine
    from hwflow.costs.mappings import read_mappings
    from hwflow.costs.replay import Replay

    given = read_mappings(options.mapping) if options.mapping else None
    by_chip = options.name == "chip" or (given is not None and given.row_stationary)
    goal: Any = options.objective
    cache, notes = _cache(options)
    fine = Fine(
        "latency" if by_chip and goal == "chip" else goal or "latency", full=options.full,
        time_limit=options.time_limit, cache=cache, before_compiling=options.before_compiling,
    )  # fmt: skip
    base = ChipLevel(goal or "chip", fine=fine) if by_chip else fine
    return (base if given is None else Replay(given, base)), notes


def _cache(options: Options) -> tuple[Any, Notes]:
    """Return this user's cache of mappings, or one in memory when the file cannot be used."""
    from hwflow.costs.fine.cache import Cache, user_file

    if not options.cached:
        return Cache(), tuple
    try:
        cache = Cache(user_file())
    except HwflowError as error:
        message = f"Mappings are not kept for the next time. {error}"
        return Cache(), lambda: (message,)
    return cache, lambda: (cache.fault,) if cache.fault else ()


def with_view(machine: Accelerator, view: str | None) -> Accelerator:
    """Return the machine with another view of convolutions, unchanged for None."""
    if view is None:
        return machine
    if view not in VIEWS:
        raise HwflowError(unknown_name("view", view, VIEWS))
    return machine.model_copy(update={"view": view})


def with_densities(workload: Workload, path: Path | None) -> Workload:
    """Return the workload with the densities of a CSV file, unchanged for None."""
    if path is None:
        return workload
    return read_densities(path, [layer.name for layer in workload]).on(workload)


def save_mappings(costing: Costing, path: Path) -> None:
    """Write the reported mappings for a replay. Raises HwflowError where the level has none."""
    from hwflow.costs.mappings import write_mappings

    if costing.level not in ("fine", "chip"):
        raise HwflowError(
            f"--save-mappings: the {costing.level} level has no mappings. Add --level fine."
        )
    write_mappings(path, costing.reports, costing.design.workload.name, costing.design.machine.name)
