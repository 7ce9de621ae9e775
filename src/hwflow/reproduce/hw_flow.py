"""HW-Flow on CIFAR-10 (JPEG q75): searches, baselines, ablations and fine-tuned networks.

The published bars are twice less energy and latency with minimal loss (LITES 8(1):3, 2022); ours
are against our own baseline, fine-tuned as long as the pruned network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

from hwflow import loop
from hwflow.quality.accuracy import Accuracy
from hwflow.recipes.hw_flow import Refined, hw_flow, problem_at
from hwflow.recipes.levels import Stage as Searched
from hwflow.reproduce.any_graph import any_graph_stage
from hwflow.reproduce.finalists import answer_of
from hwflow.reproduce.hardware_side import hardware_side_stage
from hwflow.reproduce.pruning import (
    EVALUATIONS,
    MACHINES,
    POINTS,
    QUICK,
    SEEDS,
    SENSITIVITY_IMAGES,
    calibration,
    count,
    cpu,
    evaluated,
    images,
    shared,
    shares,
    space_of,
)
from hwflow.reproduce.pruning_solvers import (
    CONTENDERS,
    compare_stage,
    levels_stage,
    long_search_stage,
    reach_stage,
)
from hwflow.reproduce.single_changes import single_changes
from hwflow.reproduce.stages import Plain, Settings, Stage
from hwflow.reproduce.tuning import RATE, baseline, length, paired, tuned
from hwflow.solvers.milp import MILP

PROGRAMMED = 100
"""Evaluations of a search by integer programs; they begin with single changes."""
PROGRAM: Mapping[str, int] = {"rungs": 2, "diverse": 10, "next_best": 100}


@dataclass(frozen=True)
class Case:
    """A network to prune on a machine, to a point, from a seed."""

    network: str
    machine: str
    point: str
    seed: int
    by: Literal["agent", "program"] = "agent"

    @property
    def key(self) -> str:
        """Its name in files."""
        end = "" if self.by == "agent" else f"-{self.by}"
        return f"{self.network}-{self.machine}-{self.point}-{self.seed}{end}"

    @property
    def about(self) -> str:
        """What it is, in words."""
        end = "" if self.by == "agent" else ", by integer programs"
        return f"{self.network} on {self.machine}, {self.point} cheaper, seed {self.seed}{end}"


def searched(settings: Settings, case: Case) -> Refined:
    """Return the search of a case, made now or before: the agent's is refined over the levels."""
    if case.by == "program":
        return programmed(settings, case)
    name, network = case.network, settings.network(case.network)
    return hw_flow(
        network, settings.splits(network), case.machine, settings.out / "searches" / case.key,
        below=POINTS[case.point], evaluations=count(settings, EVALUATIONS, QUICK),
        images=images(settings, name), calibration=calibration(settings), branches=True,
        seed=case.seed, qualities=shared(settings, f"{name}-branches"),
    )  # fmt: skip


def programmed(settings: Settings, case: Case) -> Refined:
    """Return a search on Fine by integer programs that begin with single changes."""
    name = case.network
    space = space_of(settings, name, branches=True)
    seen = count(settings, SENSITIVITY_IMAGES, 20)
    losses = single_changes(settings, name, space, seen, f"{name}-branches").by_choice()
    solver = MILP(case.seed, losses=losses, **PROGRAM)
    problem = problem_at("fine", space, case.machine, POINTS[case.point])
    val = settings.splits(settings.network(name)).val
    folder = settings.out / "searches" / case.key
    front = loop.search(
        problem, Accuracy(val, limit=images(settings, name)), solver, folder,
        evaluations=count(settings, PROGRAMMED, QUICK), seed=case.seed,
        qualities=shared(settings, f"{name}-branches"),
    )  # fmt: skip
    return Refined((Searched("fine", problem, front, folder),))


def search_stage(settings: Settings, case: Case) -> Plain:
    """Search, and say what was found and what changed between the levels."""
    found = searched(settings, case)
    stage, network = found.stages[-1], settings.network(case.network)
    trial, worth = answer_of(settings, network, found.problem.space, stage.ranked())
    return {
        "case": asdict(case),
        "evaluations": {s.level: evaluated(s.folder) for s in found.stages},
        "best_by_level": {s.level: s.best.quality for s in found.stages},
        "shifts": [asdict(shift) for shift in found.shifts],
        "plan": list(trial.plan), "choices": found.problem.space.values(trial.plan),
        "validation": worth, "total": dict(trial.total),
        "shares": shares(found.problem, trial.total),
        "evaluation_cpu_s": sum(cpu(s.folder) for s in found.stages),
    }  # fmt: skip


def tune_stage(settings: Settings, case: Case) -> Plain:
    """Fine-tune a search's network and, as long, the original; compare them on the test split.

    Networks of every seed see the images in one order, the original's: it is taught them once.
    """
    original = settings.network(case.network)
    found = search_of(case).result(settings)
    space = searched(settings, case).problem.space
    small = space.apply(tuple(found["plan"]))
    made = tuned(settings, original, small, case.key, seed=0)
    base = baseline(settings, original, case.network)
    pairs = {
        "before_fine_tuning": (original, small), "after": (base, made),
        "against_untuned_original": (original, made),
    }  # fmt: skip
    return {
        "case": asdict(case), **length(settings), "lr": RATE,
        "validation_before_fine_tuning": found["validation"], "shares": found["shares"],
        "test": paired(settings, original, pairs),
    }  # fmt: skip


def search_of(case: Case) -> Stage:
    """Return the stage of a case's search."""
    about = f"search, {case.about}"
    return Stage(f"search-{case.key}", about, partial(search_stage, case=case), case.seed == 0)


def _cases() -> list[Case]:
    """Return the searches: three seeds at twice as cheap, one at 2.5 times."""
    twice = [Case("resnet56", machine, "2x", seed) for seed in SEEDS for machine in MACHINES]
    more = [Case("resnet56", machine, "2.5x", 0) for machine in MACHINES]
    return twice + more + [Case("resnet56", m, "2x", 0, by="program") for m in MACHINES]


def _stages() -> tuple[Stage, ...]:
    stages: list[Stage] = []
    for case in _cases():
        stages.append(search_of(case))
        make = partial(tune_stage, case=case)
        about = f"fine-tune, {case.about}"
        stages.append(Stage(f"tune-{case.key}", about, make, case.seed == 0))
    for name, machine in (("resnet20", "systolic-8x8"), ("resnet56", "eyeriss")):
        make = partial(compare_stage, name=name, machine=machine, contenders=tuple(CONTENDERS))
        stages.append(Stage(f"compare-{name}", f"agent and baselines, {name} on {machine}", make))
    for machine in (*MACHINES[1:], "systolic-16x16"):
        make = partial(levels_stage, name="resnet20", machine=machine)
        about = f"Coarse or Fine, on {machine}"
        stages.append(Stage(f"levels-{machine}", about, make, machine in MACHINES))
    about = "how long 400 evaluations of ResNet-20 take"
    stages.append(Stage("long-search", about, long_search_stage))
    stages.append(Stage("reach", "the least latency that can be reached", reach_stage))
    about = "torchvision's networks at half of their latency, without data"
    stages.append(Stage("any-graph", about, any_graph_stage))
    about = "ResNet-50 and DeepLabv3, half of latency and energy, layer by layer, without data"
    stages.append(Stage("hardware-side", about, hardware_side_stage))
    return tuple(stages)


STAGES = _stages()
