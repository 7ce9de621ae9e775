"""The command that reruns every figure of a published system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwflow.cli.app import Json, app, print_json


@app.command()
def reproduce(
    name: Annotated[str, typer.Argument(help="hw-flow, hw-flowq or hant.")],
    data: Annotated[str, typer.Option(help="CIFAR-10 (JPEG q75): train, val and test .npz.")],
    weights: Annotated[
        Path, typer.Option(help="Folder of the weights, cifar10jpeg_NETWORK.safetensors.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the results; the same command goes on.")],
    imagenet: Annotated[
        str, typer.Option(help="ImageNet for EfficientNet-Lite0: train, val and test .npz.")
    ] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="The same with fewer evaluations and epochs.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of fine-tuning; a folder keeps to one number.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="A stage; repeatable.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads; figures may depend on it.")] = 1,
    as_json: Json = False,
) -> None:
    """Rerun every figure of a published system; stages that are done are not run again."""
    import torch

    from hwflow.reproduce import Settings, run

    torch.set_num_threads(threads)
    settings = Settings(
        out, weights, data, quick, lambda text: typer.echo(text, err=True), epochs, imagenet
    )
    found = run(name, settings, only or ())
    if as_json:
        print_json(found)
        return
    typer.echo(f"{len(found)} stages are done. Their figures: {out}/*.json")
