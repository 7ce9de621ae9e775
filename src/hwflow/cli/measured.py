"""Commands that measure: a device's table of latencies, and ONNX files side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwflow.cli.app import Classes, InputShape, Json, Model, app, numbers, print_json, workload_of
from hwflow.cli.pruning import (
    Branches,
    Exclude,
    Keep,
    MinChannels,
    MinKeep,
    Prune,
    Step,
    belongs,
    pruning,
)
from hwflow.errors import HwflowError
from hwflow.machine import Device, load_machine

if TYPE_CHECKING:
    from hwflow.costs.measured.fill import Measuring
    from hwflow.problem import Problem

OnDevice = Annotated[str, typer.Option("--on", help="Device: cpu, or a .yaml of the kind device.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of the runtime [1].")]
Provider = Annotated[
    str | None,
    typer.Option(help="ONNX Runtime's provider, such as CUDAExecutionProvider (untested)."),
]
Runtime = Annotated[str | None, typer.Option(help="onnxruntime, or openvino where installed.")]
Rounds = Annotated[int | None, typer.Option(min=3, help="Rounds of the measurement.")]


@app.command()
def profile(
    model: Annotated[str | None, typer.Argument(help="As in `hwflow cost`.")] = None,
    on: OnDevice = "cpu",
    prune: Prune = False,
    quantize: Annotated[bool, typer.Option("--quantize", help="With 8 bits too.")] = False,
    keep: Keep = None,
    min_keep: MinKeep = None,
    step: Step = None,
    min_channels: MinChannels = None,
    exclude: Exclude = None,
    branches: Branches = False,
    calibrate: Annotated[
        int | None, typer.Option(min=4, help="Measure so many whole networks of the space too.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="Table to fill, .sqlite; default yours.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table as a .csv too.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Measure nothing: write one-layer networks to a folder.")
    ] = None,
    read: Annotated[Path | None, typer.Option(help="Times of a bundle, .csv.")] = None,
    to: Annotated[Path | None, typer.Option(help="With --read: machine to write.")] = None,
    staircase: Annotated[
        str | None, typer.Option(help="Find the channel step of a layer, such as conv:64.")
    ] = None,
    runtime: Runtime = None,
    provider: Provider = None,
    threads: Threads = None,
    rounds: Rounds = None,
    input_shape: InputShape = None,
    classes: Classes = None,
    as_json: Json = False,
) -> None:
    """Measure the layers of a network, or of a space of networks, on a device.

    What is measured is kept at once: killed, the same command goes on.
    """
    if read is not None:
        _read(read, to, as_json)
        return
    device = _device(on, table, runtime, provider, threads)
    from hwflow import screen

    with screen.measuring_bar(quiet=as_json) as bar:
        measuring = _measuring(rounds, bar)
        if staircase is not None:
            _staircase(staircase, device, measuring, as_json)
            return
        if model is None:
            raise HwflowError("Say what to measure: a network, --staircase LAYER or --read CSV.")
        shares = pruning(
            keep=keep, min_keep=min_keep, step=step, min_channels=min_channels, exclude=exclude,
            branches=branches,
        )  # fmt: skip
        belongs(shares, prune, "--prune")
        edits = [name for name, asked in (("prune", prune), ("quantize", quantize)) if asked]
        problem = _problem(model, input_shape, classes, device, edits, shares)
        if bundle is not None:
            _bundle(problem, bundle, as_json)
            return
        found = _profiled(problem, device, measuring, calibrate)
    if out is not None:
        device.latencies.write_csv(out)
    _say(found, as_json)


@app.command()
def measure(
    file: Annotated[Path, typer.Argument(help="An .onnx file.")],
    against: Annotated[
        Path | None, typer.Option(help="Another .onnx file, timed side by side.")
    ] = None,
    on: OnDevice = "cpu",
    runtime: Runtime = None,
    provider: Provider = None,
    threads: Threads = None,
    rounds: Rounds = None,
    as_json: Json = False,
) -> None:
    """Time an ONNX file: CPU time, median and quartiles over rounds, speed-up with an interval."""
    from hwflow.costs.measured.files import measure as timed

    found = timed(file, against, _device(on, None, runtime, provider, threads),
                  _measuring(rounds or 25, None))  # fmt: skip
    if as_json:
        print_json(found.to_json())
        return
    from hwflow import screen

    screen.show_times(found)


def _device(
    on: str, table: Path | None, runtime: str | None, provider: str | None, threads: int | None
) -> Device:
    machine: Any = load_machine(on)
    if not isinstance(machine, Device):
        raise HwflowError(f"--on {on}: nothing can be measured on a modelled machine. Use cpu.")
    given = {"table": table, "runtime": runtime, "provider": provider, "threads": threads}
    return machine.model_copy(update={k: v for k, v in given.items() if v is not None})


def _measuring(rounds: int | None, on_progress: Any) -> Measuring:
    from hwflow.costs.measured.fill import Measuring
    from hwflow.costs.measured.timing import Repetitions

    return Measuring(Repetitions(rounds) if rounds else Repetitions(), on_progress=on_progress)


def _problem(
    model: Model, input_shape: str | None, classes: int | None, device: Any, edits: list[str],
    shares: dict[str, Any],
) -> Problem:  # fmt: skip
    from hwflow.costs.measured.level import Measured
    from hwflow.job import Pruning, space_of
    from hwflow.problem import Problem
    from hwflow.space import Space

    workload = workload_of(model, input_shape, classes)
    options = Pruning.check(shares, "hwflow profile")
    space = (
        space_of(workload, device, edits, numbers("8"), options) if edits else Space(workload, ())
    )
    return Problem(space, device, Measured(), objectives=("accuracy", "latency"))


def _profiled(
    problem: Problem, device: Device, measuring: Measuring, networks: int | None
) -> dict[str, Any]:
    from hwflow.costs.measured import profile as make
    from hwflow.costs.measured.timing import SPREAD

    before = len(device.latencies)
    refused = make.profile(problem, measuring)
    fitted = make.calibrate(problem, networks, measuring) if networks else None
    entries = [entry for _, entry in device.latencies.items()]
    return {
        "table": str(device.latencies.path), "entries": len(entries),
        "measured": len(entries) - before, "not_measured": sorted(set(refused.values())),
        "wide_spread": sum(entry.spread > SPREAD for entry in entries),
        "device": dict(device.rows()),
        "calibration": fitted.to_json() if fitted else None,
    }  # fmt: skip


def _say(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    lines = [f"{found['measured']} layers measured, {found['entries']} in {found['table']}."]
    lines += [f"Note: {text}" for text in found["not_measured"]]
    if found["wide_spread"]:
        lines.append(
            f"Note: the times of {found['wide_spread']} layers spread by more than 10 % between "
            "their quartiles, because other work ran on the computer; medians are kept."
        )
    fitted = found["calibration"]
    if fitted:
        lines.append(
            f"Calibrated on {fitted['networks']} networks: median error "
            f"{100 * fitted['median_error']:.1f} %, plain sum of parts "
            f"{100 * fitted['plain_error']:.1f} %."
        )
    typer.echo("\n".join(lines))


def _read(times: Path, to: Path | None, as_json: bool) -> None:
    from hwflow.costs.measured.bundle import read_bundle

    if to is None or to.suffix not in (".yaml", ".yml"):
        raise HwflowError("--read needs --to: the machine file to write, such as phone.yaml.")
    count = read_bundle(times, to)
    if as_json:
        print_json({"machine": str(to), "layers": count})
    else:
        typer.echo(f"{count} layers. Next: hwflow cost NET --on {to}")


def _bundle(problem: Problem, folder: Path, as_json: bool) -> None:
    from hwflow.costs.measured.bundle import write_bundle
    from hwflow.costs.measured.profile import space_layers

    layers = space_layers(problem)
    refused = write_bundle(layers, folder, problem.space.workload.name)
    if as_json:
        print_json({"bundle": str(folder), "layers": len(layers) - len(refused),
                    "not_written": sorted(set(refused.values()))})  # fmt: skip
        return
    notes = [f"Note: {text}" for text in sorted(set(refused.values()))]
    typer.echo("\n".join([*notes, f"{len(layers) - len(refused)} layers in {folder}; how to run "
                                  f"them is in {folder / 'README.md'}."]))  # fmt: skip


def _staircase(spec: str, device: Device, measuring: Measuring, as_json: bool) -> None:
    from hwflow.costs.measured.staircase import layer_of, staircase

    found = staircase(layer_of(spec), device, measuring)
    if as_json:
        print_json(vars(found) | {"jumps": found.jumps})
        return
    jumps = ", ".join(map(str, found.jumps)) or "nowhere"
    typer.echo(
        f"The latency of {spec} steps every {found.step} channels; it rises by more than 10 % "
        f"after {jumps}. Use it: hwflow search NET --prune --step array --on {device.name}"
    )
