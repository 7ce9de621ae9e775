"""HW-FlowQ: a genetic search for the bits of every layer, at three levels of abstraction in turn.

Implements the method of HW-FlowQ (ACM TECS 20(5s), 2021, doi 10.1145/3476997); it does not claim to
reproduce its tables. What is handed from level to level, and how the levels share the evaluations,
is our own definition.

    found = hw_flowq(net, data, "bitfusion", "runs/r20", below=("latency=60%",))
    found.front.pick("accuracy > 88 %").build()      # calibrated; hwflow.train.finetune goes on
    found.shifts                                     # how the front moved from level to level

1. The space: bits of the weights of each layer and of each tensor between layers, 2 to 8; the first
   and the last layer keep 8. Batch normalisations are folded, scales are calibrated on images.
2. Coarse: NSGA-II from the uniform plans, for accuracy, operations on bits and the size of the
   network; no machine is looked at.
3. Mid: NSGA-II again, for accuracy, energy and latency on the machine's roofline. Its first
   population has the front of the level before, leaner where that breaks the limits of this level.
4. Fine: the same with the exact mapping search. The answer is the front of this level.

With `seeded`, single changes are measured first, and what an integer program makes of them stands
in the first population. Where their sums rank the plans of a level poorly, they are measured again
around its incumbent, and the next level begins with programs on these as well.

    found.correlations                               # of the sums with the accuracies, by level
    [one.gap for one in found.gaps]                  # what the sums say could still be spared

Limits and what is infeasible are checked before an image is looked at. Levels and machines share
the accuracies through `qualities`: what a network is worth does not depend on what it is costed on.
Percentages are of the 8-bit network, or of whatever the highest options of `bits` make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from hwflow import loop
from hwflow.cost import Limits
from hwflow.data import Data
from hwflow.edits.quantize import quantize
from hwflow.front import Front, Trial, non_dominated
from hwflow.loop import Progress
from hwflow.network import Network
from hwflow.problem import QUALITY, Problem
from hwflow.quality.accuracy import Accuracy
from hwflow.quality.sensitivity import sensitivities
from hwflow.recipes.levels import (
    LEVELS,
    Asked,
    Stage,
    Stages,
    eased,
    limit_explained,
)
from hwflow.solvers.losses import Losses
from hwflow.solvers.nsga2 import NSGA2
from hwflow.solvers.surrogate import Gap, correlation, gaps, refined, seeds
from hwflow.space import Plan, Space

BITS = (2, 3, 4, 5, 6, 7, 8)

SHARES = {"coarse": 0.4, "mid": 0.2, "fine": 0.4}
"""Of the evaluations, by level."""

PROMOTED = 0.6
"""Share of a population that the front of the level before may have."""

SEEDED = 0.5
"""Share of the first population that the integer program gives."""

EDGE = 0.01
"""How far beyond the worst point hypervolumes are measured from, so that the ends of a front count.
"""

OPERATIONS = "bit_ops"
"""What stands for latency and energy at a level that knows no machine."""


@dataclass(frozen=True)
class Shift:
    """How the front of a level looks at the next one."""

    before: str
    after: str
    plans: int
    """How many plans were on the front of the level before."""
    feasible: int
    """How many of them keep the limits of the new level."""
    undominated: int
    """How many of these no other of them beats, at the new level."""
    survived: int
    """How many are on the front that the new level ended with."""
    covered: float
    """Hypervolume of the old front, costed anew, as a share of the new front's: what searching on
    the old level only would have given."""


@dataclass(frozen=True)
class Refined(Stages):
    """The levels in their order, and how the front moved between them."""

    tables: tuple[Losses, ...] = ()
    """What each option of each choice loses alone, as each level was told; () without `seeded`."""

    @property
    def correlations(self) -> tuple[float | None, ...]:
        """How well each level's table ranks its plans: Spearman's; None for too few plans."""
        told = zip(self.tables, self.stages, strict=False)
        return tuple(correlation(table, stage.ranked()) for table, stage in told)

    @property
    def gaps(self) -> list[Gap]:
        """How far each point of the front lies above the best plan of its costs, by the last table.

        An integer program for each point; empty without `seeded`.
        """
        return gaps(self.problem, self.tables[-1], self.front) if self.tables else []

    @property
    def front(self) -> Front:
        """The front of the last level."""
        return self.stages[-1].front

    @property
    def shifts(self) -> tuple[Shift, ...]:
        """How the front moved between the levels."""
        return tuple(shift(before, after) for before, after in self.steps)


def hw_flowq(
    network: Network,
    data: Data,
    on: str,
    out: Path | str,
    *,
    bits: Sequence[int] = BITS,
    below: Sequence[str] = (),
    single: str = "",
    seeded: int = 0,
    evaluations: int = 300,
    population: int = 24,
    images: int | None = 1000,
    calibration: int = 256,
    space: Space | None = None,
    levels: Sequence[str] = tuple(LEVELS),
    seed: int = 0,
    qualities: Path | str | None = None,
    on_trial: Callable[[Progress], None] | None = None,
) -> Refined:
    """Search level after level; `out` gets a run folder for each. Killed, the same call goes on.

    `below` are limits, absolute or in percent of the 8-bit network. `single` is one cost, such as
    "latency", to be least beside the accuracy; without it energy and latency are. With `seeded`,
    single changes are measured on so many images before the search, and an integer program on them
    gives half of the first population; the result says what they were worth. `images` of the
    validation split score a plan, `calibration` of the training split set its scales. A `space` of
    your own, such as ``hf.quantize(network, calibration="kl")``, stands for what these and `bits`
    make. `evaluations` are divided among the levels by SHARES; networks of a first population that
    an earlier level has scored come on top, as they cost nothing. The levels share accuracies in
    the file `qualities`, by default one in `out`. Raises InfeasibleError when the limits are out of
    reach, HwflowError when `out` holds a search with other evaluations, levels or another seed, and
    DataError when splits share images.
    """
    asked = Asked(evaluations, tuple(levels), seed, SHARES)
    folder, qualities = asked.begin(out, below, data, qualities)
    if space is None:
        space = quantization_space(network, data, bits, calibration)
    quality = Accuracy(data.val, limit=images)
    asked.keep(folder)
    stages: list[Stage] = []
    tables: list[Losses] = []
    for level, budget in asked.budgets.items():
        problem = problem_at(level, space, on, below, single)
        first = promoted(problem, stages[-1].front, population) if stages else ()
        if seeded:
            measure = partial(changes, space, data, seeded, folder, level)
            table = told(stages, tables, measure)
            if not tables or table is not tables[-1]:
                first += seeds(problem, table, max(1, round(SEEDED * population)))
            tables.append(table)
        solver = NSGA2(seed=seed, population=population, first=first)
        with limit_explained(level, OPERATIONS, below):
            free = scored_before(stages, solver.first_population(problem)) if stages else 0
            front = loop.search(
                problem, quality, solver, folder / level, evaluations=budget + free, seed=seed,
                qualities=qualities, on_trial=on_trial,
            )  # fmt: skip
        stages.append(Stage(level, problem, front, folder / level))
    return Refined(tuple(stages), tuple(tables))


def scored_before(stages: Sequence[Stage], plans: Sequence[Plan]) -> int:
    """Return how many of the plans an earlier level has scored: they cost no accuracy anew."""
    known = {trial.plan for stage in stages for trial in stage.ranked()}
    return len(known.intersection(plans))


def told(
    stages: Sequence[Stage], tables: Sequence[Losses], measure: Callable[[Plan | None], Losses]
) -> Losses:
    """Return what options lose, as the next level is told.

    That is what the level before was told, or where it ranks that level's plans poorly what
    `measure` finds around its incumbent.
    """
    if not stages:
        return measure(None)
    return refined(stages[-1].problem, tables[-1], stages[-1].ranked(), measure).table


def changes(
    space: Space, data: Data, images: int, out: Path, level: str, base: Plan | None
) -> Losses:
    """Measure single changes of a plan, by default of the one of the most bits; or read them."""
    file = out / ("sensitivity.json" if base is None else f"sensitivity-{level}.json")
    return sensitivities(space, data.val, images=images, base=base, file=file).table()


def quantization_space(
    network: Network, data: Data, bits: Sequence[int] = BITS, calibration: int = 256
) -> Space:
    """Return the choices: bits of weights and of tensors, calibrated on training images."""
    return quantize(network.calibrated(data.calibration(calibration)), bits)


def problem_at(
    level: str, space: Space, on: str, below: Sequence[str] = (), single: str = ""
) -> Problem:
    """Return the problem at a level; percentages are of the default plan, all of the highest bits.

    Coarse knows no machine: it counts operations on bits, and its limit is the tightest of the
    others as a share of what the default plan costs on Mid.
    """
    if level == "coarse":
        tightest = min(shares(problem_at("mid", space, on, below, single)).values(), default=1.0)
        limit = (f"{OPERATIONS}={100 * tightest!r}%",) if tightest < 1 else ()
        return costed(level, space, on, limit, coarse_costs(single))
    return costed(level, space, on, below, (single,) if single else ("energy", "latency"))


def coarse_costs(single: str) -> tuple[str, ...]:
    """Return the costs at Coarse: operations, and beside them the size unless there is but one."""
    return (OPERATIONS,) if single else (OPERATIONS, "model_bytes")


def costed(
    level: str, space: Space, on: str, below: Sequence[str], costs: Sequence[str]
) -> Problem:
    """Return a problem with limits in percent of its default plan."""
    free = Problem(space, on, LEVELS[level]())
    return Problem(space, on, free.cost, Limits.read(below, default_costs(free)), (QUALITY, *costs))


def default_costs(problem: Problem) -> dict[str, float]:
    """Return what the default plan costs."""
    return problem.total(problem.space.default)


def shares(problem: Problem) -> Mapping[str, float]:
    """Return the limits as shares of what the default plan costs, at most 1."""
    whole = default_costs(problem)
    return {name: min(1.0, limit / whole[name]) for name, limit in problem.below.items()}


def promoted(problem: Problem, front: Front, population: int) -> tuple[Plan, ...]:
    """Return the plans of a front with which a level begins, evenly spread along it.

    A plan beyond the limits of the level is made leaner everywhere alike until it keeps them.
    """
    trials = list(front)
    most = max(1, round(PROMOTED * population))
    picked = np.unique(np.linspace(0, len(trials) - 1, min(most, len(trials))).astype(int))
    plans = [trials[index].plan for index in picked]
    if not problem.below.items():
        return tuple(plans)
    return tuple(dict.fromkeys(eased(problem, plan) for plan in plans))


def recosted(front: Front, problem: Problem) -> list[Trial]:
    """Return the trials of a front with their costs in another problem, those within its limits."""
    plans = [trial.plan for trial in front]
    totals = problem.totals(plans)
    found = []
    for row, trial in enumerate(front):
        total = {name: float(values[row]) for name, values in totals.items()}
        if not problem.below.broken(total):
            found.append(Trial(trial.number, trial.plan, total, trial.quality))
    return found


def shift(before: Stage, after: Stage) -> Shift:
    """Return how the front moved from a level to the next."""
    problem = after.problem
    kept = recosted(before.front, problem)
    own, old = after.front.points(), Front(tuple(kept), problem.objectives).points()
    final = {trial.plan for trial in after.front}
    return Shift(
        before.level, after.level, len(before.front), len(kept), len(non_dominated(old)),
        sum(trial.plan in final for trial in kept), _covered(old, own),
    )  # fmt: skip


def _covered(old: np.ndarray, new: np.ndarray) -> float:
    """Return the hypervolume of `old` as a share of that of `new`, in one box for both."""
    from pymoo.indicators.hv import HV

    if not len(old):
        return 0.0
    both = np.concatenate([old, new])
    low, span = both.min(axis=0), np.ptp(both, axis=0)
    volume = HV(ref_point=np.full(both.shape[1], 1.0 + EDGE))
    parts = [float(volume((part - low) / np.where(span, span, 1.0))) for part in (old, new)]
    return parts[0] / parts[1]
