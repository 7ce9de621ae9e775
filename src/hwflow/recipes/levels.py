"""Levels one after the other: what recipes that refine a search from level to level share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from hwflow.cost import METRICS, CostModel, Limits, is_relative
from hwflow.costs.coarse import Coarse
from hwflow.costs.fine import Fine
from hwflow.costs.fine.cache import user_file
from hwflow.costs.mid import Mid
from hwflow.data import Data
from hwflow.errors import HwflowError, InfeasibleError, unknown_name
from hwflow.files import whole
from hwflow.front import Front, Trial
from hwflow.problem import QUALITY, Problem
from hwflow.settings import check_seed
from hwflow.solvers.steps import steps_of
from hwflow.space import Plan
from hwflow.study import STUDY_FILE, Study

LEVELS: Mapping[str, Callable[[], CostModel]] = {
    "coarse": Coarse, "mid": Mid, "fine": lambda: Fine(cache=user_file()),
}  # fmt: skip

HALVINGS = 10
"""Bisections for the share by which a plan is made leaner."""

LEAST = 2
"""Evaluations of a level, at least."""

ASKED_FILE = "asked.json"
"""What a search over levels was asked for, in its folder."""

QUALITIES_FILE = "qualities.db"
"""Qualities that the levels of a search share, in its folder."""


@dataclass(frozen=True)
class Stage:
    """One level's search."""

    level: str
    problem: Problem
    front: Front
    folder: Path

    @property
    def best(self) -> Trial:
        """The most accurate plan within the level's limits."""
        return self.front.pick("most accurate")

    def ranked(self) -> list[Trial]:
        """Return the trials within the level's limits, best first, of equals the earlier ones."""
        with Study.read(self.folder) as study:
            feasible = [trial for trial in study.trials() if trial.feasible]
        return sorted(feasible, key=lambda trial: -trial.value(QUALITY))


@dataclass(frozen=True)
class Stages:
    """The levels in their order."""

    stages: tuple[Stage, ...]

    @property
    def problem(self) -> Problem:
        """The problem of the last level."""
        return self.stages[-1].problem

    @property
    def steps(self) -> tuple[tuple[Stage, Stage], ...]:
        """Each level with the one after it."""
        return tuple(pairwise(self.stages))


@dataclass(frozen=True)
class Asked:
    """What a search over levels is asked for, and what a folder must agree with to go on."""

    evaluations: int
    levels: tuple[str, ...]
    seed: int
    shares: Mapping[str, float]
    """Of the evaluations, by level."""

    def __post_init__(self) -> None:
        check_levels(self.levels)
        check_seed(self.seed)
        least = LEAST * len(self.levels)
        if self.evaluations < least:
            raise HwflowError(
                f"A level has {LEAST} evaluations or more, so {len(self.levels)} of them need "
                f"evaluations={least} or more, not {self.evaluations}."
            )

    @property
    def budgets(self) -> dict[str, int]:
        """How the evaluations are divided among the levels."""
        return budgets(self.evaluations, self.levels, self.shares)

    def plain(self) -> dict[str, Any]:
        """Return what a folder keeps of it."""
        return {"evaluations": self.evaluations, "levels": [*self.levels], "seed": self.seed}

    def begin(
        self, out: Path | str, below: Sequence[str], data: Data, qualities: Path | str | None
    ) -> tuple[Path, Path | str]:
        """Check all that is given; return the folder, and the file that levels share accuracies in.

        Raises HwflowError for limits that cannot be read or a folder that was asked for otherwise,
        and DataError for splits that share images; nothing is touched.
        """
        folder = Path(out)
        check_limits(below)
        self.check(folder)
        data.check_disjoint()
        return folder, folder / QUALITIES_FILE if qualities is None else qualities

    def check(self, out: Path) -> None:
        """Raise HwflowError where the levels in a folder were asked for otherwise.

        A level begins with what the one before ended with, so none can be made longer afterwards.
        Of folders without ASKED_FILE the trials themselves tell.
        """
        done = {level: out / level for level in LEVELS if (out / level / STUDY_FILE).exists()}
        if not done:
            return
        file = out / ASKED_FILE
        if file.exists():
            known = json.loads(file.read_text())
            there, same = _named(known), known == self.plain()
        else:
            with ExitStack() as opened:
                studies = {n: opened.enter_context(Study.read(done[n])) for n in done}
                there, same = _counted(studies), self._may_have_made(studies)
        if not same:
            raise HwflowError(
                f"{out} holds a search with {there}; asked for are {_named(self.plain())}. Each "
                "level begins with what the one before ended with, so this cannot be changed "
                "afterwards. Nothing was touched: ask for what is there to go on with it, or give "
                "another folder."
            )

    def keep(self, out: Path) -> None:
        """Write it into the folder of a search that begins or goes on."""
        try:
            out.mkdir(parents=True, exist_ok=True)
            with whole(out / ASKED_FILE) as part:
                part.write_text(json.dumps(self.plain()) + "\n")
        except OSError as error:
            raise HwflowError(
                f"Cannot write to {out}: {error.strerror}. Give a folder that may be written to."
            ) from error

    def _may_have_made(self, studies: Mapping[str, Study]) -> bool:
        """Tell whether the levels that are there are the first of these, all but the last whole."""
        *whole_ones, last = studies
        found = {level: study.evaluated for level, study in studies.items()}
        return (
            list(studies) == list(self.levels[: len(studies)])
            and all(study.settings["seed"] == self.seed for study in studies.values())
            and all(found[level] == self.budgets[level] for level in whole_ones)
            and found[last] <= self.budgets[last]
        )


def _named(asked: Mapping[str, Any]) -> str:
    levels = ", ".join(asked["levels"])
    return f"evaluations={asked['evaluations']}, seed={asked['seed']} and the levels {levels}"


def _counted(studies: Mapping[str, Study]) -> str:
    counts = ", ".join(f"{level} {study.evaluated}" for level, study in studies.items())
    seeds = {study.settings["seed"] for study in studies.values()}
    return f"seed={', '.join(map(str, sorted(seeds)))} and by level {counts} evaluations"


def check_levels(levels: Sequence[str]) -> None:
    """Raise HwflowError unless these are levels in their order, each once."""
    for level in levels:
        if level not in LEVELS:
            raise HwflowError(unknown_name("level", level, LEVELS))
    if not levels or [*levels] != [n for n in LEVELS if n in levels]:
        raise HwflowError(
            f"levels are one or more of {', '.join(LEVELS)}, in this order and each once, such as "
            f"('coarse', 'fine'); not {levels!r}."
        )


def check_limits(below: Sequence[str]) -> None:
    """Raise HwflowError where a limit cannot be read, whatever the network costs."""
    if isinstance(below, str):
        raise HwflowError(f"below is a list of limits, such as [{below!r}], not the text alone.")
    Limits.read(below, dict.fromkeys(METRICS, 1.0))


def tightest_share(below: Sequence[str]) -> float | None:
    """Return the least of the limits in percent as a share, None where there is none."""
    shares = Limits.read([text for text in below if is_relative(text)], dict.fromkeys(METRICS, 1.0))
    return min((share for _, share in shares.items()), default=None)


@contextmanager
def limit_explained(level: str, metric: str, below: Sequence[str]) -> Iterator[None]:
    """Say of limits out of reach at Coarse, which knows no machine, what they stand for."""
    try:
        yield
    except InfeasibleError as error:
        if level != "coarse":
            raise
        given = ", ".join(below) or "nothing, so half of them"
        raise InfeasibleError(
            f"{error}\nAt the level coarse, which knows no machine, the limit on {metric} stands "
            f"for what was given in below ({given}). Raise that, or leave this "
            "level out: levels=('mid', 'fine')."
        ) from error


def budgets(evaluations: int, levels: Sequence[str], shares: Mapping[str, float]) -> dict[str, int]:
    """Return how the evaluations are divided among levels, LEAST or more for each."""
    whole = sum(shares[level] for level in levels)
    return {level: max(LEAST, round(evaluations * shares[level] / whole)) for level in levels}


def eased(problem: Problem, plan: Plan) -> Plan:
    """Return the plan with every choice leaner by the same share, as little as the limits ask."""
    steps = steps_of(problem)
    ranks = [step.order.index(plan[step.place]) for step in steps]

    def leaner(share: float) -> Plan:
        found = list(plan)
        for step, rank in zip(steps, ranks, strict=True):
            found[step.place] = step.option(round(rank * share))
        return problem.space.canonical(found)

    def kept(share: float) -> bool:
        return not problem.below.broken(problem.total(leaner(share)))

    low, high = 0.0, 1.0
    if kept(high):
        return plan
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) else (low, middle)
    return leaner(low)
