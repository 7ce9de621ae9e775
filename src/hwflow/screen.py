"""What the command line shows: tables and the progress of a search. The library never prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from hwflow.cost import METRICS, Cost
from hwflow.front import Front, Trial
from hwflow.problem import QUALITY
from hwflow.units import show
from hwflow.workload import Layer, Workload

if TYPE_CHECKING:
    from hwflow.compare import Comparison
    from hwflow.costing import Costing
    from hwflow.costs.fine.relief import Relief
    from hwflow.costs.measured.files import Measured as FileTimes
    from hwflow.costs.measured.fill import Progress as Measured
    from hwflow.fidelity import Fidelity
    from hwflow.loop import Progress as SearchProgress
    from hwflow.train import Progress as Step

out = Console()
err = Console(stderr=True)

_LAYER_COLUMNS = ("macs", "params", "latency_s", "energy_j", "dram_bytes")
_FEW_COLUMNS = ("macs", "latency_s", "energy_j", "dram_bytes")
_LEAST_COLUMNS = ("latency_s", "energy_j")


def total_table(cost: Cost) -> Table:
    """Return the totals of a cost with their standing."""
    table = _table("Total")
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
    table = _table("By layer")
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


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)


def _size(layer: Layer) -> str:
    return "x".join(map(str, layer.out_shape[1:]))


def _bits(layer: Layer) -> str:
    return f"{layer.weight_bits}/{layer.input_bits[0]}" if layer.is_mac else ""


def front_table(front: Front, baseline: Trial | None = None, limit: int = 20) -> Table:
    """Return the front (at most `limit` trials, spread evenly) beside the original network."""
    table = _table(f"Front: {len(front)} networks")
    table.add_column("trial", justify="right")
    for name in front.objectives:
        table.add_column(_heading(name), justify="right")
        if baseline is not None and name != QUALITY:
            table.add_column("saved", justify="right")
    if baseline is not None:
        table.add_row("original", *_cells(baseline, front.objectives, baseline), style="dim")
    for trial in _spread(front.trials, limit):
        table.add_row(f"#{trial.number}", *_cells(trial, front.objectives, baseline))
    if len(front) > limit:
        table.caption = f"{limit} of {len(front)} shown, evenly spread; all are in front.csv"
    return table


def _heading(name: str) -> str:
    return name if name == QUALITY else METRICS[name].short


def _cells(trial: Trial, objectives: Sequence[str], baseline: Trial | None) -> Iterator[str]:
    for name in objectives:
        if name == QUALITY:
            yield f"{100 * trial.value(name):.2f} %"
            continue
        yield show(trial.value(name), METRICS[name].unit)
        if baseline is not None:
            yield _saving(trial.value(name), baseline.value(name))


def _saving(value: float, before: float) -> str:
    return f"{100 * (1 - value / before):.0f} %" if before else "-"


def _spread(trials: Sequence[Trial], limit: int) -> list[Trial]:
    if len(trials) <= limit:
        return list(trials)
    step = (len(trials) - 1) / (limit - 1)
    return [trials[round(index * step)] for index in range(limit)]


def built_table(built: Mapping[str, Any]) -> Table:
    """Return what `hwflow build` made: accuracy on the test split and costs, before and after."""
    table = _table(f"Trial #{built['trial']}")
    for heading in ("", "original", "built", "change"):
        table.add_column(heading, justify="left" if heading == "" else "right", no_wrap=True)
    test = built["test"]
    gain, error = 0.0 - 100 * test["drop"], 100 * test["standard_error"]
    table.add_row(
        "test accuracy", f"{100 * test['before']:.2f} %", f"{100 * test['after']:.2f} %",
        f"{gain:+.2f} ± {error:.2f} points",
    )  # fmt: skip
    shown = ("latency_s", "energy_j", "dram_bytes", "model_bytes")
    for name in (name for name in shown if name in built["total"]):
        known, before, after = METRICS[name], built["original"][name], built["total"][name]
        change = f"{100 * (after / before - 1):+.0f} %" if before else "-"
        table.add_row(known.short, show(before, known.unit), show(after, known.unit), change)
    return table


def latency_table(latency: Mapping[str, Any]) -> Table:
    """Return a built network's latency: modelled, tabled and measured, before and after."""
    table = _table("Latency, side by side")
    for heading in ("", "on", "original", "built", "speed-up"):
        table.add_column(heading, justify="left" if heading in ("", "on") else "right")
    for way in ("modelled", "tabled", "measured"):
        found = latency[way]
        if found is None:
            continue
        before, after = found["before_s"], found["after_s"]
        ratio = f"{before / after:.2f}x" if before and after else "-"
        table.add_row(way, found["on"], show(before, "s"), show(after, "s"), ratio)
    return table


def show_times(found: FileTimes) -> None:
    """Print the times of a file, of the one it is held against, and what is to be known."""
    table = _table(", ".join(found.device.values()))
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


@contextmanager
def measuring_bar(quiet: bool) -> Iterator[Callable[[Measured], None]]:
    """Show a progress bar with the time left while layers are measured; nothing when `quiet`."""
    with counting_bar(quiet) as bar:
        task = bar.add_task("measuring", total=None, count="", note="")

        def show_step(at: Measured) -> None:
            left = "" if at.left_s is None else f"{show(at.left_s, 's')} left"
            bar.update(
                task, completed=at.done, total=at.total, count=f"{at.done}/{at.total}", note=left
            )

        yield show_step


def built_lines(built: Mapping[str, Any]) -> Iterator[str]:
    """Yield what else is to be said of a built network: its test, its file, the runtime."""
    machine = _machine_of(built.get("choices") or {})
    if machine:
        yield f"Its machine: {machine}."
    test = built["test"]
    yield (
        f"Tested on {test['images']:,} images that the search has not seen: right only after "
        f"{test['gained']}, right only before {test['lost']}."
    )
    if built["written"]:
        yield f"Written: {built['written']}"
    measured = (built.get("latency") or {}).get("measured")
    yield from measured["notes"] if measured else ()
    export = built["export"]
    if not export:
        return
    yield from _export_lines(export)


def _machine_of(choices: Mapping[str, Any]) -> str:
    """Return the machine's figures among choices, such as "array.rows = 8"; empty where fixed."""
    own = {k.removeprefix("machine:"): v for k, v in choices.items() if k.startswith("machine:")}
    return ", ".join(f"{path} = {value}" for path, value in own.items())


def _export_lines(export: Mapping[str, Any]) -> Iterator[str]:
    """Yield how a file compares with the torch module, and how it says bits."""
    qonnx = export.get("format") == "qonnx"
    runner = "The file, run node by node," if qonnx else "ONNX Runtime"
    settings = f" (with {_settings(export['settings'])})" if export["settings"] else ""
    if export["agreement"] is not None:
        yield (
            f"{runner}{settings} agrees with torch on {100 * export['agreement']:.2f} % of "
            f"{export['inputs']:,} test images."
        )
    if qonnx:
        yield (
            f"{export['simulated_layers']} layers have their bits in Quant nodes. The file is not "
            "timed: ONNX Runtime has no such nodes."
        )
    elif export["integer_layers"] or export["simulated_layers"]:
        yield (
            f"{export['integer_layers']} layers read 8-bit operands only; "
            f"{export['simulated_layers']} have other bits, which the file simulates."
        )


def _settings(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in settings.items())


def counting_bar(quiet: bool) -> Progress:
    """Return a progress bar with a count, a note, and the time that is left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TextColumn("[dim]{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err, disable=quiet)


@contextmanager
def search_bar(quiet: bool) -> Iterator[SearchBar]:
    """Show a progress bar while a search runs; nothing when `quiet`."""
    with counting_bar(quiet) as bar:
        yield SearchBar(bar)


@contextmanager
def tuning_bar(quiet: bool) -> Iterator[Callable[[Step], None]]:
    """Show a progress bar while a network is fine-tuned; nothing when `quiet`."""
    with counting_bar(quiet) as bar:
        task = bar.add_task("fine-tuning", total=None, count="", note="")

        def show(at: Step) -> None:
            note = f"loss {at.loss:.3f}, learning rate {at.lr:.2g}"
            count = f"{at.step}/{at.steps}"
            bar.update(task, completed=at.step, total=at.steps, count=count, note=note)

        yield show


class SearchBar:
    """Feeds the progress of a search to a rich progress bar."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("loading", total=None, count="", note="")

    def __call__(self, progress: SearchProgress) -> None:
        """Show one more step of the search."""
        best = "-" if progress.best is None else f"{100 * progress.best:.2f} %"
        note = f"best {best}, hypervolume {progress.hypervolume:.3f}"
        if progress.infeasible:
            note += f", {progress.infeasible} beyond the limits"
        self._bar.update(
            self._task,
            description="searching",
            completed=progress.evaluated,
            total=progress.budget,
            count=f"{progress.evaluated}{f'/{progress.budget}' if progress.budget else ''}",
            note=note,
        )


def show_relief(relief: Relief) -> None:
    """Print what binds each layer and what would relieve it, then the network as a whole."""
    out.print("[bold]Why[/bold]")
    for layer in relief.layers:
        out.print(f"{layer.name}: {layer.sentence}", highlight=False)
    table = _table("One change at a time, for the whole network")
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

    table = _table("Stand-ins for the fine level")
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
    table = _table("")
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


def show_comparison(found: Comparison) -> None:
    """Print who wins, the contenders' figures, and what is to be known of them."""
    from hwflow.compare import notes, verdict

    out.print(compare_table(found))
    for note in notes(found):
        out.print(f"Note: {escape(note)}", highlight=False)
    out.print(f"[bold]{escape(verdict(found))}[/bold]", highlight=False)


def compare_table(found: Comparison) -> Table:
    """Return contenders, best first: quality and hypervolume at the evaluations compared at."""
    from hwflow.compare import shown, span

    level = f", costed at {found.level}" if found.recosted else ""
    table = _table(f"After {found.evaluations} evaluations on {found.machine}{level}")
    last = () if found.target is None else ("to random",)
    for heading in ("solver", "seeds", found.quality, "over seeds", "volume", *last, "CPU"):
        left = heading == "solver"
        table.add_column(heading, justify="left" if left else "right", no_wrap=not left)
    for row in found.rows:
        reached = () if row.reached is None else (
            f"{row.reached:g}" if isfinite(row.reached) else "never",
        )  # fmt: skip
        table.add_row(
            escape(row.name), ", ".join(map(str, row.seeds)), shown(found, row.quality.median),
            span(found, row.quality), f"{row.volume:.3f}", *reached, show(row.cpu_seconds, "s"),
        )  # fmt: skip
    table.caption = (
        f"best {found.quality} and hypervolume: median over seeds; to random: evaluations to "
        "random's median; CPU: time of evaluation"
    )
    return table
