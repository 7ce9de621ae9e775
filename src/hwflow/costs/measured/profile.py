"""Profiling a space on a device: every layer that a plan may have, and a calibration.

    profile(problem, measuring)                 # all layers of all options
    calibrate(problem, 20, measuring)           # 20 sampled networks as wholes

Both keep what they find in the device's table, and go on where they were stopped.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import prod

from hwflow.costs.measured.calibration import Calibration, Parts, fit, kinds_of
from hwflow.costs.measured.fill import LAUNCH, Measuring, fill, keyed, missing
from hwflow.costs.measured.level import calibration_of, device_of, latencies_s, launch_s
from hwflow.costs.measured.networks import whole_network
from hwflow.costs.measured.timing import Sample, interleaved
from hwflow.costs.terms import Term, terms
from hwflow.machine import Device
from hwflow.problem import Problem
from hwflow.space import Plan
from hwflow.workload import Layer, Workload

WIDEST = 2000
"""Settings of one layer's choices that are tried; of more a random part."""

NETWORKS = 16
"""Whole networks of a calibration, where nobody says how many."""

_WHOLES = "wholes-2"
"""The second: operators on bytes that multiply nothing are kinds of their own."""


def space_layers(problem: Problem, seed: int = 0) -> dict[str, Layer]:
    """Return the layers, by key, that plans of a space have: all options of every layer's choices.

    Plans are drawn until few settings are new, and the rest is set one by one.
    """
    found: dict[str, Layer] = {}
    for plan in _covering(problem, terms(problem), random.Random(seed)):
        workload = problem.space.on_paper(plan, problem.design).workload
        for key, layer in keyed(workload).items():
            found.setdefault(key, layer)
    return found


def _covering(problem: Problem, found: Sequence[Term], rng: random.Random) -> Iterator[Plan]:
    """Yield plans in which every term has every setting of its choices, up to `WIDEST` of each."""
    space = problem.space
    sizes = [len(choice.options) for choice in space.choices]
    left = {term.places: set(_settings([sizes[p] for p in term.places], rng)) for term in found}
    yield space.default
    for _ in range(2 * max((len(settings) for settings in left.values()), default=0)):
        plan = space.sample(rng)
        if _strike(left, plan):
            yield plan
    while any(left.values()):
        plan = _together(space.default, left)
        _strike(left, plan)
        yield space.canonical(plan)


def _together(plan: Plan, left: dict[tuple[int, ...], set[tuple[int, ...]]]) -> Plan:
    """Return a plan with one of the settings that are left of each term, where they go together."""
    taken: dict[int, int] = {}
    for places, settings in left.items():
        for options in settings:
            pairs = dict(zip(places, options, strict=True))
            if all(taken.get(place, option) == option for place, option in pairs.items()):
                taken |= pairs
                break
    return tuple(taken.get(place, option) for place, option in enumerate(plan))


def _settings(sizes: Sequence[int], rng: random.Random) -> Iterable[tuple[int, ...]]:
    if prod(sizes) <= WIDEST:
        return product(*map(range, sizes))
    return [tuple(rng.randrange(size) for size in sizes) for _ in range(WIDEST)]


def _strike(left: dict[tuple[int, ...], set[tuple[int, ...]]], plan: Plan) -> bool:
    """Take what a plan shows off what is left; say whether it showed anything."""
    new = False
    for places, settings in left.items():
        options = tuple(plan[place] for place in places)
        new |= options in settings
        settings.discard(options)
    return new


def profile(problem: Problem, measuring: Measuring) -> dict[str, str]:
    """Measure all layers of a space that the table lacks; return why some could not be, by key."""
    device = device_of(problem.machine)
    found = space_layers(problem)
    return fill(device, {k: v for k, v in found.items() if k not in device.latencies}, measuring)


def calibrate(problem: Problem, networks: int, measuring: Measuring, seed: int = 0) -> Calibration:
    """Fit the calibration of a device's table to sampled networks, and those measured before.

    Raises HwflowError for too few networks and for layers that cannot be measured.
    """
    device = device_of(problem.machine)
    rng = random.Random(seed)
    plans = dict.fromkeys(
        [problem.space.default, *(problem.space.sample(rng) for _ in range(networks - 1))]
    )
    workloads = [problem.space.on_paper(plan, problem.design).workload for plan in plans]
    fill(device, missing(device, (la for w in workloads for la in w)), measuring)
    observe(device, workloads, measuring)
    return refit(device)


def observe(device: Device, workloads: Sequence[Workload], measuring: Measuring) -> None:
    """Measure whole networks that a table lacks; they are kept for every later calibration."""
    known = device.latencies.fact(_WHOLES) or {}
    fresh = {w.digest(): w for w in workloads if w.digest() not in known}
    for key, sample in whole_samples(device, fresh, measuring).items():
        parts = parts_of(device, fresh[key])
        known[key] = [dict(parts.seconds), parts.layers, sample.quartiles(device.clock)[1]]
    device.latencies.keep(_WHOLES, known)


def whole_samples(
    device: Device, workloads: dict[str, Workload], measuring: Measuring
) -> dict[str, Sample]:
    """Measure whole networks side by side."""
    engine = measuring.of(device)
    runs = {key: engine.loaded(whole_network(w)) for key, w in workloads.items()}
    return interleaved(runs, measuring.how, measuring.ticks) if runs else {}


def parts_of(device: Device, workload: Workload) -> Parts:
    """Return the sum of a workload's layers; all of them must be in the table."""
    return Parts.of(workload, latencies_s(device, workload), launch_s(device))


def refit(device: Device) -> Calibration:
    """Fit the calibration again to all whole networks that a table knows, and keep it."""
    known = device.latencies.fact(_WHOLES) or {}
    start = launch_s(device)
    parts = [Parts(seconds, layers, start) for seconds, layers, _ in known.values()]
    found = fit(parts, [seconds for *_, seconds in known.values()])
    device.latencies.keep("calibration", found.to_json())
    return found


def prepare(problem: Problem, measuring: Measuring) -> None:
    """Calibrate a device on the networks of a space, unless its table's calibration knows them.

    It does if it has a slope for every kind of layer that the default plan has. Nothing is done for
    a device that is elsewhere, or for a space of too few networks.
    """
    device = device_of(problem.machine)
    if not device.measurable or problem.space.size < NETWORKS:
        return
    known = calibration_of(device)
    default = problem.space.on_paper(problem.space.default, problem.design).workload
    if known is None or not known.slopes.keys() >= kinds_of(default):
        calibrate(problem, NETWORKS, measuring)


__all__ = ["LAUNCH", "calibrate", "observe", "prepare", "profile", "refit", "space_layers"]
