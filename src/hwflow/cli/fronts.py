"""The command that lays fronts of several searches side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwflow.cli.app import Json, app, print_json

_SAID = ("latency_s", "energy_j", "dram_bytes", "model_bytes", "area_um2")
"""Costs that a line says."""


@app.command()
def fronts(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or LABEL=FOLDER.")],
    recost: Annotated[
        str | None, typer.Option(help="Cost every plan again at this level, such as fine.")
    ] = None,
    title: Annotated[str, typer.Option(help="Of the page.")] = "Fronts side by side",
    page: Annotated[Path | None, typer.Option(help="Write an .html page about it.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Draw the fronts as an .svg.")] = None,
    as_json: Json = False,
) -> None:
    """Compare searches on different machines or levels: costs in shares of the highest bits'."""
    from dataclasses import asdict

    from hwflow.compare import fronts as read
    from hwflow.compare import split
    from hwflow.report import write_fronts_page, write_fronts_svg
    from hwflow.runs import recosting

    folders = [split(run)[1] for run in runs]
    found = read(runs, [recosting([folder], recost, ()) for folder in folders] if recost else ())
    if page:
        write_fronts_page(found, title, page)
    if svg:
        write_fronts_svg(found, title, svg)
    if as_json:
        print_json({"fronts": [asdict(one) for one in found]})
        return
    from hwflow.cost import METRICS

    for one in found:
        least = ", ".join(
            f"{METRICS[name].short} {100 * min(one.shares[name]):.1f} %"
            for name in _SAID
            if one.shares.get(name)
        )
        typer.echo(f"{one.name} ({one.machine}, {one.level}): {len(one)} networks; least {least}")
