"""Plans of a space costed at every level, and how well the cheap levels stand in for Fine.

A plan's *change* (:func:`~hwflow.fidelity.sample.changes`) takes the place of its accuracy, so that
there are fronts to compare without data: those plans that no other beats in change and cost.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hwflow.cost import CostModel, Floats
from hwflow.costs.coarse import Coarse
from hwflow.costs.fine import Fine
from hwflow.costs.mid import Mid
from hwflow.fidelity.sample import changes, sampled
from hwflow.fidelity.statistics import Recall, Spread, excess, recall, regret, spearman, spread
from hwflow.machine import Accelerator
from hwflow.problem import Problem
from hwflow.settings import check_seed
from hwflow.space import Plan, Space

TARGETS = ("latency_s", "energy_j", "dram_bytes")
"""What Fine is asked for."""

COUNTS = ("macs", "bit_ops", "frac_ops", "model_bytes")
"""What Coarse counts, each tried as a stand-in for every target."""


@dataclass(frozen=True)
class Row:
    """How one figure of a cheap level stands in for one metric of Fine."""

    target: str
    """Fine's metric."""
    level: str
    stand_in: str
    """The cheap level's metric."""
    rank: float | None
    """Spearman's rank correlation; None where the stand-in is the same for all plans."""
    spread: Spread
    """Of the target among plans of nearly the same stand-in."""
    recall: Recall
    """Of Fine's front in change and target."""
    excess: float
    """By what share the front that is kept lies above Fine's, on average."""
    regret: float
    """By what share the best plan of the stand-in lies above Fine's, among the plans that change
    the network no more than the median does."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self) | {"recall": asdict(self.recall) | {"share": self.recall.share}}


@dataclass(frozen=True)
class Fidelity:
    """A space on a machine at every level."""

    name: str
    """The network."""
    machine: Accelerator
    seed: int
    plans: tuple[Plan, ...]
    change: Floats
    totals: Mapping[str, Mapping[str, Floats]]
    """Total costs by level and metric, arrays of shape (plans,)."""
    seconds: Mapping[str, float]
    """CPU seconds that each level took for all plans."""
    rows: tuple[Row, ...]
    fronts: Mapping[str, Recall]
    """By level: how much of Fine's front in change, latency and energy its own front holds."""

    @property
    def varies(self) -> dict[str, float]:
        """By target: 95th over 5th percentile of Fine over all plans."""
        return {name: _ratio(self.totals["fine"][name]) for name in TARGETS}

    def of(self, target: str, level: str, stand_in: str | None = None) -> Row:
        """Return the row of a stand-in, by default the level's own figure for the target."""
        wanted = (target, level, stand_in or target)
        return next(row for row in self.rows if (row.target, row.level, row.stand_in) == wanted)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, without the plans' own costs."""
        return {
            "model": self.name,
            "machine": self.machine.name,
            "plans": len(self.plans),
            "seed": self.seed,
            "seconds": dict(self.seconds),
            "fine_varies": self.varies,
            "rows": [row.to_json() for row in self.rows],
            "fronts": {k: asdict(v) | {"share": v.share} for k, v in self.fronts.items()},
        }


def levels(
    space: Space,
    machine: Accelerator,
    plans: int = 500,
    seed: int = 0,
    fine: CostModel | None = None,
) -> Fidelity:
    """Cost sampled plans of a space at every level and compare them.

    `fine` replaces the model that the others are held against, by default :class:`Fine`.
    Raises HwflowError for a space without alternatives, or a seed that is none.
    """
    check_seed(seed)
    chosen = sampled(space, plans, seed)
    models: dict[str, CostModel] = {"coarse": Coarse(), "mid": Mid(), "fine": fine or Fine()}
    totals, seconds = {}, {}
    for name, model in models.items():
        start = time.process_time()
        totals[name] = Problem(space, machine, model).totals(chosen)
        seconds[name] = time.process_time() - start
    change = changes(space, chosen)
    return Fidelity(
        space.workload.name, machine, seed, tuple(chosen), change, totals, seconds,
        rows=tuple(_rows(totals, change)),
        fronts={name: _joint(totals, change, name) for name in ("coarse", "mid")},
    )  # fmt: skip


def _rows(totals: Mapping[str, Mapping[str, Floats]], change: Floats) -> list[Row]:
    return [
        _row(target, level, stand_in, totals, change)
        for target in TARGETS
        for level, stand_in in (*(("coarse", n) for n in (target, *COUNTS)), ("mid", target))
    ]


def _row(
    target: str,
    level: str,
    stand_in: str,
    totals: Mapping[str, Mapping[str, Floats]],
    change: Floats,
) -> Row:
    true, guess = totals["fine"][target], totals[level][stand_in]
    return Row(
        target, level, stand_in,
        rank=spearman(guess, true),
        spread=spread(true, guess),
        recall=recall(_points(change, true), _points(change, guess)),
        excess=excess(change, true, guess),
        regret=regret(true, guess, change <= np.median(change)),
    )  # fmt: skip


def _joint(totals: Mapping[str, Mapping[str, Floats]], change: Floats, level: str) -> Recall:
    fine, own = ([totals[k]["latency_s"], totals[k]["energy_j"]] for k in ("fine", level))
    return recall(_points(change, *fine), _points(change, *own))


def _points(change: Floats, *costs: Floats) -> Floats:
    return np.stack([change, *costs], axis=1)


def _ratio(values: Sequence[float] | Floats) -> float:
    low, high = np.percentile(values, (5, 95))
    return float(high / low) if low > 0 else 1.0
