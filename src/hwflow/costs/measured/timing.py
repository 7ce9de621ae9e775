"""Timing of entries side by side: warm-up, rounds in which each has its turn, quartiles.

Whatever else runs on the computer comes and goes over seconds. Each round runs every entry for a
short while, so that all of them see the same weather, and the median over the rounds is taken of
each. CPU time of the calling thread does not count the turns that other processes get; with more
threads than one, and on other devices than a CPU, wall time is all there is.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from hwflow.cost import Floats
from hwflow.errors import HwflowError

Clock = Literal["cpu", "wall"]
Run = Callable[[], object]

SPREAD = 0.10
"""Interquartile range over the median from which a reader is warned."""


class Ticks(Protocol):
    """What tells the time; tests have one that does not depend on the computer."""

    def cpu(self) -> float:
        """Return the CPU seconds of the calling thread."""
        ...

    def wall(self) -> float:
        """Return seconds."""
        ...


class SystemTicks:
    """The computer's own clocks."""

    def cpu(self) -> float:
        """Return the CPU seconds of the calling thread."""
        return time.thread_time()

    def wall(self) -> float:
        """Return seconds."""
        return time.perf_counter()


@dataclass(frozen=True)
class Repetitions:
    """How often entries are run."""

    rounds: int = 15
    turn_s: float = 2e-3
    """Wall time of one entry's turn in a round; at least one run."""
    most: int = 50
    """Runs in a turn at most."""
    warmup: int = 2
    """Runs before anything is timed."""

    def __post_init__(self) -> None:
        if self.rounds < 3 or self.warmup < 0 or self.most < 1 or self.turn_s < 0:
            raise HwflowError("Measuring needs at least 3 rounds, and no count below zero.")


@dataclass(frozen=True)
class Sample:
    """Times of one entry, seconds per run, one of each round."""

    cpu_s: Floats
    wall_s: Floats
    runs: int
    """Runs in each round."""

    def times(self, clock: Clock) -> Floats:
        """Return the times by one clock."""
        return self.cpu_s if clock == "cpu" else self.wall_s

    def quartiles(self, clock: Clock) -> tuple[float, float, float]:
        """Return the lower quartile, the median and the upper quartile."""
        low, middle, high = np.quantile(self.times(clock), (0.25, 0.5, 0.75))
        return float(low), float(middle), float(high)

    def spread(self, clock: Clock) -> float:
        """Return the interquartile range over the median."""
        low, middle, high = self.quartiles(clock)
        return (high - low) / middle if middle > 0 else 0.0


def interleaved(
    entries: Mapping[str, Run],
    how: Repetitions | None = None,
    ticks: Ticks | None = None,
) -> dict[str, Sample]:
    """Time entries in rounds; in each round every entry has one turn, in turning order."""
    how, ticks = how or Repetitions(), ticks or SystemTicks()
    runs = {name: _warm(run, how, ticks) for name, run in entries.items()}
    names = list(entries)
    cpu: dict[str, list[float]] = {name: [] for name in names}
    wall: dict[str, list[float]] = {name: [] for name in names}
    with _no_collection():
        for number in range(how.rounds):
            for name in names if number % 2 == 0 else reversed(names):
                used, passed = _turn(entries[name], runs[name], ticks)
                cpu[name].append(used)
                wall[name].append(passed)
    return {n: Sample(np.array(cpu[n]), np.array(wall[n]), runs[n]) for n in names}


def _warm(run: Run, how: Repetitions, ticks: Ticks) -> int:
    """Run an entry a few times and return how often it is to run in a turn."""
    for _ in range(how.warmup):
        run()
    start = ticks.cpu()
    run()
    once = ticks.cpu() - start
    return how.most if once <= 0 else int(np.clip(round(how.turn_s / once), 1, how.most))


def _turn(run: Run, times: int, ticks: Ticks) -> tuple[float, float]:
    wall, cpu = ticks.wall(), ticks.cpu()
    for _ in range(times):
        run()
    return (ticks.cpu() - cpu) / times, (ticks.wall() - wall) / times


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's garbage collector from running in the middle of a turn."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@dataclass(frozen=True)
class Ratio:
    """How many times faster one entry is than another, with a 95 % interval."""

    value: float
    low: float
    high: float


def speedup(before: Sequence[float], after: Sequence[float], seed: int = 0) -> Ratio:
    """Return median(before) / median(after); the interval by bootstrap over the rounds.

    Both have one time of each round, so rounds are drawn in pairs.
    """
    first, second = np.asarray(before), np.asarray(after)
    draws = np.random.default_rng(seed).integers(len(first), size=(2000, len(first)))
    ratios = np.median(first[draws], axis=1) / np.median(second[draws], axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return Ratio(float(np.median(first) / np.median(second)), float(low), float(high))
