"""Evaluating plans: here, or in worker processes. A search gives the same trials either way.

Each evaluation starts from its own seed and uses the same number of threads wherever it runs.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hwflow.errors import HwflowError
from hwflow.space import Plan, Space

if TYPE_CHECKING:
    from hwflow.quality import Quality


@dataclass(frozen=True, slots=True)
class Job:
    """A plan whose quality is to be found, and what the trial is to be recorded with."""

    plan: Plan
    number: int
    seed: int
    total: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the evaluation of a plan gave."""

    quality: float
    cpu_seconds: float
    started: float
    """Seconds since 1970."""


class Evaluator(Protocol):
    """Evaluates jobs, in any order."""

    def run(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield jobs as they are done; takes the next one only when it can begin."""
        ...

    def close(self) -> None:
        """Stop what is running."""
        ...


class Here:
    """Evaluates in this process, one after the other."""

    def __init__(self, space: Space, quality: Quality, threads: int) -> None:
        self._evaluate = (space, quality, threads)

    def run(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job when it is done."""
        for job in jobs:
            yield job, evaluate(job, *self._evaluate)

    def close(self) -> None:
        """Nothing runs between jobs."""


def evaluate(job: Job, space: Space, quality: Quality, threads: int) -> Outcome:
    """Find the quality of a plan; HwflowError when it is no finite number."""
    with seeded(job.seed), limited_threads(threads):
        started, before = time.time(), time.process_time()
        found = float(quality.score(job.plan, space.apply))
        spent = time.process_time() - before
    if not math.isfinite(found):
        raise HwflowError(
            f"The quality {quality.name!r} of trial #{job.number} is {found} "
            f"({describe(space, job.plan)}). It was not recorded. Check the weights and the data "
            "for NaN; the same command then goes on."
        )
    return Outcome(found, spent, started)


def describe(space: Space, plan: Plan, most: int = 4) -> str:
    """Name the choices in which a plan differs from the default, at most so many of them."""
    default = space.values(space.default)
    changed = [f"{k} = {v}" for k, v in space.values(plan).items() if v != default[k]]
    rest = [f"{len(changed) - most} more"] if len(changed) > most else []
    return ", ".join(changed[:most] + rest) or "the default plan"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and, where it is loaded, torch's generator; put them back after.

    What draws from them outside, such as a solver, is thus the same whether trials are evaluated
    or come from the study.
    """
    torch = sys.modules.get("torch")
    kept = random.getstate(), np.random.get_state()
    drawn = torch.get_rng_state() if torch else None
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if torch:
        torch.default_generator.manual_seed(seed)  # torch.manual_seed takes 50 times as long
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(seed)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        if torch and drawn is not None:
            torch.set_rng_state(drawn)


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads, where it is loaded; put the number back after."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else count
    if torch and before != count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if torch and before != count:
            torch.set_num_threads(before)
