"""Commands on names and files: what hwflow knows, and machines of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from hwflow import plugins
from hwflow.cli.app import Json, app, print_json
from hwflow.errors import HwflowError
from hwflow.machine import device_names, load_machine, machine_names


@app.command("list")
def list_names(
    what: Annotated[
        str,
        typer.Argument(
            help="machines, models, costs, edits, operations, quantizers, qualities or solvers."
        ),
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
        return [*machine_names(), *device_names()]
    if what == "models":
        from hwflow.models import model_names

        return model_names()
    if what == "quantizers":
        from hwflow.edits.methods import QuantizerName

        return list(get_args(QuantizerName))
    if what in ("costs", "edits", "operations", "qualities", "solvers"):
        return plugins.names(what)  # type: ignore[arg-type]  # narrowed by the test above
    from hwflow.errors import unknown_name

    kinds = (
        "machines", "models", "costs", "edits", "operations", "quantizers", "qualities", "solvers",
    )  # fmt: skip
    raise HwflowError(unknown_name("list", what, kinds))
