"""HW-Flow: an agent prunes channels for a machine, at three levels of abstraction in turn.

Implements the method of HW-Flow (LITES 8(1):3, 2022, doi 10.4230/LITES.8.1.3), with the agent of
AMC (ECCV 2018); it does not claim to reproduce their tables. How the levels share the evaluations,
and what is handed from one to the next, is our own definition.

    found = hw_flow(net, data, "eyeriss", "runs/r56", below=("latency=50%", "energy=50%"))
    found.best.build()                         # the network, before fine-tuning
    found.shifts                               # what changed from level to level

1. The space: how many channels each coupled group keeps, and which residual branches go. What is
   left after pruning is fitted to what the original layers made of training images, and gets
   batch-norm statistics of its own.
2. Coarse: the agent walks over the groups below a share of the multiplications.
3. Mid: the same agent goes on, below shares of latency and energy. It walks first along the best
   plans of the level before, made leaner everywhere alike until they keep the new limits.
4. Fine: the same with the exact mapping search. The answer is the best plan of this level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hwflow import loop
from hwflow.cost import Limits
from hwflow.data import Data
from hwflow.edits.prune import prune
from hwflow.front import Trial
from hwflow.loop import Progress
from hwflow.network import Network
from hwflow.problem import QUALITY, Problem
from hwflow.quality.accuracy import Accuracy
from hwflow.recipes.levels import (
    LEVELS,
    Asked,
    Stage,
    Stages,
    eased,
    limit_explained,
    tightest_share,
)
from hwflow.solvers.ddpg import DDPG
from hwflow.space import Plan, Space

KEEP = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)

HALF = 0.5
"""The share of the multiplications that Coarse allows where no limit is in percent."""

WARMUP = 25
"""Random episodes of a new agent, or half of its level's evaluations where that is fewer."""

SHARES = {"coarse": 0.3, "mid": 0.2, "fine": 0.5}
"""Of the evaluations, by level."""

AGENT = "agent.safetensors"
"""What the agent of a level has learnt, in the level's folder."""

PROMOTED = 4
"""Plans of a level that the next one walks along first."""


@dataclass(frozen=True)
class Shift:
    """What changed from one level to the next."""

    before: str
    after: str
    broken: tuple[str, ...]
    """The limits of the new level that the best plan of the old one does not keep."""
    costs: Mapping[str, float]
    """What that plan costs at the new level, as shares of the original network."""
    changed: Mapping[str, tuple[object, object]]
    """The choices in which the two best plans differ."""
    quality: tuple[float, float]
    """Of the two best plans, each within its own level's limits."""


@dataclass(frozen=True)
class Refined(Stages):
    """The levels in their order, and what changed between them."""

    @property
    def best(self) -> Trial:
        """The most accurate plan of the last level."""
        return self.stages[-1].best

    @property
    def shifts(self) -> tuple[Shift, ...]:
        """What changed between the levels."""
        return tuple(shift(before, after) for before, after in self.steps)


def hw_flow(
    network: Network,
    data: Data,
    on: str,
    out: Path | str,
    *,
    below: Sequence[str] = ("latency=50%", "energy=50%"),
    evaluations: int = 300,
    images: int | None = 1000,
    calibration: int = 256,
    keep: Sequence[float] = KEEP,
    branches: bool = False,
    space: Space | None = None,
    levels: Sequence[str] = tuple(LEVELS),
    seed: int = 0,
    qualities: Path | str | None = None,
    on_trial: Callable[[Progress], None] | None = None,
) -> Refined:
    """Search with one agent at level after level; `out` gets a run folder for each.

    `below` are limits, absolute or in percent of the original network; `images` of the validation
    split score a plan, `calibration` of the training split give statistics. A `space` of your own,
    such as ``hf.prune(network, exclude=..., ranking=...)``, stands for what these, `keep` and
    `branches` make. `evaluations` are divided among the levels by SHARES. The levels share
    accuracies in the file `qualities`, by default one in `out`. Killed, the same call goes on.
    Raises InfeasibleError when the limits are out of reach at a level, HwflowError when `out` holds
    a search with other evaluations, levels or another seed, and DataError when splits share images.
    """
    asked = Asked(evaluations, tuple(levels), seed, SHARES)
    folder, qualities = asked.begin(out, below, data, qualities)
    if space is None:
        space = pruning_space(network, data, calibration, keep, branches)
    quality = Accuracy(data.val, limit=images)
    asked.keep(folder)
    stages: list[Stage] = []
    for level, budget in asked.budgets.items():
        problem = problem_at(level, space, on, below)
        place = folder / level
        solver = agent(seed, place, problem, stages[-1] if stages else None, budget)
        search = partial(
            loop.search, problem, quality, solver, evaluations=budget, seed=seed,
            qualities=qualities, on_trial=on_trial,
        )  # fmt: skip
        with limit_explained(level, "macs", below):
            front = search(place)
        if not (place / AGENT).exists():  # lost, or killed between the last trial and its writing
            search()
        stages.append(Stage(level, problem, front, place))
    return Refined(tuple(stages))


def pruning_space(
    network: Network, data: Data, calibration: int, keep: Sequence[float] = KEEP,
    branches: bool = False,
) -> Space:  # fmt: skip
    """Return the choices: channels of each group and, with `branches`, whole branches."""
    ready = network.calibrated(data.calibration(calibration))
    return prune(ready, keep, branches=branches, mend="least_squares")


def problem_at(level: str, space: Space, on: str, below: Sequence[str]) -> Problem:
    """Return the problem at a level. Coarse knows no machine: its limit is on multiplications.

    The tightest share of `below` is taken for it (half of them where all limits are absolute).
    """
    free = Problem(space, on, LEVELS[level]())
    original = free.original
    if level == "coarse":
        limits = Limits(macs=(tightest_share(below) or HALF) * original["macs"])
    else:
        limits = Limits.read(below, original)
    return Problem(space, on, free.cost, limits, (QUALITY,))


def agent(
    seed: int, folder: Path, problem: Problem, before: Stage | None, evaluations: int
) -> DDPG:
    """Return the agent of a level: a new one, or the one of the level before with its best plans.

    Warm-up and noise are shorter than AMC's, whose search has 800 episodes; a new agent learns in
    half of the level's evaluations at least.
    """
    keep = folder / AGENT
    if before is None:
        return DDPG(seed=seed, warmup=min(WARMUP, evaluations // 2), keep=keep)
    return DDPG(
        seed=seed, warmup=0, sigma=0.25, start=before.folder / AGENT,
        first=tuple(eased(problem, plan) for plan in promoted(before)),
        keep=keep,
    )  # fmt: skip


def promoted(stage: Stage) -> tuple[Plan, ...]:
    """Return the plans of a level that were worth most, best first."""
    return tuple(trial.plan for trial in stage.ranked()[:PROMOTED])


def shift(before: Stage, after: Stage) -> Shift:
    """Return what changed from a level to the next."""
    old, new, problem = before.best, after.best, after.problem
    total = problem.total(old.plan)
    whole = problem.original
    names = [name for name, _ in problem.below.items()]
    values = problem.space.values(old.plan), problem.space.values(new.plan)
    return Shift(
        before.level, after.level, tuple(problem.below.broken(total)),
        {name: total[name] / whole[name] for name in names},
        {name: (v, values[1][name]) for name, v in values[0].items() if v != values[1][name]},
        (old.value(QUALITY), new.value(QUALITY)),
    )  # fmt: skip
