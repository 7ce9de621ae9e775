"""The command that searches at one level of abstraction after another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwflow.cli.app import (
    Classes,
    InputShape,
    Json,
    Weights,
    app,
    listed,
    numbers,
    print_json,
    shape,
    show_run,
)
from hwflow.cli.pruning import (
    Branches,
    Exclude,
    Keep,
    MinChannels,
    MinKeep,
    Prune,
    RankingName,
    Step,
    belongs,
    pruning,
)  # fmt: skip
from hwflow.errors import HwflowError

if TYPE_CHECKING:
    from hwflow.job import Job
    from hwflow.recipes import hw_flow as pruned
    from hwflow.recipes import hw_flowq as quantized
    from hwflow.recipes.levels import Stage, Stages

SHIFT_PAGE = "levels.html"
"""The fronts of all levels, costed at the last one."""


@app.command()
def refine(
    model: Annotated[str, typer.Argument(help="As in `hwflow cost`; a torch model.")],
    data: Annotated[str, typer.Option(help="As in `hwflow search`.")],
    on: Annotated[str, typer.Option("--on", help="Machine: a preset or a .yaml.")],
    out: Annotated[Path, typer.Option(help="Gets a run folder per level; killed, it goes on.")],
    weights: Weights = None,
    prune: Prune = False,
    quantize: Annotated[bool, typer.Option("--quantize", help="Choose bits per layer.")] = False,
    below: Annotated[
        list[str] | None,
        typer.Option(help="Limit, such as latency=50% of the original's (--quantize: of 8 bits)."),
    ] = None,
    bits: Annotated[str | None, typer.Option(help="Allowed bits [2,3,4,5,6,7,8].")] = None,
    seeded: Annotated[
        int | None, typer.Option(min=1, help="With --quantize: images to measure changes on.")
    ] = None,
    keep: Keep = None,
    min_keep: MinKeep = None,
    step: Step = None,
    min_channels: MinChannels = None,
    exclude: Exclude = None,
    ranking: RankingName = None,
    branches: Branches = False,
    levels: Annotated[str, typer.Option(help="Levels in their order.")] = "coarse,mid,fine",
    evaluations: Annotated[int, typer.Option(min=1, help="Of all levels together.")] = 300,
    images: Annotated[int, typer.Option(min=1, help="Validation images of an evaluation.")] = 1000,
    calibration: Annotated[int, typer.Option(min=1, help="Training images for statistics.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of the search.")] = 0,
    input_shape: InputShape = None,
    classes: Classes = None,
    as_json: Json = False,
) -> None:
    """Search on coarse, go on with it on mid and fine: HW-Flow (channels) or HW-FlowQ (bits)."""
    if prune == quantize:
        raise HwflowError("Say what is searched: --prune (HW-Flow) or --quantize (HW-FlowQ).")
    shares = pruning(
        keep=keep, min_keep=min_keep, step=step, min_channels=min_channels, exclude=exclude,
        ranking=ranking, branches=branches,
    )  # fmt: skip
    belongs(shares, prune, "--prune")
    own = {"bits": bits, "seeded": seeded}
    belongs({n: v for n, v in own.items() if v}, quantize, "--quantize")
    from hwflow import runs, screen
    from hwflow.job import Job, Parts
    from hwflow.machine import is_device
    from hwflow.recipes.hw_flow import hw_flow
    from hwflow.recipes.hw_flowq import BITS, hw_flowq

    if is_device(on):
        raise HwflowError(
            f"{on} is measured, which is one level only. Use `hwflow search --on {on}`, or name a "
            "modelled machine (hwflow list machines)."
        )

    job = Job.check(
        {
            "model": model, "data": data, "on": on, "weights": weights,
            "edits": ["prune" if prune else "quantize"],
            "pruning": {"mend": "least_squares"} | shares,
            "bits": numbers(bits) if bits else BITS, "below": below or (),
            "images": images, "calibration": calibration, "seed": seed,
            "solver": "ddpg" if prune else "nsga2",
            "input": shape(input_shape), "classes": classes,
        },
        "hwflow refine",
    )  # fmt: skip
    asked: dict[str, Any] = {
        "levels": listed(levels), "evaluations": evaluations, "images": images, "seed": seed,
        **({"below": job.below} if below else {}), **({"seeded": seeded} if seeded else {}),
    }  # fmt: skip
    recipe = hw_flow if prune else hw_flowq
    with screen.search_bar(quiet=as_json) as bar:
        parts = Parts(job)
        found = recipe(
            parts.network, parts.data, on, out, space=parts.space, on_trial=bar, **asked
        )  # fmt: skip
    results = {stage.level: runs.adopt(_at(job, stage), stage.folder) for stage in found.stages}
    page = None if prune else _page(job, found, out / SHIFT_PAGE)
    if as_json:
        shown = {level: result.to_json() for level, result in results.items()}
        print_json({"levels": shown, "shifts": [asdict(shift) for shift in found.shifts]})
        return
    for line in _lines(found):
        screen.out.print(line, highlight=False, markup=False)
    show_run(results[found.stages[-1].level], *([f"Levels: {page}"] if page else []))


def _at(job: Job, stage: Stage) -> Job:
    """Return the job of a level's search; its limits are absolute."""
    problem = stage.problem
    return job.model_copy(
        update={
            "level": stage.level, "below": problem.below.texts(), "objectives": problem.objectives,
        }
    )  # fmt: skip


def _page(job: Job, found: Stages, path: Path) -> Path | None:
    """Draw the fronts of the levels, each costed at the last one; nothing for a single level."""
    from hwflow.compare import fronts
    from hwflow.report import write_fronts_page

    if len(found.stages) < 2:
        return None
    named = [f"{stage.level}={stage.folder}" for stage in found.stages]
    last = found.stages[-1]
    title = f"{job.model} on {job.on}: searched at each level, costed at {last.level}"
    write_fronts_page(fronts(named, [last.problem] * len(named)), title, path)
    return path


def _lines(found: pruned.Refined | quantized.Refined) -> Iterator[str]:
    """Say what changed from level to level."""
    from hwflow.recipes.hw_flow import Shift

    for step in found.shifts:
        if isinstance(step, Shift):
            broken = "; ".join(step.broken) or "nothing"
            before, after = (f"{100 * quality:.2f} %" for quality in step.quality)
            yield (
                f"{step.before} -> {step.after}: the best plan of {step.before} ({before}) breaks "
                f"{broken}. The best of {step.after} ({after}) differs in {len(step.changed)} "
                "choices."
            )
        else:
            yield (
                f"{step.before} -> {step.after}: of {step.plans} networks on the front of "
                f"{step.before} {step.feasible} keep the limits of {step.after} and "
                f"{step.survived} are on its front; they cover {100 * step.covered:.1f} % of its "
                "hypervolume."
            )
