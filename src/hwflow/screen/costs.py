"""What networks, layers and machines cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from hwflow.cost import METRICS, Cost
from hwflow.screen.base import out, plain_table
from hwflow.units import show
from hwflow.workload import Layer, Workload

if TYPE_CHECKING:
    from hwflow.costing import Costing
    from hwflow.costs.fine.relief import Relief
    from hwflow.costs.measured.files import Measured as FileTimes
    from hwflow.fidelity import Fidelity


_LAYER_COLUMNS = ("macs", "params", "latency_s", "energy_j", "dram_bytes")
_FEW_COLUMNS = ("macs", "latency_s", "energy_j", "dram_bytes")
_LEAST_COLUMNS = ("latency_s", "energy_j")


def total_table(cost: Cost) -> Table:
    """Return the totals of a cost with their standing."""
    table = plain_table("Total")
    table.add_column("metric")
    table.add_column("total", justify="right")
    table.add_column("standing")
    for name, known in METRICS.items():
        if name in cost.total:
            value = show(cost.total[name], known.unit, 4)
            table.add_row(known.short, value, cost.standing.get(name, ""))
    return table


def show_costing(costing: Costing, about: str) -> None:
    """Print what a network costs: by layer, in total, notes, what is proven of its mappings."""
    design = costing.design
    out.print(f"{design.workload.name} on {design.machine.name}, {costing.level} level, {about}")
    out.print(layer_table(design.workload, costing.cost, out.width, costing.by_name))
    out.print(total_table(costing.cost))
    for note in costing.notes:
        out.print(f"Note: {note}", highlight=False)
    if costing.certificate:
        out.print(costing.certificate, highlight=False)


def layer_table(
    workload: Workload,
    cost: Cost,
    width: int = 80,
    reports: Mapping[str, Mapping[str, Any]] | None = None,
) -> Table:
    """Return one row per layer that costs anything, with what binds it.

    With `reports`, by layer, come the utilisation of the array's peak rate and the gap. A screen
    narrower than 110 characters gets fewer columns.
    """
    wide = width >= 110
    narrow = _LEAST_COLUMNS if reports else _FEW_COLUMNS
    names: tuple[str, ...] = _LAYER_COLUMNS if wide else narrow
    table = plain_table("By layer")
    table.add_column("layer", overflow="fold")
    for heading in ("op", "output", "w/a bits") if wide else ("op",):
        table.add_column(heading, no_wrap=True)
    for name in names:
        table.add_column(METRICS[name].short, justify="right", no_wrap=True)
    table.add_column("bound by", no_wrap=True)
    for heading in ("util.", "gap") if reports else ():
        table.add_column(heading, justify="right", no_wrap=True)
    for layer, row in zip(workload, cost.layers, strict=True):
        if row.bound_by == "free":
            continue
        about = (layer.op, _size(layer), _bits(layer)) if wide else (layer.op,)
        figures = [show(row.values.get(n, 0), METRICS[n].unit) for n in names]
        proof = _proof(reports.get(layer.name)) if reports else ()
        table.add_row(layer.name, *about, *figures, row.bound_by, *proof)
    return table


def _proof(report: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return the array's utilisation and the gap of a layer's mapping; a given one has none."""
    if report is None:
        return "", ""
    gap = report["gap"]
    return f"{100 * report['utilization']:.0f} %", "given" if gap is None else f"{100 * gap:.2g} %"


def _size(layer: Layer) -> str:
    return "x".join(map(str, layer.out_shape[1:]))


def _bits(layer: Layer) -> str:
    return f"{layer.weight_bits}/{layer.input_bits[0]}" if layer.is_mac else ""


def show_relief(relief: Relief) -> None:
    """Print what binds each layer and what would relieve it, then the network as a whole."""
    out.print("[bold]Why[/bold]")
    for layer in relief.layers:
        out.print(f"{layer.name}: {layer.sentence}", highlight=False)
    table = plain_table("One change at a time, for the whole network")
    for heading in ("change", "latency", "saved", "energy", "saved"):
        table.add_column(heading, justify="left" if heading == "change" else "right")
    for gain in relief.total:
        table.add_row(
            gain.doing,
            show(gain.latency_s, METRICS["latency_s"].unit), _percent(gain.latency_saved),
            show(gain.energy_j, METRICS["energy_j"].unit), _percent(gain.energy_saved),
        )  # fmt: skip
    out.print(table)


def _percent(share: float) -> str:
    """Write a share in percent; what rounds to zero has no sign."""
    return f"{round(100 * share, 1) + 0.0:.1f} %"


def show_levels(found: Fidelity) -> None:
    """Print how well each cheap figure stands in for Fine's, and which level is enough."""
    from hwflow.fidelity import summary, verdicts

    table = plain_table("Stand-ins for the fine level")
    for heading in ("for", "level", "stand-in", "rank", "front kept", "excess", "regret", "spread"):
        table.add_column(heading, justify="left" if heading in ("for", "level") else "right")
    for row in found.rows:
        table.add_row(
            METRICS[row.target].short, row.level, METRICS[row.stand_in].short,
            "-" if row.rank is None else f"{row.rank:.3f}",
            f"{row.recall.kept} of {row.recall.members}", _percent(row.excess),
            _percent(row.regret), _percent(row.spread.ratio - 1),
        )  # fmt: skip
    table.caption = "spread: Fine's figure among plans of nearly the same stand-in, 95th over 5th %"
    out.print(table)
    for verdict in verdicts(found):
        out.print(verdict.words, highlight=False)
    out.print(f"[bold]{summary(found)}[/bold]", highlight=False)


def machine_table(machines: Sequence[Mapping[str, Any]]) -> Table:
    """Return machines by name with what tells them apart."""
    table = plain_table("")
    for heading in ("machine", "PEs", "peak", "area", "what"):
        left = heading in ("machine", "what")
        table.add_column(heading, justify="left" if left else "right", no_wrap=heading != "what")
    for row in machines:
        table.add_row(
            row["name"], "-" if row["pes"] is None else f"{row['pes']:,}",
            show(row["peak_macs_per_s"], "MAC/s"),
            show(row["area_um2"], "um2", 2), row["description"],
        )  # fmt: skip
    return table


def show_times(found: FileTimes) -> None:
    """Print the times of a file, of the one it is held against, and what is to be known."""
    table = plain_table(", ".join(found.device.values()))
    for heading in ("file", "CPU time", "quartiles", "wall time", "rounds"):
        table.add_column(heading, justify="left" if heading == "file" else "right")
    for times in (found.file, found.against):
        if times is not None:
            low, middle, high = times.cpu_s
            quartiles = f"{show(low, 's')} to {show(high, 's')}"
            wall = show(times.wall_s[1], "s")
            table.add_row(times.name, show(middle, "s"), quartiles, wall, str(times.rounds))
    out.print(table)
    for sentence in found.sentences():
        out.print(sentence, highlight=False)
