"""Commands on runs: search, report, build, compare."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
    need,
    numbers,
    print_json,
    shape,
    show_run,
)
from hwflow.cli.pruning import (
    Branches,
    Exclude,
    Keep,
    MendName,
    MinChannels,
    MinKeep,
    Prune,
    RankingName,
    Step,
    belongs,
    merged,
    pruning,
)  # fmt: skip
from hwflow.cli.variants import Vary, read_vary
from hwflow.errors import HwflowError
from hwflow.settings import pairs
from hwflow.units import parse

if TYPE_CHECKING:
    from hwflow.job import Job


@app.command()
def search(
    model: Annotated[str | None, typer.Argument(help="As in `hwflow cost`; a torch model.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Folder with train/val/test, .npz, torchvision:NAME, digits, or mod:fn."),
    ] = None,
    on: Annotated[
        str | None, typer.Option("--on", help="Machine: a preset, .yaml or cpu (measured).")
    ] = None,
    weights: Weights = None,
    prune: Prune = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Choose the operation of each block.")
    ] = False,
    options: Annotated[
        str | None, typer.Option(help="Operations or families, such as skip,bottleneck.")
    ] = None,
    trained: Annotated[
        Path | None, typer.Option(help="Folder with weights of trained operations.")
    ] = None,
    quantize: Annotated[bool, typer.Option("--quantize", help="Choose bits per layer.")] = False,
    bits: Annotated[str | None, typer.Option(help="Allowed bits, such as 2,4,8.")] = None,
    quantizer: Annotated[
        str | None, typer.Option(help="calibrated, lsq, pact or dorefa: what fine-tuning learns.")
    ] = None,
    calibrate: Annotated[
        str | None, typer.Option(help="Ranges of activations by: mse, kl or minmax.")
    ] = None,
    keep: Keep = None,
    min_keep: MinKeep = None,
    step: Step = None,
    min_channels: MinChannels = None,
    exclude: Exclude = None,
    ranking: RankingName = None,
    mend: MendName = None,
    branches: Branches = False,
    vary: Vary = None,
    level: Annotated[
        str | None, typer.Option(help="Cost model: coarse, mid, fine or chip; devices: measured.")
    ] = None,
    below: Annotated[
        list[str] | None,
        typer.Option(help="Limit, such as latency=4ms, or latency=50% of the original's."),
    ] = None,
    objectives: Annotated[str | None, typer.Option(help="Such as accuracy,energy.")] = None,
    solver: Annotated[str | None, typer.Option(help="See `hwflow list solvers`.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Setting of the solver, such as agent=td3; repeatable."),
    ] = None,
    seeded: Annotated[
        str | None,
        typer.Option(
            help="Begin with single changes (nsga2, milp): a `hwflow sensitivity` file, or images."
        ),
    ] = None,
    evaluations: Annotated[int | None, typer.Option(min=1, help="Networks to evaluate.")] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Validation images of an evaluation.")
    ] = None,
    calibration: Annotated[
        int | None, typer.Option(min=1, help="Training images that give statistics [256].")
    ] = None,
    time: Annotated[str | None, typer.Option(help="Time budget, such as 600s.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads per evaluation.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the search.")] = None,
    input_shape: InputShape = None,
    classes: Classes = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; the same command goes on.")] = None,
    from_file: Annotated[Path | None, typer.Option("--from", help="Repeat a run.toml.")] = None,
    as_json: Json = False,
) -> None:
    """Search for cheaper networks: a run folder with study.db, front.csv and report.html."""
    asked = {"replace": replace, "prune": prune, "quantize": quantize}
    edits = [name for name, wanted in asked.items() if wanted]
    given: dict[str, Any] = {
        "model": model,
        "data": data,
        "on": on,
        "weights": weights,
        "edits": edits or None,
        "options": listed(options) if options else None,
        "trained": str(trained) if trained else None,
        "bits": numbers(bits) if bits else None,
        "quantizer": quantizer,
        "calibrate": calibrate,
        "vary": read_vary(vary) if vary else None,
        "level": level,
        "below": below or None,
        "objectives": _objectives(objectives, bool(vary)),
        "solver": solver,
        "seeded": seeded,
        "evaluations": evaluations,
        "images": images,
        "calibration": calibration,
        "seconds": parse(time, "s") if time else None,
        "workers": workers,
        "threads": threads,
        "seed": seed,
        "input": shape(input_shape),
        "classes": classes,
    }
    shares = pruning(
        keep=keep, min_keep=min_keep, step=step, min_channels=min_channels, exclude=exclude,
        ranking=ranking, mend=mend, branches=branches,
    )  # fmt: skip
    job = _job(from_file, given, shares, settings or [])
    folder = out or Path("runs") / re.sub(r"[^\w.-]+", "-", f"{job.model}-{Path(job.on).stem}")
    from hwflow import runs, screen

    with screen.search_bar(quiet=as_json) as bar:
        result = runs.search(job, folder, bar)
    if as_json:
        print_json(result.to_json())
        return
    show_run(result, *screen.worth_lines(result.worth))


def _objectives(text: str | None, varying: bool) -> list[str] | None:
    """Read objectives; where the machine varies its area is one, or the largest always wins."""
    if text:
        return listed(text)
    return ["accuracy", "energy", "latency", "area"] if varying else None


def _job(
    file: Path | None, given: Mapping[str, Any], shares: Mapping[str, Any], sets: Sequence[str]
) -> Job:
    """Return the job that the options ask for, those of a file where an option is not given."""
    from hwflow.job import Job, solver_settings

    base = Job.read(file).model_dump() if file else {}
    found = base | {key: value for key, value in given.items() if value is not None}
    _need_all(found)
    edits = found.get("edits", ())
    need(edits)
    belongs(shares, "prune" in edits, "--prune")
    own = {n: given[n] for n in ("bits", "quantizer", "calibrate") if given[n]}
    belongs(own, "quantize" in edits, "--quantize")
    own = {n: given[n] for n in ("options", "trained") if given[n]}
    belongs(own, "replace" in edits, "--replace")
    found["pruning"] = merged(base.get("pruning", {}), shares)
    if given["solver"] not in (None, base.get("solver")):
        found["set"] = {}  # they were another solver's
    job = Job.check(found, "hwflow search")
    texts = pairs(sets, "--set")
    return job.model_copy(update={"set": job.set | solver_settings(job.solver, texts)})


def _need_all(settings: dict[str, Any]) -> None:
    ways = {"model": "a model, such as cifar:resnet20", "data": "--data", "on": "--on MACHINE"}
    missing = [way for key, way in ways.items() if key not in settings]
    if missing:
        raise HwflowError(f"A search needs {', '.join(missing)}, or --from run.toml.")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run folder of a search, finished or not.")],
    as_json: Json = False,
) -> None:
    """Write report.html and front.csv of a run again."""
    from hwflow import runs, screen

    result = runs.report(run)
    if as_json:
        print_json(result.to_json())
        return
    screen.out.print(screen.front_table(result.front, result.baseline))
    screen.out.print(f"Report: {run / runs.REPORT_FILE}")


@app.command()
def build(
    run: Annotated[Path, typer.Argument(help="Run folder of a search.")],
    pick: Annotated[
        str, typer.Option(help="'latency<4ms', 'accuracy>88%', 'knee', 'fastest', '#12', ...")
    ] = "most accurate",
    to: Annotated[Path | None, typer.Option(help="net.onnx or net.safetensors.")] = None,
    form: Annotated[
        str, typer.Option("--format", help="Of a .onnx file: qdq (runtimes), qonnx (any bits).")
    ] = "qdq",
    finetune: Annotated[int, typer.Option(min=0, help="Epochs of fine-tuning.")] = 0,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate of fine-tuning.")] = None,
    augment: Annotated[
        str, typer.Option(help="Training images: none, crop or crop+flip (photographs).")
    ] = "none",
    ema: Annotated[
        float | None, typer.Option(help="Moving average of the weights, such as 0.999.")
    ] = None,
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Do not time the .onnx against the original's.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build one network of the front, measure it on the test split and export it."""
    from hwflow import runs, screen
    from hwflow.build import Tuning
    from hwflow.train.augment import as_augment

    tuning = Tuning(finetune, lr, as_augment(augment), ema)
    with screen.tuning_bar(quiet=as_json or not finetune) as bar:
        built = runs.build(run, pick, to, tuning, bar, timed=not no_measure, form=form)
    if as_json:
        print_json(built)
        return
    screen.out.print(screen.built_table(built))
    if built["latency"]["measured"]:
        screen.out.print(screen.latency_table(built["latency"]))
    for line in screen.built_lines(built):
        screen.out.print(line)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Run folders of one problem, or LABEL=FOLDER.")],
    evaluations: Annotated[
        int | None, typer.Option(min=1, help="Compare at so many; default what every run has.")
    ] = None,
    recost: Annotated[
        str | None, typer.Option(help="Cost every plan again at this level, such as fine.")
    ] = None,
    below: Annotated[
        list[str] | None, typer.Option(help="Limits with --recost, such as latency=4ms.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Write an .html page about it.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Draw the curves as an .svg.")] = None,
    as_json: Json = False,
) -> None:
    """Compare searches: best quality within the limits against evaluations, over seeds."""
    from hwflow.compare import compare as compared
    from hwflow.compare import split

    if below and not recost:
        raise HwflowError("--below belongs to --recost LEVEL: plans are held against new limits.")
    problem = None
    if recost:
        from hwflow.runs import recosting

        problem = recosting([split(run)[1] for run in runs], recost, below or ())
    found = compared(runs, evaluations=evaluations, recost=problem)
    if page:
        from hwflow.report import write_compare_page

        write_compare_page(found, page)
    if svg:
        from hwflow.report import write_compare_svg

        write_compare_svg(found, svg)
    if as_json:
        print_json(found.to_json())
        return
    from hwflow import screen

    screen.show_comparison(found)
