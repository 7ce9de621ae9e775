"""HW-Flow on CIFAR-10 (JPEG q75): searches, baselines, ablations and fine-tuned networks.

The published bars are twice less energy and latency with minimal loss (LITES 8(1):3, 2022); ours
are against our own baseline, fine-tuned as long as the pruned network.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hwflow import loop
from hwflow.compare import Comparison, verdict
from hwflow.compare import compare as compare_runs
from hwflow.errors import InfeasibleError
from hwflow.front import Front, Trial
from hwflow.network import Network
from hwflow.problem import QUALITY, Problem
from hwflow.quality.accuracy import Accuracy, Flips, compare
from hwflow.reach import feasible_plan, leanest_plan
from hwflow.recipes.hw_flow import Refined, hw_flow, problem_at, pruning_space
from hwflow.report import write_compare_page, write_compare_svg
from hwflow.reproduce.any_graph import any_graph_stage
from hwflow.reproduce.hardware_side import hardware_side_stage
from hwflow.reproduce.stages import Plain, Settings, Stage
from hwflow.solvers import Solver
from hwflow.solvers.ddpg import DDPG
from hwflow.solvers.greedy import Greedy
from hwflow.solvers.milp import MILP
from hwflow.solvers.nsga2 import NSGA2
from hwflow.solvers.random import Random
from hwflow.solvers.uniform import Uniform
from hwflow.space import Space
from hwflow.study import Study
from hwflow.train import Progress, finetune

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
EPOCHS = 12
RATE = 0.05
FINALISTS = 8
"""Plans of a search that are scored on all validation images before one is taken."""


@dataclass(frozen=True)
class Case:
    """A network to prune on a machine, to a point, from a seed."""

    network: str
    machine: str
    point: str
    seed: int

    @property
    def key(self) -> str:
        """Its name in files."""
        return f"{self.network}-{self.machine}-{self.point}-{self.seed}"


QUICK = 6
"""Evaluations of a search in a quick reproduction."""
QUICK_IMAGES = 500
"""Test images of a quick reproduction."""
QUICK_STEPS = 20
"""Steps of a fine-tuning in a quick reproduction."""


def _count(settings: Settings, full: int, quick: int) -> int:
    return quick if settings.quick else full


def _images(settings: Settings, name: str) -> int:
    return _count(settings, IMAGES[name], 100)


def _calibration(settings: Settings) -> int:
    return _count(settings, CALIBRATION, 64)


def _shared(settings: Settings, name: str) -> Path:
    return settings.out / f"qualities-{name}.db"


def searched(settings: Settings, case: Case) -> Refined:
    """Return the refined search of a case, made now or before."""
    name, network = case.network, settings.network(case.network)
    return hw_flow(
        network, settings.splits(network), case.machine, settings.out / "searches" / case.key,
        below=POINTS[case.point], evaluations=_count(settings, EVALUATIONS, QUICK),
        images=_images(settings, name), calibration=_calibration(settings), branches=True,
        seed=case.seed, qualities=_shared(settings, f"{name}-branches"),
    )  # fmt: skip


def taken(settings: Settings, found: Refined, network: Network) -> tuple[Trial, float]:
    """Return the plan that is best on the whole validation split, of the best in the search."""
    stage = found.stages[-1]
    quality = Accuracy(settings.splits(network).val)
    with Study.read(stage.folder) as study:
        scored = [t for t in study.trials() if t.feasible and t.quality is not None]
    best = sorted(scored, key=lambda trial: (-trial.value(QUALITY), trial.number))[:FINALISTS]
    worth = [quality.score(trial.plan, stage.problem.space.apply) for trial in best]
    index = max(range(len(best)), key=worth.__getitem__)
    return best[index], worth[index]


def shares(problem: Problem, total: Mapping[str, float]) -> Plain:
    """Return costs as shares of the original network's."""
    whole = problem.cost.cost(problem.design).total
    names = ("latency_s", "energy_j", "dram_bytes", "macs", "params")
    return {name: total[name] / whole[name] for name in names}


def search_stage(settings: Settings, case: Case) -> Plain:
    """Search, and say what was found and what changed between the levels."""
    found = searched(settings, case)
    trial, worth = taken(settings, found, settings.network(case.network))
    return {
        "case": asdict(case),
        "evaluations": {s.level: _evaluated(s.folder) for s in found.stages},
        "best_by_level": {s.level: s.best.quality for s in found.stages},
        "shifts": [asdict(shift) for shift in found.shifts],
        "plan": list(trial.plan), "choices": found.problem.space.values(trial.plan),
        "validation": worth, "total": dict(trial.total),
        "shares": shares(found.problem, trial.total),
        "evaluation_cpu_s": sum(_cpu(s.folder) for s in found.stages),
    }  # fmt: skip


def _evaluated(folder: Path) -> int:
    with Study.read(folder) as study:
        return study.evaluated


def _cpu(folder: Path) -> float:
    with Study.read(folder) as study:
        return sum(trial.seconds for trial in study.trials())


def tuned(settings: Settings, original: Network, start: Network, label: str, seed: int) -> Network:
    """Fine-tune a network with the original as its teacher; a killed run goes on."""
    train = settings.splits(original).train

    def show(progress: Progress) -> None:
        if progress.step % 50 == 0:
            settings.say(f"  {label}: step {progress.step} of {progress.steps}")

    return finetune(
        start, train, original, **_length(settings), lr=RATE, augment="crop+flip", seed=seed,
        checkpoint=settings.out / "tunes" / f"{label}.safetensors",
        answers=settings.out / "answers", on_step=show,
    )  # fmt: skip


def _length(settings: Settings) -> dict[str, int]:
    """Return how long is fine-tuned."""
    return {"steps": QUICK_STEPS} if settings.quick else {"epochs": EPOCHS}


def tune_stage(settings: Settings, case: Case) -> Plain:
    """Fine-tune a search's network and, as long, the original; compare them on the test split."""
    original = settings.network(case.network)
    found = searched(settings, case)
    trial, worth = taken(settings, found, original)
    small = found.problem.space.apply(trial.plan)
    made = tuned(settings, original, small, case.key, case.seed)
    base = tuned(settings, original, original, f"{case.network}-baseline-0", 0)
    pairs = {
        "before_fine_tuning": (original, small), "after": (base, made),
        "against_untuned_original": (original, made),
    }  # fmt: skip
    test, limit = settings.splits(original).test, QUICK_IMAGES if settings.quick else None
    return {
        "case": asdict(case), **_length(settings), "lr": RATE,
        "validation_before_fine_tuning": worth, "shares": shares(found.problem, trial.total),
        "test": {key: _paired(compare(*pair, test, limit=limit)) for key, pair in pairs.items()},
    }  # fmt: skip


def _paired(flips: Flips) -> Plain:
    return {
        "images": flips.images, "original": flips.before, "pruned": flips.after,
        "gained": flips.gained, "lost": flips.lost, "drop": flips.drop,
        "half_width_95": 1.96 * flips.standard_error,
    }  # fmt: skip


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
        for seed in SEEDS[:1] if label in ONCE else _seeds(settings):
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
    return compare_runs(labelled, evaluations=_count(settings, COMPARED[name], QUICK))


def _seeds(settings: Settings) -> Sequence[int]:
    return SEEDS[:1] if settings.quick else SEEDS


def space_of(settings: Settings, name: str, branches: bool = False) -> Space:
    """Return the pruning space that all searches of a network share."""
    network = settings.network(name)
    return pruning_space(
        network, settings.splits(network), _calibration(settings), branches=branches
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
        problem, Accuracy(val, limit=_images(settings, name)), solver,
        settings.out / folder, evaluations=_count(settings, COMPARED[name], QUICK),
        qualities=_shared(settings, name),
    )  # fmt: skip


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
            for trial in sorted(trials, key=lambda t: t.number):
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
    for seed in _seeds(settings):
        folder = f"levels/{name}-{machine}"
        by_macs = one_search(
            settings, name, machine, "coarse", DDPG(seed, warmup=40), f"{folder}/coarse-{seed}"
        ).pick("most accurate")
        free = problem_at("fine", space_of(settings, name), machine, ())
        total = {key: float(v[0]) for key, v in free.totals([by_macs.plan]).items()}
        below = [f"latency={total['latency_s']!r}s", f"energy={total['energy_j']!r}J"]
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
        problem, Accuracy(val, limit=_count(settings, 1000, 100)), DDPG(0),
        settings.out / "searches" / "long-resnet20", evaluations=_count(settings, 400, QUICK),
    )  # fmt: skip
    spent = time.process_time() - start
    evaluated = _evaluated(settings.out / "searches" / "long-resnet20")
    best = front.pick("most accurate")
    return {
        "network": name, "machine": machine, "evaluations": evaluated, "cpu_s": spent,
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


def _cases() -> list[Case]:
    """Return the searches: three seeds at twice as cheap, one at 2.5 times."""
    twice = [Case("resnet56", machine, "2x", seed) for seed in SEEDS for machine in MACHINES]
    return twice + [Case("resnet56", machine, "2.5x", 0) for machine in MACHINES]


def _stages() -> tuple[Stage, ...]:
    stages: list[Stage] = []
    for case in _cases():
        about = f"{case.network} on {case.machine}, {case.point} cheaper, seed {case.seed}"
        quick = case.seed == 0
        make = partial(search_stage, case=case)
        stages.append(Stage(f"search-{case.key}", f"search, {about}", make, quick))
        if case.seed == 0 or case.machine == MACHINES[0]:
            make = partial(tune_stage, case=case)
            stages.append(Stage(f"tune-{case.key}", f"fine-tune, {about}", make, quick))
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
