"""Commands that need no data: what a network costs, and which level is enough to say so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwflow.cli.app import (
    Classes,
    InputShape,
    Json,
    Model,
    On,
    app,
    need,
    numbers,
    print_json,
    say_compiling,
    workload_of,
)
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
from hwflow.cli.variants import Vary, table, variants
from hwflow.errors import HwflowError
from hwflow.machine import Accelerator, load_machine
from hwflow.units import parse
from hwflow.workload import Workload

if TYPE_CHECKING:
    from hwflow.costing import Options


@app.command()
def cost(
    model: Model,
    on: On,
    level: Annotated[
        str | None, typer.Option(help="Cost model: coarse, mid [default], fine, chip; measured.")
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
        str | None,
        typer.Option(help="What mappings minimise: latency, energy, edp or a mix."),
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
    vary: Vary = None,
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
        level=level or ("fine" if why else costing.own_level(machine)),
        objective=objective, full=full, mapping=mapping,
        view=view, cached=not no_cache,
        time_limit=parse(time_limit, "s") if time_limit else None, before_compiling=say_compiling,
    )  # fmt: skip
    workload = workload_of(model, input_shape, classes).with_batch(batch)
    workload = costing.with_densities(workload, density)
    if bits:
        workload = uniform_bits(workload, bits)
    if vary:
        if why or page or save_mappings:
            raise HwflowError("--why, --page and --save-mappings are of one machine: leave --vary.")
        _show_variants(workload, machine, vary, options, as_json)
        return
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


def _show_variants(
    workload: Workload, machine: Accelerator, vary: list[str], options: Options, as_json: bool
) -> None:
    from hwflow.costing import cost_model, with_view

    model, notes = cost_model(options)
    rows = variants(workload, with_view(machine, options.view), vary, model)
    if as_json:
        print_json({"machine": machine.name, "level": options.name, "variants": rows})
        return
    from hwflow import screen

    screen.out.print(table(rows))
    for note in notes():
        screen.out.print(f"Note: {note}", highlight=False)


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
    prune: Prune = False,
    quantize: Annotated[bool, typer.Option("--quantize", help="Choose bits per layer.")] = False,
    bits: Annotated[str | None, typer.Option(help="Allowed bits [2,4,8].")] = None,
    keep: Keep = None,
    min_keep: MinKeep = None,
    step: Step = None,
    min_channels: MinChannels = None,
    exclude: Exclude = None,
    branches: Branches = False,
    plans: Annotated[int, typer.Option(min=2, help="Plans to compare.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of the plans drawn.")] = 0,
    page: Annotated[Path | None, typer.Option(help="Write an .html page about it.")] = None,
    input_shape: InputShape = None,
    classes: Classes = None,
    as_json: Json = False,
) -> None:
    """Say which level of the cost model is enough for a network on a machine; needs no data."""
    from hwflow import costing, fidelity
    from hwflow.job import Pruning, space_of

    shares = pruning(
        keep=keep, min_keep=min_keep, step=step, min_channels=min_channels, exclude=exclude,
        branches=branches,
    )  # fmt: skip
    edits = [name for name, asked in (("prune", prune), ("quantize", quantize)) if asked]
    need(edits)
    belongs(shares, prune, "--prune")
    belongs({"bits": bits} if bits else {}, quantize, "--quantize")
    machine = load_machine(on)
    workload = workload_of(model, input_shape, classes)
    options = Pruning.check(shares, "hwflow levels")
    space = space_of(workload, machine, edits, numbers(bits or "2,4,8"), options)
    fine, _ = costing.cost_model(costing.Options("fine", before_compiling=say_compiling))
    found = fidelity.levels(space, machine, plans, seed, fine)
    if page:
        from hwflow.reasons import provenance
        from hwflow.report import write_levels_page

        write_levels_page(found, page, provenance())
    if as_json:
        verdicts = [verdict.to_json() for verdict in fidelity.verdicts(found)]
        print_json(found.to_json() | {"verdicts": verdicts, "summary": fidelity.summary(found)})
        return
    from hwflow import screen

    screen.show_levels(found)
