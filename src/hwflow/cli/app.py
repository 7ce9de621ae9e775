"""The command line's application, and what its commands share: arguments, JSON, readers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwflow.errors import HwflowError
from hwflow.workload import Workload

if TYPE_CHECKING:
    from hwflow.runs import Result

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
On = Annotated[
    str,
    typer.Option("--on", help="Machine: a preset (hwflow list machines), .yaml or cpu (measured)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and errors as JSON too.")]
Weights = Annotated[str | None, typer.Option(help="Weights: .safetensors, or .pt / .pth.")]
Classes = Annotated[int | None, typer.Option(help="Number of classes, if not the model's own.")]
InputShape = Annotated[str | None, typer.Option("--input", help="Input as CxHxW, such as 1x8x8.")]


def say_compiling() -> None:
    """Say on standard error that the first use takes a while."""
    text = "Compiling the mapping search, once for this installation (about a minute)."
    typer.echo(text, err=True)


def workload_of(model: str, input_shape: str | None, classes: int | None) -> Workload:
    """Return the workload of a model, an ONNX file or a list of layers."""
    from hwflow.extract import extract

    if model.endswith((".onnx", ".yaml", ".yml")):
        if input_shape or classes:
            raise HwflowError("--input and --classes belong to torch models, not to files.")
        return extract(Path(model))
    from hwflow.models import load

    return extract(load(model, num_classes=classes, input_shape=shape(input_shape)))


def shape(text: str | None) -> tuple[int, int, int] | None:
    """Read "3x224x224"."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)", text)
    if match is None or "0" in match.groups():
        raise HwflowError(f"--input {text!r} is not CxHxW. Write, for instance, 3x224x224.")
    return int(match[1]), int(match[2]), int(match[3])


def need(edits: Sequence[str]) -> None:
    """Raise HwflowError unless some edit was asked for."""
    if not edits:
        raise HwflowError(
            "Say what may change: add --prune, --quantize or both; a search has --replace too."
        )


def listed(text: str) -> list[str]:
    """Return comma-separated names."""
    return [name.strip() for name in text.split(",")]


def numbers(text: str) -> tuple[int, ...]:
    """Read "2,4,8"."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise HwflowError(f"--bits {text!r} is no list of numbers. Write 2,4,8, say.") from None


def show_run(result: Result, *lines: str) -> None:
    """Print the front of a run, what else is to be said of it, and where to go on."""
    from hwflow import runs, screen

    screen.out.print(screen.front_table(result.front, result.baseline))
    for line in lines:
        screen.out.print(line, highlight=False)
    screen.out.print(f"Report: {result.folder / runs.REPORT_FILE}")
    screen.out.print(f'Next:   hwflow build {result.folder} --pick "most accurate" --to net.onnx')


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
