"""What the stages of HW-Flow share: cases, sizes and the problem that solvers are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hwflow import loop
from hwflow.front import Front
from hwflow.problem import Problem
from hwflow.quality.accuracy import Accuracy
from hwflow.recipes.hw_flow import problem_at, pruning_space
from hwflow.reproduce.stages import Plain, Settings
from hwflow.solvers import Solver
from hwflow.space import Space
from hwflow.study import Study

MACHINES = ("eyeriss", "systolic-8x8")
POINTS: Mapping[str, Sequence[str]] = {
    "2x": ("latency=50%", "energy=50%"), "2.5x": ("latency=40%", "energy=40%"),
}  # fmt: skip
SEEDS = (0, 1, 2)
IMAGES = {"resnet20": 500, "resnet56": 500}
"""Validation images that a plan is scored on in a search."""
CALIBRATION = 256
EVALUATIONS = 200
"""Of a refined search, all levels together."""
COMPARED = {"resnet20": 120, "resnet56": 200}
"""Evaluations of every contender."""
SENSITIVITY_IMAGES = 100
"""Validation images on which single changes are measured."""
QUICK = 6
"""Evaluations of a search in a quick reproduction."""


def count(settings: Settings, full: int, quick: int) -> int:
    """Return the number of a full or of a quick reproduction."""
    return quick if settings.quick else full


def images(settings: Settings, name: str) -> int:
    """Return on how many validation images a plan is scored."""
    return count(settings, IMAGES[name], 100)


def calibration(settings: Settings) -> int:
    """Return how many training images give statistics."""
    return count(settings, CALIBRATION, 64)


def shared(settings: Settings, name: str) -> Path:
    """Return the file in which the searches of a network share scores."""
    return settings.out / f"qualities-{name}.db"


def seeds(settings: Settings) -> Sequence[int]:
    """Return the seeds of a comparison."""
    return SEEDS[:1] if settings.quick else SEEDS


def shares(problem: Problem, total: Mapping[str, float]) -> Plain:
    """Return costs as shares of the original network's."""
    whole = problem.cost.cost(problem.design).total
    names = ("latency_s", "energy_j", "dram_bytes", "macs", "params")
    return {name: total[name] / whole[name] for name in names}


def evaluated(folder: Path) -> int:
    """Return how many plans a run has evaluated."""
    with Study.read(folder) as study:
        return study.evaluated


def cpu(folder: Path) -> float:
    """Return the seconds that a run's evaluations took."""
    with Study.read(folder) as study:
        return sum(trial.seconds for trial in study.trials())


def space_of(settings: Settings, name: str, branches: bool = False) -> Space:
    """Return the pruning space that all searches of a network share."""
    network = settings.network(name)
    return pruning_space(
        network, settings.splits(network), calibration(settings), branches=branches
    )


def one_search(
    settings: Settings,
    name: str,
    machine: str,
    level: str,
    solver: Solver,
    folder: str,
    below: Sequence[str] = POINTS["2x"],
) -> Front:
    """Search at one level, below half of latency and energy where nothing else is said."""
    space = space_of(settings, name)
    problem = problem_at(level, space, machine, below)
    val = settings.splits(settings.network(name)).val
    return loop.search(
        problem, Accuracy(val, limit=images(settings, name)), solver,
        settings.out / folder, evaluations=count(settings, COMPARED[name], QUICK),
        qualities=shared(settings, name),
    )  # fmt: skip
