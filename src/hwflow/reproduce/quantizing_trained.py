"""HAQ's answers and ours after equally long training: what is saved at the same accuracy.

Accuracy before training says little of plans of few bits: some that are near chance come back, some
do not. So ours is chosen by what trained networks reach, on validation images; test images are read
once, by the two that are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache

from hwflow.edits.quantize import quantize
from hwflow.front import Trial
from hwflow.network import Network
from hwflow.quality.accuracy import compare
from hwflow.recipes.hw_flowq import default_costs
from hwflow.reproduce.finalists import whole_validation
from hwflow.reproduce.quantizing import bits, calibration, described, free_problem, trials_of
from hwflow.reproduce.quantizing_searches import (
    Budget,
    Case,
    haq_of,
    search_of,
    within,
    within_of,
)
from hwflow.reproduce.stages import Plain, Settings
from hwflow.reproduce.tuning import plain_flips, tuned
from hwflow.space import Plan, Space
from hwflow.train import QUANTIZED_CLIP, QUANTIZED_RATE

STEPS = 390
"""Of a short fine-tuning: about an epoch of 50,000 images."""
TUNED = 4
"""Networks of ours that are trained, at most."""
QUICK_STEPS = 4
QUICK_IMAGES = 200
"""Test images of a quick reproduction."""

PRICES = ("latency_s", "energy_j")


def tune_stage(settings: Settings, case: Budget) -> Plain:
    """Train HAQ's answer, and ours equally long; compare the cheapest that is as accurate with it.

    Ours are plans that cost no more than HAQ's answer in latency nor in energy: of the search by
    integer programs below the same budget, and of the seeded search without one.
    """
    theirs = haq_of(case).result(settings)
    if "infeasible" in theirs:
        return theirs
    network = settings.network(case.network)
    whole = default_costs(free_problem(settings, case.network, case.machine))
    rungs = climbing(_ours(settings, case), theirs["answer"]["total"])
    if not rungs:
        return {
            "case": asdict(case),
            "none": "every plan of ours costs more in latency or in energy",
        }
    worth = whole_validation(settings, network)

    @cache
    def made(plan: Plan) -> Network:
        return trained(settings, network, case, plan)

    @cache
    def reached(plan: Plan) -> float:
        return worth.of(made(plan))

    bar = reached(tuple(theirs["answer"]["plan"]))
    tried: dict[int, float] = {}

    def enough(rung: int) -> bool:
        tried[rung] = reached(rungs[rung].plan)
        return tried[rung] >= bar

    ours = rungs[lowest(len(rungs), enough, 1 if settings.quick else TUNED)]
    test, limit = settings.splits(network).test, QUICK_IMAGES if settings.quick else None
    flips = compare(made(tuple(theirs["answer"]["plan"])), made(ours.plan), test, limit=limit)
    costs = {"haq": theirs["answer"], "ours": described(whole, ours)}
    return {
        "case": asdict(case), "steps": _steps(settings), "lr": QUANTIZED_RATE,
        "clip_norm": QUANTIZED_CLIP, "costs": costs,
        "validation": {"haq": bar, "ours": reached(ours.plan)},
        "tried": [described(whole, rungs[r]) | {"trained": v} for r, v in sorted(tried.items())],
        "test": plain_flips(flips, "haq", "ours"), "saved": saved(costs),
    }  # fmt: skip


def _ours(settings: Settings, case: Budget) -> list[Trial]:
    free = Case(case.network, case.machine, "seeded", case.seed)
    within_of(case).result(settings)
    search_of(free).result(settings)
    folders = within(case), f"searches/{free.key}"
    return [trial for folder in folders for trial in trials_of(settings.out / folder)]


def climbing(trials: Sequence[Trial], most: Mapping[str, float]) -> list[Trial]:
    """Return the plans that cost no more in either price, dearer and more accurate ones after."""
    cheap = [t for t in trials if t.feasible and all(t.total[n] <= most[n] for n in PRICES)]
    found: list[Trial] = []
    for trial in sorted(cheap, key=lambda t: (_product(t), -t.value("accuracy"))):
        if not found or trial.value("accuracy") > found[-1].value("accuracy"):
            found.append(trial)
    return found


def _product(trial: Trial) -> float:
    return trial.total["latency_s"] * trial.total["energy_j"]


def lowest(rungs: int, enough: Callable[[int], bool], most: int) -> int:
    """Return the lowest of `rungs` that is enough, by bisection with at most `most` questions.

    The highest is asked first, and is the answer where it is not enough itself.
    """
    high, low = rungs - 1, -1
    if not enough(high):
        return high
    for _ in range(most - 1):
        if high - low < 2:
            break
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def saved(costs: Mapping[str, Plain]) -> dict[str, float]:
    """Return by what share ours is cheaper than HAQ's."""
    return {n: 1 - costs["ours"]["total"][n] / costs["haq"]["total"][n] for n in PRICES}


def trained(settings: Settings, network: Network, case: Budget, plan: Plan) -> Network:
    """Return the network of a plan after a short training of weights and steps (LSQ)."""
    start = lsq_space(settings, network).apply(plan)
    label = "-".join((case.network, "".join(map(str, plan)), str(case.seed)))
    return tuned(
        settings, network, start, label, case.seed, steps=_steps(settings), rate=QUANTIZED_RATE,
        clip_norm=QUANTIZED_CLIP,
    )  # fmt: skip


def _steps(settings: Settings) -> int:
    return QUICK_STEPS if settings.quick else STEPS


def lsq_space(settings: Settings, network: Network) -> Space:
    """Return the choices that were searched, with steps that are trained."""
    data = settings.splits(network)
    ready = network.calibrated(data.calibration(calibration(settings)))
    return quantize(ready, bits(settings), quantizer="lsq")
