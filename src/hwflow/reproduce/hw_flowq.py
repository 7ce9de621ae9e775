"""HW-FlowQ on CIFAR-10 (JPEG q75): bits searched on three engines, beside HAQ's agent.

Accuracies are those after calibration, unless a stage trains; all are of the same lossy copy of the
data, so compare within it only.
"""

from __future__ import annotations

from functools import partial

from hwflow.reproduce.quantizing import BUDGETS, INSTEAD, MACHINES, SEEDS
from hwflow.reproduce.quantizing_searches import (
    CONTENDERS,
    ONCE,
    REPAIRS,
    Budget,
    Case,
    haq_stage,
    search_stage,
)
from hwflow.reproduce.stages import Stage


def budgets(network: str, seed: int) -> list[Budget]:
    """Return HAQ's cases of a network and a seed, the middle budget of each machine first."""
    found = []
    for place in (1, 0, 2):
        for machine in MACHINES:
            given = [BUDGETS[machine], *([INSTEAD[machine]] if machine in INSTEAD else [])]
            for metric, shares in given:
                for repair in REPAIRS:
                    case = Budget(network, machine, metric, shares[place], repair, seed)
                    found.append(case)
    return found


def searches(network: str, seed: int) -> list[Case]:
    """Return the searches of a network and a seed."""
    labels = [label for label in CONTENDERS if seed == SEEDS[0] or label not in ONCE]
    return [Case(network, machine, label, seed) for machine in MACHINES for label in labels]


def _search(case: Case) -> Stage:
    about = f"{case.network} on {case.machine} by {case.contender}, seed {case.seed}"
    make = partial(search_stage, case=case)
    return Stage(f"search-{case.key}", about, make, case.seed == SEEDS[0])


def _haq(case: Budget) -> Stage:
    about = (
        f"HAQ's agent, {case.network} on {case.machine}, {case.metric} at most {case.share:g}, "
        f"repair {case.repair}, seed {case.seed}"
    )
    quick = case.seed == SEEDS[0] and case.share == 0.6
    return Stage(f"haq-{case.key}", about, partial(haq_stage, case=case), quick)


def _stages() -> tuple[Stage, ...]:
    stages: list[Stage] = []
    for seed in SEEDS:
        stages += [_search(case) for case in searches("resnet20", seed)]
        stages += [_haq(case) for case in budgets("resnet20", seed)]
    return tuple(stages)


STAGES = _stages()
