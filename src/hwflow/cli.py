"""The command line: ``hwflow cost | levels | search | report | build | convert | list``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hwflow import plugins
from hwflow.errors import HwflowError
from hwflow.machine import load_machine, machine_names
from hwflow.units import parse
from hwflow.workload import Workload

app = typer.Typer(
    name="hwflow",
    help="Make a trained CNN fast and frugal on a particular machine.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

Model = Annotated[
    str,
    typer.Argument(
        help="cifar:resnet20, efficientnet_lite0, torchvision:NAME, package.module:function, "
        "a .onnx file or a .yaml list of layers."
    ),
]
On = Annotated[str, typer.Option("--on", help="Machine: a preset (hwflow list machines) or .yaml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and errors as JSON too.")]
Weights = Annotated[str | None, typer.Option(help="Weights: .safetensors, or .pt / .pth.")]
Classes = Annotated[int | None, typer.Option(help="Number of classes, if not the model's own.")]
InputShape = Annotated[str | None, typer.Option("--input", help="Input as CxHxW, such as 1x8x8.")]


@app.command()
def cost(
    model: Model,
    on: On,
    level: Annotated[
        str | None, typer.Option(help="Cost model: coarse, mid, fine or chip; default mid.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 1,
    bits: Annotated[str | None, typer.Option(help="Uniform bits, such as w4a8.")] = None,
    density: Annotated[
        Path | None, typer.Option(help="CSV of layer,density: nonzero shares of the inputs.")
    ] = None,
    view: Annotated[
        str | None, typer.Option(help="convolution, or gemm: unfolded by im2col (fine level).")
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="What mappings minimise: latency, energy or edp.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Try every scratchpad size.")] = False,
    time_limit: Annotated[
        str | None, typer.Option(help="For each search, such as 2s; what is left is the gap.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="Score the mappings of this .yaml instead of searching.")
    ] = None,
    save_mappings: Annotated[
        Path | None, typer.Option(help="Write the mappings that were found as .yaml.")
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Search anew, keep nothing on disk.")
    ] = False,
    why: Annotated[
        bool, typer.Option("--why", help="Say what would relieve each layer (fine level).")
    ] = False,
    page: Annotated[Path | None, typer.Option(help="Write an .html page about it.")] = None,
    input_shape: InputShape = None,
    classes: Classes = None,
    as_json: Json = False,
) -> None:
    """Say what a network costs on a machine, layer by layer, and what binds each layer."""
    from hwflow import costing, reasons

    machine = load_machine(on)
    options = costing.Options(
        level=level or ("fine" if why else None), objective=objective, full=full, mapping=mapping,
        view=view, cached=not no_cache,
        time_limit=parse(time_limit, "s") if time_limit else None, before_compiling=_say_compiling,
    )  # fmt: skip
    workload = _workload(model, input_shape, classes).with_batch(batch)
    workload = costing.with_densities(workload, density)
    if bits:
        workload = uniform_bits(workload, bits)
    found = costing.run(workload, machine, options)
    if save_mappings:
        costing.save_mappings(found, save_mappings)
    relief = reasons.explained(found) if why else None
    if page:
        reasons.write_page(found, page, model, batch)
    if as_json:
        head = {"model": model, "machine": machine.name, "level": options.name, "batch": batch}
        plain = found.to_json()
        print_json(head | (reasons.with_relief(plain, relief) if relief else plain))
        return
    from hwflow import screen

    screen.show_costing(found, f"batch {batch}")
    if relief:
        screen.show_relief(relief)


def _say_compiling() -> None:
    typer.echo("Compiling the mapping search, once for this installation (about 30 s).", err=True)


def _workload(model: str, input_shape: str | None, classes: int | None) -> Workload:
    from hwflow.extract import extract

    if model.endswith((".onnx", ".yaml", ".yml")):
        if input_shape or classes:
            raise HwflowError("--input and --classes belong to torch models, not to files.")
        return extract(Path(model))
    from hwflow.models import load

    return extract(load(model, num_classes=classes, input_shape=_shape(input_shape)))


def _shape(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)", text)
    if match is None or "0" in match.groups():
        raise HwflowError(f"--input {text!r} is not CxHxW. Write, for instance, 3x224x224.")
    return int(match[1]), int(match[2]), int(match[3])


def uniform_bits(workload: Workload, text: str) -> Workload:
    """Return the workload with the same bits everywhere, given as "w4a8".

    Network outputs keep their bits, as they leave the machine.
    """
    match = re.fullmatch(r"w(\d+)a(\d+)", text)
    weight, activation = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (1 <= weight <= 16 and 1 <= activation <= 16):
        raise HwflowError(f"--bits {text!r} is not wXaY with 1 to 16 bits. Write w4a8, say.")
    kept = {workload.bit_groups[name] for name in workload.outputs}
    tensors = {n: activation for n, group in workload.bit_groups.items() if group not in kept}
    weights = {layer.name: weight for layer in workload.mac_layers}
    return workload.with_bits(weights, tensors)


@app.command()
def levels(
    model: Model,
    on: On,
    quantize: Annotated[bool, typer.Option("--quantize", help="Choose bits per layer.")] = False,
    bits: Annotated[str, typer.Option(help="Allowed bits.")] = "2,4,8",
    plans: Annotated[int, typer.Option(min=2, help="Plans to compare.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of the plans drawn.")] = 0,
    page: Annotated[Path | None, typer.Option(help="Write an .html page about it.")] = None,
    input_shape: InputShape = None,
    classes: Classes = None,
    as_json: Json = False,
) -> None:
    """Say which level of the cost model is enough for a network on a machine; needs no data."""
    from hwflow import costing, fidelity
    from hwflow.edits.quantize import quantize as quantized

    _need(["quantize"], quantize)
    space = quantized(_workload(model, input_shape, classes), bits=numbers(bits))
    fine, _ = costing.cost_model(costing.Options("fine", before_compiling=_say_compiling))
    found = fidelity.levels(space, load_machine(on), plans, seed, fine)
    if page:
        from hwflow.reasons import provenance
        from hwflow.report import write_levels_page

        write_levels_page(found, page, provenance())
    if as_json:
        verdicts = [verdict.to_json() for verdict in fidelity.verdicts(found)]
        print_json(
            found.to_json() | {"verdicts": verdicts, "summary": fidelity.summary(found)}
        )
        return
    from hwflow import screen

    screen.show_levels(found)


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
    solver: Annotated[str | None, typer.Option(help="nsga2, random or exhaustive.")] = None,
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
        "input": _shape(input_shape),
        "classes": classes,
    }
    base = Job.read(from_file).model_dump() if from_file else {}
    settings = base | {key: value for key, value in given.items() if value is not None}
    _need_all(settings)
    job = Job.check(settings, "hwflow search")
    _need(job.edits, quantize or from_file is not None)
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


def _need(edits: Sequence[str], asked: bool) -> None:
    if not asked or not edits:
        raise HwflowError("Say what may change: add --quantize.")


def numbers(text: str) -> tuple[int, ...]:
    """Read "2,4,8"."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise HwflowError(f"--bits {text!r} is no list of numbers. Write 2,4,8, say.") from None


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


@app.command("list")
def list_names(
    what: Annotated[
        str, typer.Argument(help="machines, models, costs, edits, qualities or solvers.")
    ],
    as_json: Json = False,
) -> None:
    """List what hwflow knows by name."""
    found = _names(what)
    details = [load_machine(name).summary() for name in found] if what == "machines" else []
    if as_json:
        print_json({what: found} | ({"details": details} if details else {}))
    elif details:
        from hwflow import screen

        screen.out.print(screen.machine_table(details))
    else:
        typer.echo("\n".join(found))


@app.command()
def convert(
    files: Annotated[
        list[Path], typer.Argument(help="Architecture of Timeloop or AccelForge, ERT, constraints.")
    ],
    to: Annotated[Path, typer.Option(help="Machine file to write, .yaml.")],
    missing_from: Annotated[
        str | None, typer.Option(help="Preset for energies, clock and bandwidth they lack.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Turn an architecture of Timeloop or AccelForge into a machine file; see docs/machines.md."""
    from hwflow.machine.timeloop import read_timeloop

    found = read_timeloop(*files, missing_from=missing_from, name=to.stem)
    found.write(to)
    if as_json:
        print_json({"machine": found.plain, "notes": found.notes, "to": str(to)})
        return
    notes = [f"Note: {note}" for note in found.notes]
    typer.echo("\n".join([*notes, f"Next: hwflow cost cifar:resnet20 --on {to}"]))


def _names(what: str) -> list[str]:
    if what == "machines":
        return machine_names()
    if what == "models":
        from hwflow.models import model_names

        return model_names()
    if what in ("costs", "edits", "qualities", "solvers"):
        return plugins.names(what)  # type: ignore[arg-type]  # narrowed by the test above
    from hwflow.errors import unknown_name

    kinds = ("machines", "models", "costs", "edits", "qualities", "solvers")
    raise HwflowError(unknown_name("list", what, kinds))


def print_json(data: dict[str, Any]) -> None:
    """Print JSON on standard output; infinities and NaN become null."""
    typer.echo(json.dumps(_finite(data), indent=2, default=str))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    if isinstance(data, float) and (data != data or abs(data) == float("inf")):
        return None
    return data


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit code 0 ok, 2 a fault in what was given, 3 no feasible plan."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(words)
    except HwflowError as error:
        if "--json" in words:
            print_json({"error": str(error), "exit_code": error.exit_code})
        else:
            typer.echo(f"hwflow: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("hwflow: stopped. The same command goes on where it stopped.", err=True)
        sys.exit(130)
