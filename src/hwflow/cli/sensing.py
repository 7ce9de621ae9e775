"""The command ``hwflow sensitivity``: which layers suffer most from fewer bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwflow.cli.app import Classes, InputShape, Json, Weights, app, numbers, print_json, shape
from hwflow.errors import HwflowError

if TYPE_CHECKING:
    from hwflow.quality.sensitivity_table import Sensitivity

SHOWN = 10
"""Choices in the table on the screen unless another number is asked for."""


@app.command()
def sensitivity(
    model: Annotated[str, typer.Argument(help="As in `hwflow search`; a torch model.")],
    data: Annotated[str, typer.Option(help="As in `hwflow search`; its validation images.")],
    weights: Weights = None,
    quantize: Annotated[bool, typer.Option("--quantize", help="Change bits per layer.")] = False,
    bits: Annotated[str, typer.Option(help="Bits to try; the base has the most.")] = "2,3,4,6,8",
    images: Annotated[int, typer.Option(min=1, help="Validation images.")] = 500,
    calibration: Annotated[
        int, typer.Option(min=1, help="Training images that give ranges.")
    ] = 256,
    out: Annotated[
        Path | None, typer.Option(help="File of the table; the same command goes on.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Choices to show.")] = SHOWN,
    input_shape: InputShape = None,
    classes: Classes = None,
    as_json: Json = False,
) -> None:
    """Measure what each layer's bits alone do to the answers, all others as they are."""
    if not quantize:
        raise HwflowError("Say what may change: add --quantize.")
    from hwflow import screen
    from hwflow.data import load_data
    from hwflow.edits.quantize import quantize as bit_space
    from hwflow.models import load
    from hwflow.quality.sensitivity import sensitivities

    net = load(model, weights=weights, num_classes=classes, input_shape=shape(input_shape))
    loaded = load_data(data, net)
    space = bit_space(net.calibrated(loaded.calibration(calibration)), bits=numbers(bits))
    if not len(space):
        raise HwflowError(f"{model} has no layer whose bits could change.")
    with screen.counting_bar(quiet=as_json) as bar:
        task = bar.add_task("measuring", total=None, count="", note="")

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, count=f"{done}/{total}")

        found = sensitivities(space, loaded.val, images=images, file=out, progress=show)
    if as_json:
        print_json(_plain(found))
        return
    screen.out.print(_table(found, top))
    spent = found.spent
    screen.out.print(
        f"{spent.evaluations} plans on {found.images} images, the work of "
        f"{spent.whole_evaluations:.0f} whole evaluations. All at the base plan: "
        f"loss {found.base_loss:.4f}, accuracy {100 * found.base_accuracy:.2f} %."
    )


def _plain(found: Sensitivity) -> dict[str, Any]:
    from dataclasses import asdict

    ranking = [
        {"choice": name, "option": value, "divergence": apart}
        for name, value, apart in found.ranking()
    ]
    return {**asdict(found), "ranking": ranking}


def _table(found: Sensitivity, top: int) -> Any:
    """Return the divergence by choice and bits, the most sensitive choices first."""
    from rich.markup import escape
    from rich.table import Table

    values = sorted({int(value) for row in found.options for value in row})
    table = Table(title="Divergence of the answers, nats, when one choice alone has so many bits")
    table.add_column("choice", overflow="fold")
    for value in values:
        table.add_column(str(value), justify="right")
    for name, _, _ in found.ranking()[:top]:
        place = found.names.index(name)
        apart = dict(zip(found.options[place], found.divergence[place], strict=True))
        cells = [f"{apart[value]:.4f}" if value in apart else "" for value in values]
        table.add_row(escape(name), *cells)
    return table
