"""The command line: ``hwflow cost | levels | search | refine | report | build | compare | ...``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from hwflow.cli import (
    costs,
    distilling,
    fronts,
    measured,
    refining,
    reproduce,
    runs,
    sensing,
    tools,
)
from hwflow.cli.app import app, print_json
from hwflow.cli.costs import uniform_bits
from hwflow.errors import HwflowError

__all__ = [
    "app",
    "costs",
    "distilling",
    "fronts",
    "main",
    "measured",
    "refining",
    "reproduce",
    "runs",
    "sensing",
    "tools",
    "uniform_bits",
]


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
