"""Commands on runs: search, report, build, compare."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from hwflow.cli.app import Classes, InputShape, Json, Weights, app, need, numbers, print_json, shape
from hwflow.errors import HwflowError
from hwflow.units import parse


@app.command()
def search(
    model: Annotated[str | None, typer.Argument(help="As in `hwflow cost`; a torch model.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Folder with train/val/test, .npz, torchvision:NAME, digits, or mod:fn."),
    ] = None,
    on: Annotated[str | None, typer.Option("--on", help="Machine: a preset or .yaml.")] = None,
    weights: Weights = None,
    quantize: Annotated[bool, typer.Option("--quantize", help="Choose bits per layer.")] = False,
    bits: Annotated[str | None, typer.Option(help="Allowed bits, such as 2,4,8.")] = None,
    level: Annotated[str | None, typer.Option(help="Cost model: coarse, mid or fine.")] = None,
    below: Annotated[list[str] | None, typer.Option(help="Limit, such as latency=4ms.")] = None,
    objectives: Annotated[str | None, typer.Option(help="Such as accuracy,energy.")] = None,
    solver: Annotated[str | None, typer.Option(help="See `hwflow list solvers`.")] = None,
    evaluations: Annotated[int | None, typer.Option(min=1, help="Networks to evaluate.")] = None,
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
    from hwflow.job import Job

    given: dict[str, Any] = {
        "model": model,
        "data": data,
        "on": on,
        "weights": weights,
        "edits": ["quantize"] if quantize else None,
        "bits": numbers(bits) if bits else None,
        "level": level,
        "below": below or None,
        "objectives": [o.strip() for o in objectives.split(",")] if objectives else None,
        "solver": solver,
        "evaluations": evaluations,
        "seconds": parse(time, "s") if time else None,
        "workers": workers,
        "threads": threads,
        "seed": seed,
        "input": shape(input_shape),
        "classes": classes,
    }
    base = Job.read(from_file).model_dump() if from_file else {}
    settings = base | {key: value for key, value in given.items() if value is not None}
    _need_all(settings)
    job = Job.check(settings, "hwflow search")
    need(job.edits, quantize or from_file is not None)
    folder = out or Path("runs") / re.sub(r"[^\w.-]+", "-", f"{job.model}-{Path(job.on).stem}")
    from hwflow import runs, screen

    with screen.search_bar(quiet=as_json) as bar:
        result = runs.search(job, folder, bar)
    if as_json:
        print_json(result.to_json())
        return
    screen.out.print(screen.front_table(result.front, result.baseline))
    screen.out.print(f"Report: {folder / runs.REPORT_FILE}")
    screen.out.print(f'Next:   hwflow build {folder} --pick "most accurate" --to net.onnx')


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
    finetune: Annotated[int, typer.Option(min=0, help="Epochs of fine-tuning.")] = 0,
    as_json: Json = False,
) -> None:
    """Build one network of the front, measure it on the test split and export it."""
    from hwflow import runs, screen

    built = runs.build(run, pick, to, finetune)
    if as_json:
        print_json(built)
        return
    screen.out.print(screen.built_table(built))
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
