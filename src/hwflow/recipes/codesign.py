"""Co-design: a network's precision (or pruning) and its accelerator, chosen together.

In the manner of AnaCoNGA (DATE 2022; the accelerator searched inside every quantisation strategy,
strategies without an accelerator skip the accuracy) and of HW-FlowQ (ACM TECS 20(5s), 2021).

    found = codesign(net, data, "bitfusion", {"array.rows": (8, 16, 32)}, "runs/co",
                     mode="nested", below=("latency=2ms", "area=0.3mm2"), evaluations=200)
    found.front.pick("area < 0.2 mm2, most accurate")

Four ways to spend the same number of accuracy evaluations, counted in distinct networks:

joint          the machine's figures are genes beside the network's.
nested         for every network the accelerators are searched inside, by costs alone; networks
               without an accelerator within the limits are not scored.
sequential     first networks on the machine as it is, then accelerators for what was found.
machine-first  first accelerators for the network as it is, then networks on a few of these, each
               search from a seed of its own.

The accuracy depends on the network only. So every mode ends alike: each network that was scored is
costed on all machines, and the front is taken of all pairs within the limits; `as_found` is the
front without this last step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from hwflow import loop
from hwflow.cost import CostModel, Limits
from hwflow.costs.fine import Fine
from hwflow.costs.fine.cache import user_file
from hwflow.data import Data
from hwflow.edits.quantize import quantize
from hwflow.edits.resize import Given, resize
from hwflow.errors import HwflowError, InfeasibleError, unknown_name
from hwflow.front import Front, Trial
from hwflow.loop import Progress
from hwflow.machine import Accelerator
from hwflow.network import Network
from hwflow.problem import QUALITY, SIZES, Problem
from hwflow.quality import Quality
from hwflow.quality.accuracy import Accuracy
from hwflow.reach import feasible_plan
from hwflow.recipes.machine_search import Counted, Enough, Machines, Nested, expanded
from hwflow.solvers import Evaluate
from hwflow.solvers.nsga2 import NSGA2
from hwflow.space import Builder, Plan, Space
from hwflow.study import Study

Mode = Literal["joint", "nested", "sequential", "machine-first"]
MODES: tuple[Mode, ...] = get_args(Mode)

OBJECTIVES = (QUALITY, "latency", "area")

MACHINES = 4
"""Accelerators that machine-first searches networks for."""

PAIRS = 4
"""Pairs of a network and a machine that joint may look at for each evaluation asked for."""


@dataclass(frozen=True)
class Codesigned:
    """What a co-design has found, and what it took."""

    mode: Mode
    problem: Problem
    """Choices of the network and of the machine."""
    front: Front
    """Of every scored network on every machine within the limits."""
    as_found: Front
    """Of the pairs that the mode itself looked at."""
    pairs: tuple[Trial, ...]
    """Every scored network on every machine within the limits."""
    scored: tuple[Trial, ...]
    """The networks with their accuracies, in the order they were scored."""
    evaluations: int
    """Accuracy evaluations: distinct networks."""
    refused: int
    """Plans beyond the limits, which were not scored."""
    costed: int
    """Pairs of a network and a machine costed in this session, without the check of the limits
    before and the last step."""
    quality_s: float
    """CPU time of the accuracy evaluations, all sessions."""
    cpu_s: float
    """CPU time of this session, of the same steps."""


def codesign(
    network: Network,
    data: Data,
    on: Accelerator | str,
    vary: Mapping[str, Sequence[Given]],
    out: Path | str,
    *,
    mode: Mode = "nested",
    below: Sequence[str] = (),
    evaluations: int = 200,
    seed: int = 0,
    population: int = 40,
    bits: Sequence[int] = (2, 4, 8),
    images: int | None = 500,
    calibration: int = 256,
    on_trial: Callable[[Progress], None] | None = None,
) -> Codesigned:
    """Search bits per layer and accelerators for a network; see :func:`codesign_space`.

    `images` of the validation split score a network, `calibration` of the training split give the
    ranges of its activations.
    """
    ready = network.calibrated(data.calibration(calibration))
    return codesign_space(
        quantize(ready, bits), Accuracy(data.val, limit=images), on, vary, out, mode=mode,
        below=below, evaluations=evaluations, seed=seed, population=population,
        on_trial=on_trial,
    )  # fmt: skip


def codesign_space(
    networks: Space,
    quality: Quality,
    on: Accelerator | str,
    vary: Mapping[str, Sequence[Given]],
    out: Path | str,
    *,
    mode: Mode = "nested",
    below: Sequence[str] = (),
    evaluations: int = 200,
    seed: int = 0,
    population: int = 40,
    objectives: Sequence[str] = OBJECTIVES,
    cost: CostModel | None = None,
    on_trial: Callable[[Progress], None] | None = None,
) -> Codesigned:
    """Search networks and accelerators; `out` gets the run folders. Killed, the same call goes on.

    `networks` is the space of networks (of `quantize`, `prune` or their sum), `vary` the values of
    the machine's figures. Limits may be shares of the network at its default choices (the most
    bits, all channels) on the machine as it is. Costs are those of the fine level unless another
    model is given. Raises InfeasibleError when nothing can meet the limits (before anything is
    scored) or nothing that was scored does, MachineError where the machine has no area to count.
    """
    if mode not in MODES:
        raise HwflowError(unknown_name("mode", mode, MODES))
    counted = Counted(cost or Fine(cache=user_file()))
    space = networks + resize(networks.network or networks.workload, on, vary)
    free = Problem(space, on, counted, objectives=tuple(objectives))
    limits = Limits.read(below, free.total(space.default))
    search = _Search(
        replace(free, below=limits), PerNetwork(quality, len(networks)), Path(out), evaluations,
        seed, population, on_trial,
    )  # fmt: skip
    feasible_plan(search.whole)
    counted.count, start = 0, time.process_time()
    trials, scored, refused = getattr(search, mode.replace("-", "_"))()
    costed, cpu_s = counted.count, time.process_time() - start
    goals, pairs = search.whole.objectives, expanded(search.machines, scored)
    if not pairs:
        raise InfeasibleError(
            f"None of the {len(scored)} networks that the mode {mode} scored meets {limits} on any "
            "machine, though there are such pairs. Use the mode nested, which scores no others, or "
            "give more evaluations."
        )
    return Codesigned(
        mode, search.whole, Front.of(pairs, goals), Front.of(trials, goals), tuple(pairs),
        tuple(scored), len(scored), refused, costed,
        sum(trial.seconds for trial in scored), cpu_s,
    )  # fmt: skip


Found = tuple[Sequence[Trial], list[Trial], int]
"""Pairs that were looked at, networks that were scored, number of plans that were refused."""


class _Search:
    """The modes. Trials of networks alone have plans with the network's choices only."""

    def __init__(
        self, whole: Problem, quality: PerNetwork, out: Path, evaluations: int, seed: int,
        population: int, on_trial: Callable[[Progress], None] | None,
    ) -> None:  # fmt: skip
        self.whole, self.quality, self.out = whole, quality, out
        self.evaluations, self.seed, self.population = evaluations, seed, population
        self.on_trial = on_trial
        self.machines = Machines(whole, seed)

    def joint(self) -> Found:
        """Networks and machines in one genome."""
        trials, refused = self._run(self.whole, "joint")
        own = len(self.whole.space.of_network)
        scored: dict[Plan, Trial] = {}
        for trial in trials:
            scored.setdefault(trial.plan[:own], replace(trial, plan=trial.plan[:own]))
        return trials, list(scored.values()), refused

    def nested(self) -> Found:
        """Accelerators inside networks."""
        scored, refused = self._run(Nested.of(self.whole, self.machines), "nested")
        return expanded(self.machines, scored), scored, refused

    def sequential(self) -> Found:
        """Networks on the machine as it is, without limits, then accelerators for their front."""
        scored, refused = self._run(replace(self._networks(), below=Limits()), "sequential")
        best = Front.of(scored, self._networks().objectives)
        return expanded(self.machines, best.trials), scored, refused

    def machine_first(self) -> Found:
        """Accelerators for the network as it is, then networks on some of them.

        What one of them leaves of its share, as few networks are within the limits there, the
        next ones take, then the first ones.
        """
        chosen, whole = self._chosen(), self.evaluations
        shares = [whole * (number + 1) // len(chosen) for number in range(len(chosen))]
        found: dict[int, tuple[list[Trial], int]] = {}
        for number, most in [
            *enumerate(shares),
            *((number, whole) for number in range(len(chosen))),
        ]:
            if number not in found or len(self.quality.known) < most:
                seed = MACHINES * self.seed + number
                problem = self._networks(chosen[number])
                found[number] = self._run(problem, f"machine-{number}", most, seed)
        pairs: list[Trial] = []
        scored: dict[Plan, Trial] = {}
        for number, (trials, _) in found.items():
            plans = [(*trial.plan, *chosen[number]) for trial in trials]
            totals = self.whole.totals(plans)
            for row, (plan, trial) in enumerate(zip(plans, trials, strict=True)):
                scored.setdefault(trial.plan, trial)
                total = {name: float(values[row]) for name, values in totals.items()}
                pairs.append(replace(trial, plan=plan, total=total, space=self.whole.space))
        return pairs, list(scored.values()), sum(refused for _, refused in found.values())

    def _chosen(self) -> list[Plan]:
        """Return accelerators along the front of the network as it is, limits of area kept."""
        fixed = {name: value for name, value in self.whole.below.items() if name in SIZES}
        whole = replace(self.whole, below=Limits(**fixed))
        own = len(whole.space.of_network)
        start = Trial(0, whole.space.of_network.default, {}, 0.0)
        front = Front.of(expanded(Machines(whole, self.seed), [start]), whole.cost_names)
        able = [t.plan[own:] for t in front if _can(self._networks(t.plan[own:]))]
        if not able:
            raise InfeasibleError(
                f"None of {len(front)} accelerators for the network as it is can meet "
                f"{self.whole.below}. Raise the limits, or use the mode nested."
            )
        count = min(MACHINES, len(able), self.evaluations)
        last = len(able) - 1
        return [able[round(index * last / max(1, count - 1))] for index in range(count)]

    def _networks(self, machine: Plan | None = None) -> Problem:
        """Return the problem over networks on one machine, its own by default."""
        whole = self.whole
        names = tuple(name for name in whole.objectives if name not in SIZES)
        limits = {name: value for name, value in whole.below.items() if name not in SIZES}
        on = whole.machine
        if machine is not None:
            on = whole.on_machine((*whole.space.of_network.default, *machine))[1]
        return Problem(whole.space.of_network, on, whole.cost, Limits(**limits), names)

    def _run(
        self, problem: Problem, name: str, most: int | None = None, seed: int | None = None
    ) -> tuple[list[Trial], int]:
        """Search a problem by NSGA-II until `most` networks are scored, those of others counted.

        Returns what was scored, in order, and how many plans were not.
        """
        folder, seed = self.out / name, self.seed if seed is None else seed
        solver = _UpTo(seed, self.population, quality=self.quality, most=most or self.evaluations)
        pairs = PAIRS if len(problem.space.of_machine) else 1
        loop.search(
            problem, self.quality, solver, folder, evaluations=pairs * self.evaluations, seed=seed,
            on_trial=self._show if self.on_trial else None,
        )  # fmt: skip
        with Study.read(folder) as study:
            trials = [replace(t, space=problem.space) for t in study.trials() if t.feasible]
            return trials, study.infeasible

    def _show(self, progress: Progress) -> None:
        """Hand on a progress that counts networks where the study counts pairs."""
        assert self.on_trial is not None
        assert progress.budget is not None
        done, left = len(self.quality.known) or progress.evaluated, progress.seconds_left
        if left is not None:
            pairs_left = max(1, progress.budget - progress.evaluated)
            left *= max(0, self.evaluations - done) / pairs_left
        self.on_trial(replace(progress, evaluated=done, budget=self.evaluations, seconds_left=left))


def _can(problem: Problem) -> bool:
    try:
        feasible_plan(problem)
    except InfeasibleError:
        return False
    return True


class PerNetwork:
    """A quality that scores each network once, whatever machine its plan goes on to name."""

    def __init__(self, inner: Quality, choices: int) -> None:
        """`choices` is the number of choices of the network, which plans begin with."""
        self._inner, self._choices = inner, choices
        self.known: dict[Plan, float] = {}
        """The networks that were scored."""
        self.name = inner.name
        self.repeatable = bool(getattr(inner, "repeatable", False))

    def network(self, plan: Plan) -> Plan:
        """Return the choices of the network in a plan."""
        return tuple(plan[: self._choices])

    def learn(self, trials: Sequence[Trial]) -> None:
        """Take in scores that a study has kept."""
        for trial in trials:
            if trial.quality is not None:
                self.known.setdefault(self.network(trial.plan), trial.quality)

    def score(self, plan: Plan, build: Builder) -> float:
        """Return the score of the network, looked up where it is known."""
        own = self.network(plan)
        if own not in self.known:
            self.known[own] = self._inner.score(own, lambda _: build(plan))
        return self.known[own]

    def digest(self) -> str:
        """Return the inner quality's digest."""
        return self._inner.digest()


@dataclass(frozen=True)
class _UpTo(NSGA2):
    """NSGA-II that ends when so many networks are scored: a network on more machines is one."""

    quality: PerNetwork = field(kw_only=True)
    most: int = field(kw_only=True)

    def run(self, problem: Problem, evaluate: Evaluate) -> None:
        """Search until enough is scored, or every plan has been asked for."""
        with suppress(Enough):
            super().run(problem, _NetworkDoor(evaluate, self.quality, self.most))


@dataclass(frozen=True)
class _NetworkDoor:
    """The door to the study, for no more than `most` networks."""

    inner: Evaluate
    quality: PerNetwork
    most: int

    def __call__(self, plans: Sequence[Plan]) -> list[Trial]:
        """Return the trials of plans, in their order; ends the run when enough is scored."""
        found: list[Trial] = []
        while len(found) < len(plans):
            if len(self.quality.known) >= self.most:
                raise Enough
            trials = self.inner(self._allowed(plans[len(found) :]))
            self.quality.learn(trials)
            found += trials
        return found

    probe = __call__

    def _allowed(self, plans: Sequence[Plan]) -> Sequence[Plan]:
        """Return as many of the first plans as have no more new networks than may be scored."""
        new: set[Plan] = set()
        for place, plan in enumerate(plans):
            network = self.quality.network(plan)
            if network not in self.quality.known:
                new.add(network)
            if len(self.quality.known) + len(new) > self.most:
                return plans[:place]
        return plans
