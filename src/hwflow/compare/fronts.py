"""Fronts of several searches in shares of one cost each, so that engines and levels compare.

A run on one machine and a run on another solve different problems; what can be laid side by side is
the accuracy against the cost as a share of the network of highest bits on the same machine. Costed
again at another level, the front of a search shows what it is worth there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwflow.compare.gather import split
from hwflow.compare.run import Run, recosted
from hwflow.errors import HwflowError
from hwflow.front import Front
from hwflow.problem import QUALITY, Problem
from hwflow.space import Plan
from hwflow.study import Study

BITS = "_bits:"
"""Stands in the names of the choices whose options are numbers of bits."""


@dataclass(frozen=True)
class NamedFront:
    """The front of a search; columns of one length, cheapest network first."""

    name: str
    machine: str
    level: str
    numbers: tuple[int, ...]
    """Of the trials."""
    quality: tuple[float, ...]
    shares: Mapping[str, tuple[float, ...]]
    """Costs by metric, as shares of what the default plan costs."""
    bits: Mapping[str, tuple[int, ...]]
    """Values of the choices whose options are numbers of bits, by name of the choice."""
    evaluations: int

    def __len__(self) -> int:
        return len(self.numbers)


def fronts(
    folders: Sequence[Path | str], recost: Sequence[Problem | None] = ()
) -> list[NamedFront]:
    """Return the front of each run folder, or ``"LABEL=FOLDER"``.

    `recost` gives a problem for each: its plans are costed as that one does, and the front is that
    of its objectives and limits. Raises HwflowError for a run that has not costed its default plan,
    or whose choices are not those of the problem.
    """
    problems = list(recost) or [None] * len(folders)
    return [_front(*split(one), problem) for one, problem in zip(folders, problems, strict=True)]


def _front(label: str | None, folder: Path, problem: Problem | None) -> NamedFront:
    run = Run.read(folder)
    whole = _whole(run, folder, problem)
    if problem is not None:
        run = recosted([run], problem)[0]
    settings = run.settings
    objectives = problem.objectives if problem else tuple(settings["objectives"])
    found = Front.of(run.trials, objectives)
    names = [name for name, value in whole.items() if value > 0]
    return NamedFront(
        name=label or folder.name,
        machine=str(settings["machine"]["name"]),
        level=problem.cost.level if problem else str(settings["cost"]["level"]),
        numbers=tuple(trial.number for trial in found),
        quality=tuple(trial.value(QUALITY) for trial in found),
        shares={n: tuple(t.total[n] / whole[n] for t in found if n in t.total) for n in names},
        bits=_bits(settings["space"], [trial.plan for trial in found]),
        evaluations=len(run.trials),
    )


def _whole(run: Run, folder: Path, problem: Problem | None) -> Mapping[str, float]:
    """Return what the default plan costs."""
    plan = tuple(int(choice["default"]) for choice in run.settings["space"])
    if problem is not None:
        return problem.total(plan)
    with Study.read(folder) as study:
        known = study.get(plan)
    if known is None:
        raise HwflowError(
            f"{folder} has not costed its default plan, so that its costs are shares of nothing. "
            "Give a solver that begins with it (nsga2, ddpg, uniform), or cost the plans again."
        )
    return known.total


def _bits(space: Sequence[Mapping[str, Any]], plans: Sequence[Plan]) -> dict[str, tuple[int, ...]]:
    return {
        str(choice["name"]): tuple(int(choice["options"][plan[place]]) for plan in plans)
        for place, choice in enumerate(space)
        if BITS in choice["name"]
    }
