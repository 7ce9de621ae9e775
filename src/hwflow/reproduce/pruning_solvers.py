"""Agent and baselines on one pruning problem, which level to search on, what can be reached."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from hwflow import loop
from hwflow.compare import Comparison, verdict
from hwflow.compare import compare as compare_runs
from hwflow.cost import Limits
from hwflow.errors import InfeasibleError
from hwflow.problem import QUALITY
from hwflow.quality.accuracy import Accuracy
from hwflow.reach import feasible_plan, leanest_plan
from hwflow.recipes.hw_flow import problem_at
from hwflow.report import write_compare_page, write_compare_svg
from hwflow.reproduce.pruning import (
    COMPARED,
    MACHINES,
    POINTS,
    QUICK,
    SEEDS,
    count,
    evaluated,
    one_search,
    seeds,
    shares,
    space_of,
)
from hwflow.reproduce.stages import Plain, Settings
from hwflow.solvers.ddpg import DDPG
from hwflow.solvers.greedy import Greedy
from hwflow.solvers.milp import MILP
from hwflow.solvers.nsga2 import NSGA2
from hwflow.solvers.random import Random
from hwflow.solvers.uniform import Uniform
from hwflow.study import Study

CONTENDERS: Mapping[str, Any] = {
    "uniform": lambda seed: Uniform(seed),
    "random": lambda seed: Random(seed),
    "greedy": lambda seed: Greedy(seed),
    "milp": lambda seed: MILP(seed),
    "nsga2": lambda seed: NSGA2(seed, population=20),
    "ddpg": lambda seed: DDPG(seed, warmup=40),
    "ddpg-without-hardware": lambda seed: DDPG(seed, warmup=40, hardware=False),
}
ONCE = ("uniform", "greedy", "milp")
"""Contenders in which nothing is drawn (but for what MILP does with evaluations left over)."""


def compare_stage(
    settings: Settings, name: str, machine: str, contenders: Sequence[str], level: str = "fine"
) -> Plain:
    """Search one problem with every contender and seed, at the same number of evaluations."""
    folders: dict[str, list[str]] = {}
    for label in contenders:
        for seed in SEEDS[:1] if label in ONCE else seeds(settings):
            folder = f"compare/{name}-{machine}-{level}/{label}-{seed}"
            settings.say(f"  {folder}")
            with suppress(InfeasibleError):  # greedy and milp may spend all on probes
                one_search(settings, name, machine, level, CONTENDERS[label](seed), folder)
            folders.setdefault(label, []).append(folder)
    found = comparison(settings, name, folders)
    write_compare_page(found, settings.out / f"compare-{name}.html")
    write_compare_svg(found, settings.out / f"compare-{name}.svg")
    head = {"network": name, "machine": machine, "level": level, "verdict": verdict(found)}
    return head | {"best_after_each": _curves(settings, folders)}


def comparison(settings: Settings, name: str, folders: Mapping[str, Sequence[str]]) -> Comparison:
    """Return the runs of all contenders side by side, at the evaluations each was given."""
    labelled = [f"{label}={settings.out / run}" for label, runs in folders.items() for run in runs]
    return compare_runs(labelled, evaluations=count(settings, COMPARED[name], QUICK))


def _curves(
    settings: Settings, folders: Mapping[str, Sequence[str]]
) -> dict[str, list[list[float | None]]]:
    """Return the best quality under the budget after each evaluation, by contender and seed."""
    curves: dict[str, list[list[float | None]]] = {}
    for label, runs in folders.items():
        for run in runs:
            with Study.read(settings.out / run) as study:
                trials = [t for t in study.trials() if t.quality is not None]
            best, curve = None, []
            for trial in trials:  # in the order of their numbers
                if trial.feasible:
                    best = max(best or 0.0, trial.value(QUALITY))
                curve.append(best)
            curves.setdefault(label, []).append(curve)
    return curves


def levels_stage(settings: Settings, name: str, machine: str) -> Plain:
    """Ask which level to search on: the same agent on Coarse, and on Fine at no more latency.

    The best plan below half of the multiplications is costed at the fine level; its latency and
    energy are then the limits of a search on Fine, with the same seed and evaluations.
    """
    rows = []
    for seed in seeds(settings):
        folder = f"levels/{name}-{machine}"
        by_macs = one_search(
            settings, name, machine, "coarse", DDPG(seed, warmup=40), f"{folder}/coarse-{seed}"
        ).pick("most accurate")
        free = problem_at("fine", space_of(settings, name), machine, ())
        total = free.total(by_macs.plan)
        below = Limits(latency_s=total["latency_s"], energy_j=total["energy_j"]).texts()
        by_fine = one_search(
            settings, name, machine, "fine", DDPG(seed, warmup=40), f"{folder}/fine-{seed}", below
        ).pick("most accurate")
        rows.append(
            {
                "seed": seed,
                "coarse": {"validation": by_macs.quality, "shares": shares(free, total)},
                "fine": {"validation": by_fine.quality, "shares": shares(free, by_fine.total)},
            }
        )
    return {"network": name, "machine": machine, "rows": rows}


def long_search_stage(settings: Settings) -> Plain:
    """Search ResNet-20 with 400 evaluations of 1,000 images; the time is what is asked here."""
    name, machine = "resnet20", MACHINES[1]
    problem = problem_at("fine", space_of(settings, name), machine, POINTS["2x"])
    val = settings.splits(settings.network(name)).val
    start = time.process_time()
    front = loop.search(
        problem, Accuracy(val, limit=count(settings, 1000, 100)), DDPG(0),
        settings.out / "searches" / "long-resnet20", evaluations=count(settings, 400, QUICK),
    )  # fmt: skip
    spent = time.process_time() - start
    made = evaluated(settings.out / "searches" / "long-resnet20")
    best = front.pick("most accurate")
    return {
        "network": name, "machine": machine, "evaluations": made, "cpu_s": spent,
        "validation": best.quality, "shares": shares(problem, best.total),
    }  # fmt: skip


def reach_stage(settings: Settings) -> Plain:
    """Return the least latency that pruning ResNet-56 can reach on each machine, and why."""
    rows = {}
    space = space_of(settings, "resnet56")
    for machine in (*MACHINES, "systolic-16x16"):
        problem = problem_at("fine", space, machine, ("latency=0.1%",))
        plan = leanest_plan(problem)
        cost, whole = problem.costs([plan])[0], problem.cost.cost(problem.design)
        rows[machine] = {
            "share": cost.total["latency_s"] / whole.total["latency_s"],
            "latency_s": cost.total["latency_s"], "original_s": whole.total["latency_s"],
            "values": space.values(plan),
            "layers": [
                {"name": layer.name, "latency_s": layer.values["latency_s"]}
                for layer in cost.layers if layer.values.get("macs")
            ],
        }  # fmt: skip
        try:
            feasible_plan(problem)
        except InfeasibleError as error:
            rows[machine]["message"] = str(error)
    return {"machines": rows}
