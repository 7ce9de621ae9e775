"""Named parts: cost models, edits, qualities, solvers, machines. One table for ours and others'.

A package offers a part by an entry point, for instance in its pyproject.toml::

    [project.entry-points."hwflow.solvers"]
    annealing = "my_package.annealing:Annealing"

hwflow's own parts are in the same table, so there is one way only.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from hwflow.errors import HwflowError, unknown_name

Kind = Literal["costs", "edits", "operations", "qualities", "solvers"]


def names(kind: Kind) -> list[str]:
    """Return the names that `kind` knows, sorted."""
    return sorted({point.name for point in _points(kind)})


def load(kind: Kind, name: str) -> Any:
    """Return what is registered as `name`: a class or function; it is not called.

    Raises HwflowError for an unknown name (with the nearest) and for a plug-in that fails to load.
    """
    found = [point for point in _points(kind) if point.name == name]
    if not found:
        raise HwflowError(unknown_name(f"entry of {kind}", name, names(kind)))
    own = [point for point in found if point.value.startswith("hwflow.")]
    point = (own or found)[0]
    try:
        return point.load()
    except Exception as error:
        raise HwflowError(
            f"The plug-in {name!r} of {kind} ({point.value}) does not load: {error}. "
            "Repair or uninstall the package that offers it."
        ) from error


def _points(kind: Kind) -> list[EntryPoint]:
    return list(entry_points(group=f"hwflow.{kind}"))
