"""Comparing searches on equal terms: the same problem, the same number of evaluations.

    compare(["runs/ddpg-0", "runs/ddpg-1", "runs/random-0"]).rows
    verdict(compare(["a=runs/coarse", "b=runs/fine"], recost=problem))

Runs of one solver with different seeds are one contender. A curve gives, after each evaluation
(probes beyond the limits count as any other), the best quality among the plans that keep the
limits, and the hypervolume of the front so far, measured in one box for all runs: from the best to
the worst feasible value that any of them saw.
"""

from hwflow.compare.comparison import Comparison, Contender, Curve, Row, Spread
from hwflow.compare.fronts import NamedFront, fronts
from hwflow.compare.gather import compare, split
from hwflow.compare.run import Run
from hwflow.compare.words import notes, shown, span, verdict

__all__ = [
    "Comparison",
    "Contender",
    "Curve",
    "NamedFront",
    "Row",
    "Run",
    "Spread",
    "compare",
    "fronts",
    "notes",
    "shown",
    "span",
    "split",
    "verdict",
]
