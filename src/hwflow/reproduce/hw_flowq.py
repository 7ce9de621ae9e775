"""HW-FlowQ on CIFAR-10 (JPEG q75): bits searched on three engines, beside HAQ's agent.

Accuracies are those after calibration, unless a stage trains; all are of the same lossy copy of the
data, so compare within it only.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from hwflow.reproduce import codesign
from hwflow.reproduce.lite import lite_of
from hwflow.reproduce.quantizing import BUDGETS, MACHINES, SEEDS
from hwflow.reproduce.quantizing_answers import (
    engines_stage,
    levels_stage,
    surrogate_stage,
    work_stage,
)
from hwflow.reproduce.quantizing_searches import (
    CONTENDERS,
    ONCE,
    REPAIRS,
    Budget,
    Case,
    haq_of,
    search_of,
    tuning_stage,
    within_of,
)
from hwflow.reproduce.quantizing_trained import tune_stage
from hwflow.reproduce.stages import Stage

LARGE = "bismo"
"""The engine on which ResNet-56 and EfficientNet-Lite0 are searched."""


def budgets(network: str, seed: int) -> list[Budget]:
    """Return HAQ's cases of a network and a seed, the middle budget of each machine first."""
    found: list[Budget] = []
    for place in (1, 0, 2):
        for machine in MACHINES:
            found += [Budget(network, machine, BUDGETS[place], r, seed) for r in REPAIRS]
    return found


def within_budgets(network: str, seed: int) -> list[Stage]:
    """Return the searches by integer programs below HAQ's budgets."""
    cases = [case for case in budgets(network, seed) if case.repair == "ratio"]
    return [within_of(case) for case in cases]


def searches(network: str, seed: int) -> list[Case]:
    """Return the searches of a network and a seed."""
    labels = [label for label in CONTENDERS if seed == SEEDS[0] or label not in ONCE]
    return [Case(network, machine, label, seed) for machine in MACHINES for label in labels]


def _levels(machine: str) -> Stage:
    make = partial(levels_stage, machine=machine)
    return Stage(f"levels-{machine}", f"what a search on a cheap level loses, {machine}", make,
                 machine == MACHINES[1])  # fmt: skip


def _tune(case: Budget) -> Stage:
    quick = case.key == "resnet20-bismo-0.6-haq-0"
    about = f"trained equally long: HAQ's answer and ours, {case.key}"
    return Stage(f"tune-{case.key}", about, partial(tune_stage, case=case), quick)


def _stages() -> tuple[Stage, ...]:
    """Return the stages: seed by seed, then the questions, then the larger network."""
    found: list[Stage] = []
    for seed in SEEDS:
        found += [search_of(case) for case in searches("resnet20", seed)]
        found += [haq_of(case) for case in budgets("resnet20", seed)]
        found += within_budgets("resnet20", seed)
    found.append(Stage("haq-tuning", "other figures of HAQ's agent at one budget", tuning_stage))
    found.append(Stage("engines", "engine against engine, in shares of 8 bits", engines_stage))
    found.append(Stage("seeded", "forward work to plain NSGA-II's hypervolume", work_stage))
    about = "whether sums of single changes rank networks as evaluations do"
    found.append(Stage("surrogate", about, surrogate_stage))
    found += [_levels(machine) for machine in MACHINES]
    found += [_tune(case) for seed in SEEDS for case in budgets("resnet20", seed)]
    large = [Case("resnet56", LARGE, label, SEEDS[0]) for label in CONTENDERS]
    found += [search_of(case, quick=False) for case in large]
    agents = [Budget("resnet56", LARGE, BUDGETS[1], r, SEEDS[0]) for r in REPAIRS]
    found += [haq_of(case, quick=False) for case in agents]
    found.append(lite_of(LARGE))
    found += codesign.stages("resnet20")
    return (*found, *(replace(one, quick=False) for one in codesign.stages("resnet56")))


STAGES = _stages()
