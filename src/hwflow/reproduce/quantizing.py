"""What the stages of HW-FlowQ share: sizes, spaces, searches, and how fronts are measured.

Every search of a network shares one file of accuracies, whatever the machine, the level, the solver
and the limits. Costs are in shares of the 8-bit network's. Hypervolumes are those of the box from
an accuracy of FLOOR to 1 and from nothing to the costs of the 8-bit network, so that figures of
different stages, machines and seeds can be compared without each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from hwflow import loop
from hwflow.front import Front, Trial, volume
from hwflow.problem import QUALITY, Problem
from hwflow.quality.accuracy import Accuracy
from hwflow.quality.sensitivity_table import Sensitivity
from hwflow.recipes.hw_flowq import BITS, default_costs, problem_at, quantization_space
from hwflow.reproduce.single_changes import single_changes
from hwflow.reproduce.stages import LITE, Plain, Settings
from hwflow.solvers import Solver
from hwflow.space import Space
from hwflow.study import Study

MACHINES = ("bitfusion", "bismo", "simd-16")
BUDGETS = (0.4, 0.5, 0.6)
"""Of HAQ's agent: shares of the 8-bit network's latency."""
SEEDS = (0, 1, 2)
EVALUATIONS = {"resnet20": 160, "resnet56": 160, LITE: 120}
"""Of every search."""
POPULATION = 24
IMAGES = {"resnet20": 500, "resnet56": 500, LITE: 200}
"""Validation images that a plan is scored on in a search."""
CALIBRATION = 256
SENSITIVITY_IMAGES = {"resnet20": 50, "resnet56": 50, LITE: 25}
"""Validation images on which single changes are measured, for a search that is seeded."""
METRICS = ("latency_s", "energy_j", "dram_bytes", "bit_ops", "model_bytes")
FLOOR = 0.5
"""The accuracy from which hypervolumes count."""
QUICK = 8
"""Evaluations of a search in a quick reproduction."""
QUICK_BITS = (2, 4, 8)
"""Bits of a quick reproduction: fewer of them are fewer mappings to find."""


def evaluations(settings: Settings, name: str) -> int:
    """Return how many plans a search evaluates."""
    return QUICK if settings.quick else EVALUATIONS[name]


def images(settings: Settings, name: str) -> int:
    """Return on how many validation images a plan is scored in a search."""
    return 100 if settings.quick else IMAGES[name]


def population(settings: Settings) -> int:
    """Return the population of NSGA-II."""
    return 6 if settings.quick else POPULATION


def seeds(settings: Settings) -> Sequence[int]:
    """Return the seeds of a comparison."""
    return SEEDS[:1] if settings.quick else SEEDS


def bits(settings: Settings) -> Sequence[int]:
    """Return the bits that are choices."""
    return QUICK_BITS if settings.quick else BITS


def calibration(settings: Settings) -> int:
    """Return how many training images set the scales."""
    return 64 if settings.quick else CALIBRATION


def qualities(settings: Settings, name: str) -> Path:
    """Return the file in which all searches of a network share accuracies."""
    return settings.out / f"qualities-{name}.db"


def space_of(settings: Settings, name: str) -> Space:
    """Return the choices of bits that all searches of a network share."""
    network = settings.network(name)
    data = settings.splits(network)
    return quantization_space(network, data, bits(settings), calibration(settings))


def sensitivity_of(settings: Settings, name: str, space: Space) -> Sensitivity:
    """Return what each option of each choice loses, measured now or before."""
    count = 20 if settings.quick else SENSITIVITY_IMAGES[name]
    return single_changes(settings, name, space, count, name)


def searched(
    settings: Settings, name: str, problem: Problem, solver: Solver, folder: str, seed: int
) -> Front:
    """Return the front of a search, made now or before."""
    val = settings.splits(settings.network(name)).val
    return loop.search(
        problem, Accuracy(val, limit=images(settings, name)), solver, settings.out / folder,
        evaluations=evaluations(settings, name), seed=seed, qualities=qualities(settings, name),
    )  # fmt: skip


def free_problem(settings: Settings, name: str, machine: str, level: str = "fine") -> Problem:
    """Return the problem without limits, for accuracy, energy and latency."""
    return problem_at(level, space_of(settings, name), machine)


def trials_of(folder: Path) -> list[Trial]:
    """Return the plans that a run has evaluated, in their order."""
    with Study.read(folder) as study:
        return [trial for trial in study.trials() if trial.quality is not None]


def shares(whole: Mapping[str, float], total: Mapping[str, float]) -> dict[str, float]:
    """Return costs as shares of the 8-bit network's, `whole`."""
    return {name: total[name] / whole[name] for name in METRICS if name in total}


def described(whole: Mapping[str, float], trial: Trial) -> Plain:
    """Return a network as plain data: bits, accuracy in the search, costs and shares of `whole`."""
    return {
        "number": trial.number, "plan": list(trial.plan), "quality": trial.quality,
        "total": {name: trial.total[name] for name in METRICS if name in trial.total},
        "shares": shares(whole, trial.total),
    }  # fmt: skip


def searched_front(problem: Problem, trials: Sequence[Trial], front: Iterable[Trial]) -> Plain:
    """Return a search as plain data: its front, and the hypervolume after each evaluation."""
    volumes, whole = volume_curve(problem, trials), default_costs(problem)
    return {
        "machine": problem.machine.name, "level": problem.cost.level,
        "evaluations": len(trials), "front": [described(whole, trial) for trial in front],
        "hypervolume": volumes[-1] if volumes else 0.0, "hypervolumes": volumes,
        "evaluation_cpu_s": sum(trial.seconds for trial in trials),
        "eight_bit": whole, "choices": [c.name for c in problem.space.choices],
        "options": [list(choice.options) for choice in problem.space.choices],
    }  # fmt: skip


def volume_curve(problem: Problem, trials: Sequence[Trial]) -> list[float]:
    """Return the hypervolume after each evaluation."""
    whole = default_costs(problem)
    points = np.array([_point(trial, problem.cost_names, whole) for trial in trials])
    curve: list[float] = []
    front = np.empty((0, 1 + len(problem.cost_names)))
    for point in points:
        if (front <= point).all(axis=1).any():
            curve.append(curve[-1])
            continue
        front = np.concatenate([front[~(point <= front).all(axis=1)], point[None]])
        curve.append(volume(front))
    return curve


def _point(trial: Trial, costs: Sequence[str], whole: Mapping[str, float]) -> list[float]:
    """Return 0 for the best and 1 for the worst that counts, by objective."""
    missed = (1 - trial.value(QUALITY)) / (1 - FLOOR)
    return [missed, *(trial.total[name] / whole[name] for name in costs)]
