"""Run folders to contenders: which runs belong together, what to call them, whether they compare.

Runs are one contender when every setting of their solver but the seed is equal, or when they were
given one label. A setting that a run does not mention has the solver's default, so that runs from
before a setting existed stay with those after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from hwflow import plugins
from hwflow.compare.comparison import Comparison, Contender
from hwflow.compare.run import Run, recosted
from hwflow.errors import HwflowError
from hwflow.problem import Problem

SAME = (
    "limits", "objectives", "machine", "cost", "quality", "workload", "network", "edits", "space",
)  # fmt: skip
"""Settings that runs must share to be compared."""

LONG = 16
"""Letters of a setting in a name."""

RECOSTED = ("limits", "objectives", "cost")
"""Settings that may differ where all plans are costed again."""


def compare(
    folders: Sequence[Path | str],
    *,
    evaluations: int | None = None,
    recost: Problem | None = None,
) -> Comparison:
    """Compare runs. Raises HwflowError, naming the difference, unless they share one problem.

    folders: run folders, or ``"LABEL=FOLDER"``: runs of one label are one contender.
    evaluations: what to compare at, by default what every run has; runs that ended before keep
    their last value. recost: cost every evaluated plan as this problem does, within its limits, so
    that searches at different levels or limits can be compared.
    """
    if not folders:
        raise HwflowError("Name the run folders to compare.")
    if evaluations is not None and evaluations < 1:
        raise HwflowError(f"evaluations must be 1 or more, not {evaluations}.")
    named = [split(folder) for folder in folders]
    runs = [Run.read(folder) for _, folder in named]
    for run in runs[1:]:
        _check_same(runs[0], run, SAME if recost is None else _but(SAME, RECOSTED))
    if recost is not None:
        runs = recosted(runs, recost)
    contenders = grouped([label for label, _ in named], runs)
    return _comparison(contenders, recost, evaluations)


def split(text: Path | str) -> tuple[str | None, Path]:
    """Read ``"LABEL=FOLDER"`` as (label, folder); a folder of that whole name comes first."""
    if isinstance(text, Path) or "=" not in text or Path(text).exists():
        return None, Path(text)
    label, _, folder = text.partition("=")
    if not label.strip() or not folder:
        raise HwflowError(f"{text!r} is no LABEL=FOLDER. Write, for instance, ddpg=runs/a0.")
    return label.strip(), Path(folder)


def _comparison(
    contenders: tuple[Contender, ...], problem: Problem | None, evaluations: int | None
) -> Comparison:
    settings = contenders[0].runs[0].settings
    common = min(one.shortest for one in contenders)
    most = max(one.longest for one in contenders)
    if evaluations is not None and evaluations > most:
        raise HwflowError(
            f"No run has {evaluations} evaluations: the longest has {most}, all have {common}."
        )
    return Comparison(
        contenders=contenders,
        objectives=problem.objectives if problem else tuple(settings["objectives"]),
        limits=dict(problem.below.items()) if problem else settings["limits"],
        machine=settings["machine"]["name"],
        level=problem.cost.level if problem else settings["cost"]["level"],
        evaluations=evaluations or common,
        quality=settings["quality"]["name"],
        recosted=problem is not None,
    )


def _but(names: Sequence[str], left_out: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in left_out)


def _check_same(first: Run, other: Run, names: Sequence[str]) -> None:
    for key in names:
        if first.settings.get(key) == other.settings.get(key):
            continue
        text = f"{first.folder} and {other.folder} differ in their {key}: searches are compared "
        if key in RECOSTED:
            raise HwflowError(
                f"{text}on one problem only. Cost their plans again on equal terms: "
                "hwflow compare RUN... --recost LEVEL --below NAME=VALUE."
            )
        raise HwflowError(
            f"{text}on one problem only. Name runs with the same network, space, machine, cost "
            "model, quality and limits."
        )


def grouped(labels: Sequence[str | None], runs: Sequence[Run]) -> tuple[Contender, ...]:
    """Return the contenders: runs of one label, or of one solver with the same settings."""
    groups: dict[tuple[object, ...], list[Run]] = {}
    for label, run in zip(labels, runs, strict=True):
        groups.setdefault(identity(run) if label is None else (label,), []).append(run)
    name = _namer([runs[0] for key, runs in groups.items() if _unlabelled(key)])
    found = tuple(
        Contender(
            name(members[0]) if _unlabelled(key) else str(key[0]),
            tuple(sorted(members, key=lambda run: run.seed)),
        )
        for key, members in groups.items()
    )
    names = [one.name for one in found]
    twice = [each for each in names if names.count(each) > 1]
    if twice:
        raise HwflowError(
            f"Two contenders are called {twice[0]}: give all of these runs a label, as in "
            "LABEL=FOLDER."
        )
    return found


def _unlabelled(key: tuple[object, ...]) -> bool:
    return not (len(key) == 1 and isinstance(key[0], str))


def identity(run: Run) -> tuple[tuple[str, str], ...]:
    """Return what makes runs one contender: every setting of the solver but the seed."""
    settings = {**_defaults(run.solver), **run.settings["solver"]}
    return tuple(sorted((key, _value(v)) for key, v in settings.items() if key != "seed"))


def _namer(firsts: Sequence[Run]) -> Callable[[Run], str]:
    """Return what names unlabelled contenders, given a run of each."""

    def name(run: Run) -> str:
        alike = [set(identity(other)) for other in firsts if other.solver == run.solver]
        usual = {(key, _value(value)) for key, value in _defaults(run.solver).items()}
        own = sorted(set(identity(run)) - alike[0].intersection(*alike[1:]) - usual)
        told = ", ".join(f"{key} {_short(value)}" for key, value in own)
        return f"{run.solver} ({told})" if told else run.solver

    return name


@cache
def _defaults(solver: str) -> Mapping[str, Any]:
    """Return a solver's own settings; none where it is not installed or needs arguments."""
    with suppress(HwflowError, TypeError):
        return dict(plugins.load("solvers", solver)().settings())
    return {}


def _short(value: str) -> str:
    """Cut what no reader compares by eye, such as the check sum of an agent's file."""
    return value if len(value) <= LONG else f"{value[: LONG - 1]}…"


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "-".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
