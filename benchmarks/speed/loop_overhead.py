"""Share of a search that is spent outside of quality evaluation, as JSON.

    python benchmarks/speed/loop_overhead.py [--model cifar:resnet20] [--milliseconds 20]

A real search (real space, Mid cost, study on the disk, progress told after every trial) with a
quality that does nothing but use so many milliseconds of CPU time, far less than any real one does.
The bar is 5 %. Loading and extraction come before the search and are not part of it. The wall share
also counts waiting for the disk; on a shared machine it is the noisier of the two. Each figure is
the median of the repetitions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hwflow.costs.mid import Mid
from hwflow.edits.quantize import quantize
from hwflow.loop import Progress, search
from hwflow.models import load
from hwflow.problem import Problem
from hwflow.solvers.nsga2 import NSGA2
from hwflow.solvers.random import Random
from hwflow.space import Builder, Plan


class Burning:
    """A quality that uses a fixed CPU time, and adds up what it used."""

    name = "burning"

    def __init__(self, seconds: float) -> None:
        self.seconds, self.cpu, self.wall = seconds, 0.0, 0.0

    def score(self, plan: Plan, build: Builder) -> float:
        """Use up the time; return any figure."""
        cpu, wall = time.process_time(), time.perf_counter()
        while time.process_time() - cpu < self.seconds:
            pass
        self.cpu += time.process_time() - cpu
        self.wall += time.perf_counter() - wall
        return 1 - 0.01 * sum(2.0**-option for option in plan)

    def digest(self) -> str:
        """Return what identifies it."""
        return "burning"


def measure(
    problem: Problem, solver: NSGA2 | Random, seconds: float, evaluations: int
) -> dict[str, Any]:
    """Search once into a new folder; return times and shares."""
    quality, seen = Burning(seconds), list[Progress]()
    with tempfile.TemporaryDirectory() as folder:
        cpu, wall = time.process_time(), time.perf_counter()
        search(
            problem, quality, solver, Path(folder) / "run", evaluations=evaluations,
            on_trial=seen.append,
        )  # fmt: skip
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "solver": solver.name,
        "evaluations": seen[-1].evaluated,
        "cpu_s": round(cpu, 3),
        "wall_s": round(wall, 3),
        "share_outside_cpu": round(1 - quality.cpu / cpu, 4),
        "share_outside_wall": round(1 - quality.wall / wall, 4),
    }


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure over repetitions."""
    figures = {key: value for key, value in runs[0].items() if isinstance(value, float)}
    return runs[0] | {key: statistics.median(run[key] for run in runs) for key in figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cifar:resnet20")
    parser.add_argument("--on", default="eyeriss")
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--milliseconds", type=float, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    space = quantize(load(given.model), bits=(2, 3, 4, 6, 8))
    problem = Problem(space, given.on, Mid())
    seconds = given.milliseconds / 1000
    runs = [
        median([measure(problem, solver, seconds, given.evaluations) for _ in range(given.repeats)])
        for solver in (NSGA2(), Random())
    ]
    result = {
        **vars(given),
        "choices": len(space),
        "runs": runs,
        "bar": 0.05,
        "host": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
