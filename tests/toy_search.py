"""A search as a command of its own, to be killed.

toy_search.py RUN LOG SOLVER EVALUATIONS WORKERS SLEEP
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from toy import ToyQuality, toy_problem

from hwflow.cost import Limits
from hwflow.loop import search
from hwflow.problem import Problem
from hwflow.solvers import Solver
from hwflow.space import Builder, Plan


@dataclass(frozen=True)
class SlowQuality(ToyQuality):
    """Takes its time without using the processor."""

    sleep: float = 0.0

    def score(self, plan: Plan, build: Builder) -> float:
        found = super().score(plan, build)
        time.sleep(self.sleep)
        return found


def task(solver: str) -> tuple[Problem, Solver]:
    """Return a problem whose limit rules out some plans, and a solver."""
    limits = Limits(latency_s=1.6e-2)
    if solver == "nsga2":
        from hwflow.solvers.nsga2 import NSGA2

        return toy_problem(limits), NSGA2(seed=3, population=12)
    from hwflow.solvers.random import Random

    return toy_problem(limits), Random(seed=3, batch=12)


def main() -> None:
    run, log, solver, evaluations, workers, sleep = sys.argv[1:]
    quality = SlowQuality(log=Path(log), noise=0.01, sleep=float(sleep))
    problem, searching = task(solver)
    search(
        problem, quality, searching, run, evaluations=int(evaluations), workers=int(workers), seed=5
    )


if __name__ == "__main__":
    main()
