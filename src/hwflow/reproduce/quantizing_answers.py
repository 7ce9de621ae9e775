"""Stages of HW-FlowQ that ask questions of the searches: levels, engines, forward work, sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import median
from typing import Any

from hwflow.compare import fronts
from hwflow.front import Front, Trial
from hwflow.problem import Problem
from hwflow.quality.sensitivity_table import Figure
from hwflow.recipes.hw_flowq import default_costs, hw_flowq
from hwflow.report import write_bits_svg, write_fronts_page, write_fronts_svg
from hwflow.reproduce.quantizing import (
    MACHINES,
    bits,
    calibration,
    described,
    evaluations,
    free_problem,
    images,
    population,
    qualities,
    searched,
    seeds,
    sensitivity_of,
    space_of,
    trials_of,
    volume_curve,
)
from hwflow.reproduce.quantizing_searches import (
    Case,
    plain,
    search_of,
)
from hwflow.reproduce.stages import Plain, Settings
from hwflow.solvers.surrogate import rank_correlation


def levels_stage(settings: Settings, machine: str, name: str = "resnet20") -> Plain:
    """Ask what is lost by searching on a cheap level: all that it evaluated, costed on Fine.

    Beside Coarse, Mid and Fine alone, with equal evaluations, the three refined one after another.
    """
    fine = free_problem(settings, name, machine)
    rows = []
    for seed in seeds(settings):
        found: dict[str, Any] = {"seed": seed}
        for level in ("coarse", "mid", "fine"):
            found[level] = costed_on(fine, level_trials(settings, name, machine, level, seed))
        refined, shifts = refined_trials(settings, name, machine, seed)
        rows.append(found | {"refined": costed_on(fine, refined), "shifts": shifts})
    _levels_page(settings, name, machine, fine)
    return {"network": name, "machine": machine, "rows": rows}


def level_trials(settings: Settings, name: str, machine: str, level: str, seed: int) -> list[Trial]:
    """Return what NSGA-II evaluated on a level; that on Fine is the search of its own stage."""
    if level == "fine":
        folder = f"searches/{Case(name, machine, 'nsga2', seed).key}"
        search_of(Case(name, machine, "nsga2", seed)).result(settings)
        return trials_of(settings.out / folder)
    problem = free_problem(settings, name, machine, level)
    folder = f"levels/{name}-{machine}/{level}-{seed}"
    searched(settings, name, problem, plain(settings, name, problem, seed), folder, seed)
    return trials_of(settings.out / folder)


def refined_trials(
    settings: Settings, name: str, machine: str, seed: int
) -> tuple[list[Trial], list[Plain]]:
    """Return what the search that goes from level to level evaluated, and how its fronts moved."""
    network = settings.network(name)
    found = hw_flowq(
        network, settings.splits(network), machine,
        settings.out / f"levels/{name}-{machine}/refined-{seed}", bits=bits(settings),
        evaluations=evaluations(settings, name), population=population(settings),
        images=images(settings, name), calibration=calibration(settings), seed=seed,
        qualities=qualities(settings, name),
    )  # fmt: skip
    trials = [trial for stage in found.stages for trial in trials_of(stage.folder)]
    return trials, [asdict(shift) for shift in found.shifts]


def costed_on(problem: Problem, trials: Sequence[Trial]) -> Plain:
    """Return hypervolume and front of evaluated plans, costed in another problem."""
    plans = list(dict.fromkeys(trial.plan for trial in trials))
    worth = {trial.plan: trial.quality for trial in trials}
    totals = problem.totals(plans)
    anew = [
        Trial(number, plan, {n: float(v[number]) for n, v in totals.items()}, worth[plan])
        for number, plan in enumerate(plans)
    ]
    curve, whole = volume_curve(problem, anew), default_costs(problem)
    front = Front.of(anew, problem.objectives)
    return {
        "networks": len(plans), "hypervolume": curve[-1],
        "front": [described(whole, trial) for trial in front],
    }  # fmt: skip


def _levels_page(settings: Settings, name: str, machine: str, fine: Problem) -> None:
    """Draw the fronts of the first seed, each costed on Fine."""
    runs = [
        *(f"{one}=levels/{name}-{machine}/{one}-0" for one in ("coarse", "mid")),
        f"fine=searches/{Case(name, machine, 'nsga2', 0).key}",
    ]
    whole = [f"{run.partition('=')[0]}={settings.out / run.partition('=')[2]}" for run in runs]
    found = fronts(whole, [fine] * len(whole))
    title = f"{name} on {machine}: searched at each level, costed on Fine"
    write_fronts_page(found, title, settings.out / f"levels-{machine}.html")


def engines_stage(settings: Settings, name: str = "resnet20") -> Plain:
    """Draw the fronts of all machines side by side, in shares of the 8-bit network's cost."""
    runs = [
        f"{machine}={settings.out / 'searches' / Case(name, machine, 'nsga2', 0).key}"
        for machine in MACHINES
    ]
    for machine in MACHINES:
        search_of(Case(name, machine, "nsga2", 0)).result(settings)
    found = fronts(runs)
    title = f"{name}: engine against engine, fine level"
    write_fronts_page(found, title, settings.out / "engines.html")
    write_fronts_svg(found, title, settings.out / "engines.svg")
    for one in found:
        named = replace(one, name=f"{name} on {one.name}")
        write_bits_svg(named, settings.out / f"bits-{name}-{one.machine}.svg")
    return {"network": name, "fronts": [asdict(one) for one in found]}


def work_stage(settings: Settings, name: str = "resnet20") -> Plain:
    """Ask how much forward work the seeded search needs to plain NSGA-II's final hypervolume.

    Work is in layers computed for an image; the sensitivities are in it in full, though they are
    measured once for all machines and seeds.
    """
    found = sensitivity_of(settings, name, space_of(settings, name))
    spent = found.spent
    layers = spent.whole_image_layers / found.images
    rows = [
        _work(settings, Case(name, machine, "nsga2", seed), spent.image_layers, layers)
        for machine in MACHINES
        for seed in seeds(settings)
    ]
    reached = [row["share"] for row in rows]
    return {
        "network": name, "sensitivities": asdict(spent), "rows": rows,
        "median_share": None if None in reached else median(reached),
    }  # fmt: skip


def _work(settings: Settings, case: Case, before: int, layers: float) -> Plain:
    """Return evaluations to the plain search's final hypervolume, and the share of its work."""
    ours = Case(case.network, case.machine, "seeded", case.seed)
    goal, curve = (search_of(one).result(settings)["hypervolumes"] for one in (case, ours))
    needed = next((n + 1 for n, volume in enumerate(curve) if volume >= goal[-1]), None)
    one = images(settings, case.network) * layers
    share = None if needed is None else (before + needed * one) / (len(goal) * one)
    return asdict(case) | {
        "plain": goal[-1], "seeded": curve[-1], "plain_evaluations": len(goal),
        "seeded_evaluations": needed, "share": share,
        "share_of_search": None if needed is None else needed / len(goal),
    }  # fmt: skip


def surrogate_stage(settings: Settings, name: str = "resnet20") -> Plain:
    """Ask how well sums of single changes rank the networks that searches have evaluated."""
    table = sensitivity_of(settings, name, space_of(settings, name))
    rows = []
    for machine in MACHINES:
        for contender in ("nsga2", "random"):
            case = Case(name, machine, contender, 0)
            search_of(case).result(settings)
            trials = trials_of(settings.out / "searches" / case.key)
            ranks = {by: rank_correlation(table.table(by), trials) for by in FIGURES}
            rows.append(asdict(case) | {"networks": len(trials), "rank_correlation": ranks})
    return {"network": name, "images": table.images, "rows": rows}


FIGURES: tuple[Figure, ...] = ("divergence", "loss", "accuracy")
"""What single changes may be told by; searches take the first."""
