"""HAQ's answers and ours after equally long training: what is saved at which accuracy.

Accuracy before training says little of plans of few bits: some that are near chance come back, some
do not. And accuracy on validation images flatters whatever was chosen on them. So nothing is chosen
here: networks of ours along the whole range of costs are trained as long as HAQ's answer, and each
is compared with it on the test images, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hwflow.edits.quantize import quantize
from hwflow.front import Trial
from hwflow.network import Network
from hwflow.plans import spread
from hwflow.quality.accuracy import Flips, predictions
from hwflow.recipes.hw_flowq import default_costs
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
TUNED = 5
"""Networks of ours that are trained, at most."""
NEAR = 0.1
"""How much less accurate than HAQ's answer a network may be before training to be looked at."""
QUICK_TUNED = 1
QUICK_STEPS = 4
QUICK_IMAGES = 200
"""Test images of a quick reproduction."""

PRICES = ("latency_s", "energy_j")


def tune_stage(settings: Settings, case: Budget) -> Plain:
    """Train HAQ's answer, and a ladder of ours equally long; compare each with it.

    Ours are plans that cost no more than HAQ's answer in latency nor in energy: of the search by
    integer programs below the same budget, and of the seeded search without one.
    """
    theirs = haq_of(case).result(settings)
    if "infeasible" in theirs:
        return theirs
    network = settings.network(case.network)
    whole = default_costs(free_problem(settings, case.network, case.machine))
    most = QUICK_TUNED if settings.quick else TUNED
    rungs = spread(climbing(_ours(settings, case), theirs["answer"]), most)
    if not rungs:
        return {
            "case": asdict(case),
            "none": "every plan of ours costs more in latency or in energy",
        }
    test, limit = settings.splits(network).test, QUICK_IMAGES if settings.quick else None
    haqs = trained(settings, network, case, tuple(theirs["answer"]["plan"]))
    was, truth = predictions(haqs, test, limit=limit)
    rows: list[Plain] = []
    for rung in rungs:
        now, _ = predictions(trained(settings, network, case, rung.plan), test, limit=limit)
        flips = plain_flips(Flips.of(was, now, truth), "haq", "ours")
        rows.append(
            described(whole, rung) | {"test": flips, "saved": saved(theirs["answer"], rung)}
        )
    return {
        "case": asdict(case), "steps": _steps(settings), "lr": QUANTIZED_RATE,
        "clip_norm": QUANTIZED_CLIP, "haq": theirs["answer"], "ladder": rows,
    }  # fmt: skip


def _ours(settings: Settings, case: Budget) -> list[Trial]:
    free = Case(case.network, case.machine, "seeded", case.seed)
    within_of(case).result(settings)
    search_of(free).result(settings)
    folders = within(case), f"searches/{free.key}"
    return [trial for folder in folders for trial in trials_of(settings.out / folder)]


def climbing(trials: Sequence[Trial], theirs: Mapping[str, Any]) -> list[Trial]:
    """Return the plans that cost no more in either price, dearer and more accurate ones after.

    Those that are far less accurate before training are left out, unless there are no others.
    """
    most, least = theirs["total"], theirs["quality"] - NEAR
    cheap = [t for t in trials if t.feasible and all(t.total[n] <= most[n] for n in PRICES)]
    cheap = [t for t in cheap if t.value("accuracy") >= least] or cheap
    found: list[Trial] = []
    for trial in sorted(cheap, key=lambda t: (_product(t), -t.value("accuracy"))):
        if not found or trial.value("accuracy") > found[-1].value("accuracy"):
            found.append(trial)
    return found


def _product(trial: Trial) -> float:
    return trial.total["latency_s"] * trial.total["energy_j"]


def saved(theirs: Plain, ours: Trial) -> dict[str, float]:
    """Return by what share ours is cheaper than HAQ's."""
    return {n: 1 - ours.total[n] / theirs["total"][n] for n in PRICES}


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
