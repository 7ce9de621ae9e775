"""Co-design on CIFAR-10 (JPEG q75): networks and accelerators, mode against mode and preset.

Bits of every layer, rows and columns of the array and the buffer are free, on `bitfusion`. Accuracy
is after calibration only, on the first validation images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from hwflow.costs.fine import Fine
from hwflow.costs.fine.cache import user_file
from hwflow.edits.quantize import quantize
from hwflow.errors import HwflowError, WorkloadError
from hwflow.front import non_dominated, volume
from hwflow.machine import Accelerator, load_machine, machine_names
from hwflow.machine.varied import varied
from hwflow.problem import Problem
from hwflow.recipes.codesign import Codesigned, Mode, codesign
from hwflow.reproduce.stages import Plain, Settings, Stage
from hwflow.space import Plan, Space

BASE = "bitfusion"
VARY: Mapping[str, Sequence[int | str]] = {
    "array.rows": (4, 8, 12, 16, 24, 32), "array.cols": (4, 8, 12, 16, 24, 32),
    "GLB.size": ("16 KiB", "32 KiB", "64 KiB", "128 KiB"),
}  # fmt: skip
BITS = (2, 4, 8)
BELOW = ("latency=43%", "area=250%")
"""Of the network with 8 bits on the machine as it is. Half of all random bits keep the latency on
it, and every machine the area, which bounds the box of hypervolumes."""
EVALUATIONS = {"resnet20": 160, "resnet56": 100}
POPULATION = 20
IMAGES = 500
FLOOR = 0.5
"""Accuracy from which on a hypervolume counts."""
MODES: tuple[Mode, ...] = ("nested", "joint", "sequential", "machine-first")
QUICK = 6
METRICS = ("latency_s", "area_um2", "energy_j")


def found_by(settings: Settings, mode: Mode, seed: int, name: str) -> Codesigned:
    """Return a search, made now or gone on with."""
    network = settings.network(name)
    return codesign(
        network, settings.splits(network), BASE, VARY,
        settings.out / "codesign" / f"{name}-{mode}-{seed}", mode=mode, below=BELOW,
        evaluations=QUICK if settings.quick else EVALUATIONS[name], seed=seed,
        population=POPULATION, bits=BITS,
        images=100 if settings.quick else IMAGES,
    )  # fmt: skip


def codesign_stage(settings: Settings, mode: Mode, seed: int, name: str = "resnet20") -> Plain:
    """Search in one mode; return the front, what it took, and the networks that were scored."""
    found = found_by(settings, mode, seed, name)
    return {
        "network": name, "machine": BASE, "mode": mode, "seed": seed, "below": list(BELOW),
        "limits": dict(found.problem.below.items()), "evaluations": found.evaluations,
        "refused": found.refused, "costed": found.costed, "quality_cpu_s": found.quality_s,
        "search_cpu_s": found.cpu_s, "hypervolumes": volumes(found),
        "front": [_row(found, trial) for trial in found.front],
        "as_found": [_row(found, trial) for trial in found.as_found],
        "scored": [{"plan": list(t.plan), "accuracy": t.quality} for t in found.scored],
    }  # fmt: skip


def _row(found: Codesigned, trial: Any) -> Plain:
    space = found.problem.space
    machine = space.of_machine.values(trial.plan[len(space.of_network) :])
    return {
        "plan": list(trial.plan), "accuracy": trial.quality, "machine": machine,
        **{name: trial.total[name] for name in METRICS},
    }  # fmt: skip


def volumes(found: Codesigned) -> list[float]:
    """Return the hypervolume after each scored network, every machine counted.

    The box is the same for every mode: accuracy from FLOOR to 1, latency and area from 0 to their
    limits; 1 is all of it.
    """
    limits = dict(found.problem.below.items())
    own = len(found.problem.space.of_network)
    by_plan: dict[tuple[int, ...], list[list[float]]] = {}
    for trial in found.pairs:
        point = [
            (1 - trial.value("accuracy")) / (1 - FLOOR),
            *(trial.total[name] / limits[name] for name in ("latency_s", "area_um2")),
        ]
        by_plan.setdefault(tuple(trial.plan[:own]), []).append(point)
    best, curve = np.empty((0, 3)), list[float]()
    for trial in found.scored:
        new = np.array(by_plan.get(trial.plan, [])).reshape(-1, 3)
        joined = np.concatenate([best, new])
        best = joined[non_dominated(joined)]
        curve.append(volume(best))
    return curve


def presets_stage(settings: Settings, modes: Sequence[Mode], seed: int, name: str) -> Plain:
    """Hold the machines found against every preset, with the same networks on both.

    For each preset: its own front over accuracy and latency, of all networks that any search has
    scored; and of these points, how many a co-design beats with no more area, no more latency and
    no less accuracy. `own_platform` asks the same of the preset's own array and buffer made free.
    """
    results = [codesign_result(settings, mode, seed, name) for mode in modes]
    limits = results[0]["limits"]
    points = [row for result in results for row in result["front"]]
    scored = {tuple(one["plan"]): one["accuracy"] for r in results for one in r["scored"]}
    space = quantize(settings.network(name), BITS)
    rows: list[Plain] = []
    for preset in machine_names():
        settings.say(f"  {preset}")
        machine = load_machine(preset)
        try:
            totals = Problem(space, machine, Fine(cache=user_file())).totals(list(scored))
        except WorkloadError as error:  # a layer that does not fit
            rows.append({"preset": preset, "fault": str(error)})
            continue
        area = machine.area_um2()
        front = _front(list(scored.values()), totals["latency_s"].tolist())
        own = _held_against(front, area, _own_platform(space, machine, scored))
        rows.append({"preset": preset, "area_um2": area, **_held_against(front, area, points),
                     "clock_hz": machine.clock_hz, "dram_bytes_per_s": machine.dram_bytes_per_s,
                     "front": front, "own_platform": own})  # fmt: skip
    return {"network": name, "limits": limits, "networks": len(scored), "presets": rows}


def own_variants(machine: Accelerator) -> Iterator[Accelerator]:
    """Yield the machine with other rows, columns and buffer, where that takes no more area."""
    feeder = machine.array.between[0]
    size = next(level.bits for level in machine.memory if level.name == feeder) / 8
    sides = {"array.rows": machine.array.rows.value, "array.cols": machine.array.cols.value}
    for rows, cols, buffer in product((0.5, 1, 2), (0.5, 1, 2), (0.25, 0.5, 1, 2)):
        scaled = [
            int(value * factor) for value, factor in zip(sides.values(), (rows, cols), strict=True)
        ]
        values: dict[str, int | str] = dict(zip(sides, scaled, strict=True))
        if buffer != 1:
            values[f"{feeder}.size"] = f"{int(size * buffer)} B"
        variant = varied(machine, values)
        if (rows, cols, buffer) != (1, 1, 1) and variant.area_um2() <= machine.area_um2():
            yield variant


def _own_platform(space: Space, machine: Accelerator, scored: Mapping[Plan, float]) -> list[Plain]:
    """Return the networks on the machine's own variants, as points of a front would be."""
    found: list[Plain] = []
    for variant in own_variants(machine):
        try:
            totals = Problem(space, variant, Fine(cache=user_file())).totals(list(scored))
        except WorkloadError:  # a layer that does not fit
            continue
        area = variant.area_um2()
        found += [
            {"accuracy": accuracy, "latency_s": float(latency), "area_um2": area}
            for accuracy, latency in zip(scored.values(), totals["latency_s"], strict=True)
        ]
    return found


def codesign_result(
    settings: Settings, mode: Mode, seed: int, name: str, *, make: bool = False
) -> Plain:
    """Return the result of a mode; HwflowError where it was not made yet, and is not to be."""
    stage = _stage(mode, seed, name)
    if not make and not stage.file(settings).exists():
        raise HwflowError(f"{stage.file(settings)} is not there: run the stage {stage.name} first.")
    return stage.result(settings)


def _front(accuracy: Sequence[float], latency: Sequence[float]) -> list[tuple[float, float]]:
    points = np.array([[-a, t] for a, t in zip(accuracy, latency, strict=True)])
    kept = [(accuracy[i], latency[i]) for i in non_dominated(points) if accuracy[i] >= FLOOR]
    return sorted(kept)


def _held_against(
    front: Sequence[tuple[float, float]], area: float, points: Sequence[Plain]
) -> Plain:
    """Return how many points of a preset are beaten, and the latency at no less accuracy."""
    within = [p for p in points if p["area_um2"] <= area * (1 + 1e-9)]
    ratios = []
    for accuracy, latency in front:
        fastest = min((p["latency_s"] for p in within if p["accuracy"] >= accuracy), default=None)
        ratios.append(None if fastest is None else fastest / latency)
    known = [ratio for ratio in ratios if ratio is not None]
    return {
        "points": len(front), "beaten": sum(ratio < 1 for ratio in known),
        "latency_ratios": ratios,
        "median_latency_ratio": float(np.median(known)) if known else None,
    }  # fmt: skip


def _stage(mode: Mode, seed: int, name: str) -> Stage:
    make = partial(codesign_stage, mode=mode, seed=seed, name=name)
    about = f"co-design of {name}, {mode}, seed {seed}"
    return Stage(f"codesign-{name}-{mode}-{seed}", about, make, quick=name == "resnet20")


def stages(name: str = "resnet20", seeds: Sequence[int] = (0,)) -> tuple[Stage, ...]:
    """Return the stages of a network: every mode and seed, then the presets beside the first."""
    searches = [_stage(mode, seed, name) for seed in seeds for mode in MODES]
    make = partial(presets_stage, modes=MODES, seed=seeds[0], name=name)
    last = Stage(f"codesign-{name}-presets", f"co-designs of {name} beside presets", make)
    return (*searches, last)
