"""Small spaces and made-up comparisons of levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from hwflow.cost import Floats
from hwflow.costs.fine import Fine
from hwflow.edits.quantize import quantize
from hwflow.fidelity import Fidelity, levels
from hwflow.fidelity.compare import COUNTS, TARGETS, Row
from hwflow.fidelity.statistics import Recall, Spread
from hwflow.machine import load_machine
from hwflow.space import Space
from hwflow.testing.toy import toy_workload

GOOD = {"rank": 0.99, "recall": Recall(9, 10), "excess": 0.001, "regret": 0.01}
BAD = {"rank": 0.5, "recall": Recall(2, 10), "excess": 0.2, "regret": 0.3}


def space() -> Space:
    return quantize(toy_workload(), bits=(2, 4, 8))


@cache
def compared(machine: str = "eyeriss", plans: int = 40, seed: int = 0) -> Fidelity:
    return levels(space(), load_machine(machine), plans, seed, Fine())


def made_up(passing: Mapping[str, tuple[str, ...]], varies: float = 2.0) -> Fidelity:
    """A comparison where, for each target, the named levels pass and no other does."""
    pairs = [(t, "coarse", s) for t in TARGETS for s in (t, *COUNTS)]
    pairs += [(t, "mid", t) for t in TARGETS]
    rows = [
        Row(t, level, s, spread=Spread(1.1, 20), **(GOOD if level in passing[t] else BAD))  # type: ignore[arg-type]
        for t, level, s in pairs
    ]
    values = np.linspace(1, varies, 40)
    fine: dict[str, Floats] = dict.fromkeys(TARGETS, values)
    base = compared()
    return replace(base, rows=tuple(rows), totals={**base.totals, "fine": fine})
