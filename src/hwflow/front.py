"""Trials, and the front of those that no other trial beats in every objective."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING

import numpy as np

from hwflow.cost import METRICS, metric
from hwflow.errors import HwflowError, InfeasibleError
from hwflow.problem import QUALITY
from hwflow.space import Plan, Space
from hwflow.units import parse, show

if TYPE_CHECKING:
    from hwflow.network import Network


@dataclass(frozen=True)
class Trial:
    """A plan, what it costs and how good it is."""

    number: int
    """Evaluated trials count from 0; -1 when the plan was not evaluated."""
    plan: Plan
    total: Mapping[str, float]
    """Total cost by metric name, SI units."""
    quality: float | None
    """The task's metric, higher is better; None when it was not evaluated."""
    seed: int = 0
    seconds: float = 0.0
    """CPU time of the quality evaluation."""
    infeasible: tuple[str, ...] = ()
    """Which limits it breaks; then it is evaluated only where a solver probes it."""
    space: Space | None = field(default=None, compare=False, repr=False)

    @property
    def feasible(self) -> bool:
        """Whether it keeps the limits and was evaluated."""
        return self.quality is not None and not self.infeasible

    def value(self, name: str) -> float:
        """Return the quality for "accuracy", else the total cost of that metric."""
        if name == QUALITY:
            return float("-inf") if self.quality is None else self.quality
        known = metric(name)
        if known.name not in self.total:
            given = ", ".join(METRICS[n].short for n in self.total if n in METRICS)
            raise HwflowError(f"The trials have no {known.short}. They have {QUALITY}, {given}.")
        return float(self.total[known.name])

    def build(self, network: Network | None = None) -> Network:
        """Return the edited network of this trial."""
        if self.space is None:
            raise HwflowError("This trial was read without its space: use Study.front(space).")
        return self.space.apply(self.plan, network)


@dataclass(frozen=True)
class Front:
    """The trials that no other beats in every objective, sorted by the first cost objective."""

    trials: tuple[Trial, ...]
    objectives: tuple[str, ...]
    """"accuracy" and metric names."""
    reference: Mapping[str, float] = field(default_factory=dict)
    """Objective values that hypervolumes are measured against: the worst seen."""

    @classmethod
    def of(cls, trials: Sequence[Trial], objectives: Sequence[str]) -> Front:
        """Keep the non-dominated feasible trials; equal ones are kept once (the earliest).

        Trials beyond the limits, without a quality, or with one that is NaN, are left out.
        """
        good = [t for t in trials if t.feasible and not isnan(t.value(QUALITY))]
        points = np.array([_minimise(t, objectives) for t in good]).reshape(
            len(good), len(objectives)
        )
        kept = [good[index] for index in non_dominated(points)]
        key = next((name for name in objectives if name != QUALITY), QUALITY)
        kept.sort(key=lambda trial: (trial.value(key), -trial.value(QUALITY), trial.number))
        worst = points.max(axis=0) if len(points) else []
        return cls(
            tuple(kept), tuple(objectives), dict(zip(objectives, map(float, worst), strict=False))
        )

    def __len__(self) -> int:
        return len(self.trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    def points(self) -> np.ndarray:
        """Return the objectives to be minimised, shape (trials, objectives)."""
        rows = [_minimise(trial, self.objectives) for trial in self.trials]
        return np.array(rows).reshape(len(rows), len(self.objectives))

    def hypervolume(self, reference: Mapping[str, float] | None = None) -> float:
        """Return the share of the box between ideal and reference point that the front covers.

        `reference` gives the worst value to count by objective ("accuracy" as its negative); by
        default the worst trial seen. The result lies in [0, 1].
        """
        if not self.trials:
            return 0.0
        given = self.reference if reference is None else reference
        missing = [name for name in self.objectives if name not in given]
        if missing:
            raise HwflowError(f"The reference point has no {missing[0]}, which is an objective.")
        return covered(self.points(), np.array([given[name] for name in self.objectives]))

    def knee(self) -> Trial:
        """Return the trial nearest to the ideal point, objectives scaled to [0, 1]."""
        return self._knee_of(self._some())

    def pick(self, wish: str) -> Trial:
        """Return one trial by a wish such as ``"latency < 4 ms"`` or ``"most accurate"``.

        A wish is conditions ("energy < 1 mJ", "accuracy > 0.88"), at most one chooser ("most
        accurate", "fastest", "least METRIC", "knee") or "#NUMBER" of a trial, joined by commas or
        "and". Without a chooser the most accurate trial is taken, or the cheapest in the first
        cost objective when only the accuracy is limited.
        """
        tests, chooser = _read_wish(wish)
        pool: Sequence[Trial] = self._some()
        for name, sign, value in tests:
            left = [trial for trial in pool if _holds(trial.value(name), sign, value)]
            if not left:
                raise InfeasibleError(self._out_of_reach(name, sign, value, pool))
            pool = left
        if chooser is None:
            limited = {name for name, _, _ in tests}
            cost = next((name for name in self.objectives if name != QUALITY), None)
            chooser = cost if cost and limited == {QUALITY} else QUALITY
        return self._choose(pool, chooser)

    def _choose(self, pool: Sequence[Trial], chooser: str) -> Trial:
        if chooser == "knee":
            return self._knee_of(pool)
        if chooser.startswith("#"):
            return self._numbered(pool, int(chooser[1:]))
        if chooser == QUALITY:
            return min(pool, key=lambda t: (-t.value(QUALITY), *_minimise(t, self.objectives)))
        return min(pool, key=lambda t: (t.value(chooser), -t.value(QUALITY)))

    def _numbered(self, pool: Sequence[Trial], number: int) -> Trial:
        for trial in pool:
            if trial.number == number:
                return trial
        if any(trial.number == number for trial in self.trials):
            raise InfeasibleError(f"Trial #{number} is on the front but not what is asked of it.")
        numbers = ", ".join(f"#{trial.number}" for trial in self.trials)
        raise HwflowError(f"Trial #{number} is not on the front. On it: {numbers}.")

    def _knee_of(self, pool: Sequence[Trial]) -> Trial:
        points = self.points()
        low, span = points.min(axis=0), np.ptp(points, axis=0)
        span[span == 0] = 1.0
        own = np.array([_minimise(trial, self.objectives) for trial in pool])
        return pool[int(np.argmin(np.linalg.norm((own - low) / span, axis=1)))]

    def _some(self) -> tuple[Trial, ...]:
        if not self.trials:
            raise InfeasibleError("The front is empty: no feasible plan has been evaluated yet.")
        return self.trials

    def _out_of_reach(self, name: str, sign: str, value: float, pool: Sequence[Trial]) -> str:
        reach = (min if sign.startswith("<") else max)(trial.value(name) for trial in pool)
        return (
            f"No trial of the front has {_short(name)} {sign} {_shown(name, value)}: "
            f"the best reaches {_shown(name, reach)}."
        )


def non_dominated(points: np.ndarray) -> list[int]:
    """Return the indices of the rows that no other row beats; of equal rows the first.

    In lexical order whatever beats a row stands before it, so that each row need only be compared
    with those kept so far.
    """
    kept: list[int] = []
    best = np.empty_like(points)
    for index in np.lexsort(points.T[::-1]) if len(points) else ():
        if not (best[: len(kept)] <= points[index]).all(axis=1).any():
            best[len(kept)] = points[index]
            kept.append(int(index))
    return sorted(kept)


def volume(points: np.ndarray) -> float:
    """Return the hypervolume of points in the unit box, to be minimised, from its worst corner.

    `points` has shape (n, objectives); points outside the box count nothing.
    """
    from pymoo.indicators.hv import HV

    inside = points[(points < 1).all(axis=1)]
    return float(HV(ref_point=np.ones(points.shape[1]))(inside)) if len(inside) else 0.0


def covered(points: np.ndarray, worst: np.ndarray) -> float:
    """Return the share of the box between the ideal of `points` and `worst` that they dominate.

    `points` has shape (n, objectives), to be minimised. An objective in which the best point equals
    `worst` does not count; where it is worse than `worst`, nothing is dominated.
    """
    low = points.min(axis=0)
    if (worst < low).any():
        return 0.0
    flat = worst == low
    scaled = (points - low) / np.where(flat, 1.0, worst - low)
    scaled[:, flat] = np.where(points[:, flat] > low[flat], 2.0, 0.0)
    return min(1.0, volume(scaled))


def _minimise(trial: Trial, objectives: Sequence[str]) -> tuple[float, ...]:
    return tuple(-trial.value(n) if n == QUALITY else trial.value(n) for n in objectives)


def _short(name: str) -> str:
    return name if name == QUALITY else METRICS[name].short


def _shown(name: str, value: float) -> str:
    return f"{value:.4g}" if name == QUALITY else show(value, METRICS[name].unit, 4)


_TEST = re.compile(r"^([a-z_]+)\s*(<=|>=|<|>)\s*(.+)$")
_CHOOSERS = {"most accurate": QUALITY, "best": QUALITY, "fastest": "latency_s", "knee": "knee"}


def _read_wish(wish: str) -> tuple[list[tuple[str, str, float]], str | None]:
    tests: list[tuple[str, str, float]] = []
    chooser: str | None = None
    for clause in re.split(r",|\band\b", wish):
        text = clause.strip()
        if not text:
            continue
        match = _TEST.match(text)
        if match:
            name = match[1] if match[1] == QUALITY else metric(match[1]).name
            unit = "" if name == QUALITY else METRICS[name].unit
            tests.append((name, match[2], _value(match[3], unit)))
        elif chooser is not None:
            raise HwflowError(f"The wish {wish!r} chooses twice: {text!r} is one too many.")
        else:
            chooser = _chooser(text)
    if not tests and chooser is None:
        raise HwflowError("The wish is empty. Write, for instance, 'latency < 4 ms' or 'knee'.")
    return tests, chooser


def _value(text: str, unit: str) -> float:
    if unit == "" and text.strip().endswith("%"):
        return parse(text.strip()[:-1], "") / 100
    return parse(text, unit)


def _chooser(text: str) -> str:
    if text in _CHOOSERS:
        return _CHOOSERS[text]
    if re.fullmatch(r"#\d+", text):
        return text
    if text.startswith("least "):
        return metric(text.removeprefix("least ").strip()).name
    raise HwflowError(
        f"Cannot read {text!r}. Write conditions such as 'latency < 4 ms' or 'accuracy > 88 %', "
        "and one of 'most accurate', 'fastest', 'least METRIC', 'knee', '#NUMBER'."
    )


def _holds(found: float, sign: str, value: float) -> bool:
    return {"<": found < value, "<=": found <= value, ">": found > value, ">=": found >= value}[
        sign
    ]
