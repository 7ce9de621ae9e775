"""Options of pruning and of solvers, which several commands share, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from hwflow.errors import HwflowError

_PANEL = "Pruning"

Prune = Annotated[bool, typer.Option("--prune", help="Choose channels per group.")]
Keep = Annotated[
    str | None,
    typer.Option(help="Shares that may be kept, such as 0.25,0.5.", rich_help_panel=_PANEL),
]
MinKeep = Annotated[
    float | None,
    typer.Option(help="Least share of the usual eighths [0.25].", rich_help_panel=_PANEL),
]
Step = Annotated[
    str | None,
    typer.Option(help="Keep multiples of N channels, or of the array.", metavar="N|array",
                 rich_help_panel=_PANEL),
]  # fmt: skip
MinChannels = Annotated[
    int | None, typer.Option(help="Channels left in each group at least.", rich_help_panel=_PANEL)
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="Layer whose output channels stay; repeatable.", rich_help_panel=_PANEL),
]
RankingName = Annotated[
    str | None,
    typer.Option(help="What goes first: l1, l2, bn_scale or taylor.", rich_help_panel=_PANEL),
]
MendName = Annotated[
    str | None,
    typer.Option(help="Then: none, statistics or least_squares.", rich_help_panel=_PANEL),
]
Branches = Annotated[
    bool, typer.Option("--branches", help="Drop residual branches too.", rich_help_panel=_PANEL)
]


def pruning(
    *,
    keep: str | None = None,
    min_keep: float | None = None,
    step: str | None = None,
    min_channels: int | None = None,
    exclude: list[str] | None = None,
    ranking: str | None = None,
    mend: str | None = None,
    branches: bool = False,
) -> dict[str, Any]:
    """Return what was given of a job's settings of pruning.

    Raises HwflowError for shares or a step that cannot be read.
    """
    given = {
        "keep": _shares(keep) if keep else None,
        "min_keep": min_keep,
        "step": _step(step) if step else None,
        "min_channels": min_channels,
        "exclude": tuple(exclude) if exclude else None,
        "ranking": ranking,
        "mend": mend,
        "branches": branches or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of pruning from a file with those that were given in their place."""
    other = {"keep": "min_keep", "min_keep": "keep"}
    dropped = {other[name] for name in given if name in other}
    return {name: value for name, value in base.items() if name not in dropped} | dict(given)


def belongs(given: Mapping[str, Any], asked: bool, flag: str) -> None:
    """Raise HwflowError for options of an edit that was not asked for."""
    if given and not asked:
        option = next(iter(given)).replace("_", "-")
        raise HwflowError(f"--{option} belongs to {flag}: add {flag}, or leave it out.")


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise HwflowError(f"--keep {text!r} is no list of shares. Write 0.25,0.5,0.75.") from None


def _step(text: str) -> int | str:
    if text == "array":
        return text
    if not text.isdecimal():
        raise HwflowError(f"--step {text!r} is neither a number of channels nor 'array'.")
    return int(text)
