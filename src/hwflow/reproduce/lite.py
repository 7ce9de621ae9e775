"""EfficientNet-Lite0 on ImageNet: bits searched after calibration only, nothing is trained.

The front is compared with one width for all weights and tensors, on images that neither calibrated
nor chose anything. Few images of few classes are at hand, so differences are paired with intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from hwflow.plans import spread
from hwflow.problem import Problem
from hwflow.quality.accuracy import Flips, predictions
from hwflow.recipes.hw_flowq import default_costs
from hwflow.reproduce.quantizing import (
    free_problem,
    population,
    searched,
    searched_front,
    sensitivity_of,
    shares,
    trials_of,
)
from hwflow.reproduce.stages import LITE, Plain, Settings, Stage
from hwflow.reproduce.tuning import QUICK_IMAGES, plain_flips
from hwflow.solvers.nsga2 import NSGA2
from hwflow.solvers.surrogate import seeds
from hwflow.space import Plan, Space

SEED = 0
PICKED = 8
"""Networks of the front that are looked at on the test split."""
WIDTHS = (8, 6, 5, 4)
"""Bits of the networks that have one width."""


def lite_stage(settings: Settings, machine: str, name: str = LITE) -> Plain:
    """Search from what an integer program makes of single changes; test the front and one width."""
    problem = free_problem(settings, name, machine)
    size, table = population(settings), sensitivity_of(settings, name, problem.space).table()
    solver = NSGA2(SEED, population=size, first=seeds(problem, table, size))
    folder = f"searches/{name}-{machine}-{SEED}"
    front = searched(settings, name, problem, solver, folder, SEED)
    uniform = {f"{bits} bits": one_width(problem.space, bits) for bits in WIDTHS}
    picked = {f"trial {trial.number}": trial.plan for trial in spread(list(front), PICKED)}
    found = searched_front(problem, trials_of(settings.out / folder), front)
    return {"network": name, "seed": SEED} | found | {
        "tested": tested(settings, problem, name, uniform | picked),
    }  # fmt: skip


def one_width(space: Space, bits: int) -> Plan:
    """Return the plan of these bits everywhere, or of the next higher ones there are."""
    plan = []
    for choice in space.choices:
        enough = [o for o in range(len(choice.options)) if _bits(choice.options[o]) >= bits]
        plan.append(min(enough, key=lambda o: _bits(choice.options[o]), default=choice.default))
    return tuple(plan)


def _bits(option: object) -> int:
    assert isinstance(option, int)
    return option


def tested(
    settings: Settings, problem: Problem, name: str, plans: Mapping[str, Plan]
) -> list[Plain]:
    """Return for each plan its costs, and how it compares with the original on the test split."""
    network, whole = settings.network(name), default_costs(problem)
    test, limit = settings.splits(network).test, QUICK_IMAGES if settings.quick else None
    original, truth = predictions(network, test, limit=limit)
    answers = {
        label: predictions(problem.space.apply(plan), test, limit=limit)[0]
        for label, plan in plans.items()
    }
    rows: list[dict[str, Any]] = []
    for label, plan in plans.items():
        found = answers[label]
        rows.append({
            "network": label, "plan": list(plan), "shares": shares(whole, problem.total(plan)),
            "test": plain_flips(Flips.of(original, found, truth)),
            "against": {
                other: plain_flips(Flips.of(answers[other], found, truth), other, label)
                for other in (f"{bits} bits" for bits in WIDTHS) if other != label
            },
        })  # fmt: skip
    return rows


def lite_of(machine: str) -> Stage:
    """Return the stage on a machine."""
    about = f"bits of EfficientNet-Lite0 on {machine} after calibration, beside one width"
    return Stage(f"lite-{machine}", about, partial(lite_stage, machine=machine), quick=False)
