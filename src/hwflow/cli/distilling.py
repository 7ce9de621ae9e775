"""The command that trains replacement operations site by site: hwflow distill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwflow.cli.app import Classes, InputShape, Json, Weights, app, listed, print_json, shape
from hwflow.errors import HwflowError, unknown_name

if TYPE_CHECKING:
    from hwflow.distill import Distillate, Progress, Scores
    from hwflow.edits.operations import Option
    from hwflow.edits.sites import Site
    from hwflow.workload import Workload


@app.command()
def distill(
    model: Annotated[str, typer.Argument(help="As in `hwflow cost`; a torch model.")],
    data: Annotated[str, typer.Option(help="As in `hwflow search`.")],
    out: Annotated[Path, typer.Option(help="Run folder; the same command goes on.")],
    weights: Weights = None,
    sites: Annotated[str | None, typer.Option(help="Sites, such as layer1.0,layer1.1.")] = None,
    level: Annotated[
        str, typer.Option(help="Sites are blocks (block) or layers (layer).")
    ] = "block",
    options: Annotated[
        str | None, typer.Option(help="Names or families of operations, comma between.")
    ] = None,
    on: Annotated[
        str | None, typer.Option("--on", help="Train only what is promising on this machine.")
    ] = None,
    cost: Annotated[str | None, typer.Option(help="Cost model with --on.")] = None,
    promising: Annotated[
        int, typer.Option(min=0, help="With --on: the best so many per site, and the front.")
    ] = 12,
    images: Annotated[int, typer.Option(min=1, help="Training images.")] = 4000,
    held: Annotated[int, typer.Option(min=1, help="More images, held back to measure.")] = 500,
    epochs: Annotated[float, typer.Option(help="Passes over the images.")] = 2.0,
    lr: Annotated[float, typer.Option(help="Peak of the learning rate.")] = 0.03,
    batch: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 32,
    score: Annotated[
        int, typer.Option(min=0, help="Validation images that each option is scored on; 0: none.")
    ] = 512,
    workers: Annotated[int, typer.Option(min=1, help="Processes, of one thread each.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    input_shape: InputShape = None,
    classes: Classes = None,
    as_json: Json = False,
) -> None:
    """Train operations to do what a network does at each site, and score each alone.

    Writes OUT/weights/SITE/OPTION.safetensors and journals results and scores in OUT/study.db.
    """
    from hwflow.data import load_data
    from hwflow.distill import Fitting
    from hwflow.distill import distill as distilled
    from hwflow.distill import score as scored
    from hwflow.edits.operations import find
    from hwflow.edits.sites import sites as sites_of
    from hwflow.extract import extract
    from hwflow.models import load

    network = load(model, weights=weights, num_classes=classes, input_shape=shape(input_shape))
    workload = extract(network)
    places = _named(sites_of(workload, level), sites)
    offered = find(listed(options) if options else None)
    chosen = _promising(workload, places, offered, on, cost, promising)
    splits = load_data(data, network)
    how = Fitting(epochs, lr, batch=batch, seed=seed)
    with distilling_bar(quiet=as_json) as bar:
        found = distilled(
            network, places, offered, splits.train, out, chosen=chosen, images=images, held=held,
            how=how, workers=workers, on_progress=bar,
        )  # fmt: skip
        scores = None
        if score:
            scores = scored(
                network, places, offered, splits.val, out, chosen=chosen, images=score,
                workers=workers, on_progress=bar,
            )  # fmt: skip
    if as_json:
        print_json(_json(found, scores))
    else:
        _show(found, scores)


def _named(known: Sequence[Site], names: str | None) -> tuple[Site, ...]:
    if names is None:
        return tuple(known)
    wanted = listed(names)
    by_name = {site.name: site for site in known}
    for name in wanted:
        if name not in by_name:
            raise HwflowError(unknown_name("site", name, by_name))
    return tuple(site for site in known if site.name in wanted)


def _promising(
    workload: Workload,
    sites: Sequence[Site],
    options: Sequence[Option],
    on: str | None,
    cost: str | None,
    keep: int,
) -> dict[str, tuple[str, ...]] | None:
    """Return the options worth training by site, None without a machine: all."""
    if on is None:
        if cost is not None:
            raise HwflowError("--cost belongs to --on MACHINE: name the machine, or leave it out.")
        return None
    from hwflow import plugins
    from hwflow.costing import own_level
    from hwflow.distill.targets import promising_options
    from hwflow.machine import load_machine

    machine = load_machine(on)
    model = plugins.load("costs", cost or own_level(machine) or "mid")()
    return promising_options(workload, sites, options, machine, model, keep)


@contextmanager
def distilling_bar(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Show a progress bar while options are trained; nothing when `quiet`."""
    from hwflow import screen

    with screen.counting_bar(quiet) as bar:
        task = bar.add_task("loading", total=None, count="", note="")

        def show(at: Progress) -> None:
            left = "" if at.seconds_left is None else f"{at.seconds_left / 60:.0f} min left"
            last = at.last
            about = "" if last is None else f", {last.site} {last.option}: {last.error:.3f}"
            bar.update(
                task, description=at.stage, completed=at.done, total=at.total,
                count=f"{at.done}/{at.total}", note=left + about,
            )  # fmt: skip

        yield show


def _json(found: Distillate, scores: Scores | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "weights": str(found.weights),
        "options": [result.to_json() for result in found.results],
    }
    if scores is not None:
        made["teacher"] = scores.teacher._asdict()
        made["scores"] = [vars(row) for row in scores.rows]
    return made


def _show(found: Distillate, scores: Scores | None) -> None:
    """Print for each site how many options there are and which come nearest to the teacher."""
    from rich.table import Table

    from hwflow import screen

    table = Table("site", "options", "nearest to the teacher", "error", "loss", box=None)
    for site in dict.fromkeys(result.site for result in found.results):
        own = [r for r in found.results if r.site == site and r.failed is None]
        others = sorted((r for r in own if r.option != "keep"), key=lambda r: r.error)
        for result in others[:1]:
            lost = "-" if scores is None else f"{scores.of(site, result.option).loss:+.4f}"
            table.add_row(site, str(len(own)), result.option, f"{result.error:.3f}", lost)
    screen.out.print(table)
    failed = [result for result in found.results if result.failed is not None]
    if failed:
        first = failed[0]
        screen.out.print(
            f"{len(failed)} options failed, such as {first.option} at {first.site}: {first.failed}"
        )
    screen.out.print(f"Weights: {found.weights}")
