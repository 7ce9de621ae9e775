"""The integer program on seeded instances: CPU seconds on one thread, as JSON.

    python benchmarks/speed/program.py [--sites 50] [--options 197] [--seeds 3] [--cbc PYTHON]

Each site has a size (log-normal), each option a share of it as its cost and a loss that rises as
the share falls, with noise of 60 %; half of the whole cost is the budget. The bars are 1 s for the
best choice, 10 s for ten diverse answers (overlap 0.7, each within 0.1 % of the best that differs),
1 s for the frontier, whose answers are compared with the exact program at `--budgets` budgets.
`--cbc` names a Python with PuLP: the same instances are solved by CBC to the same gap, 0.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from measured import processor

from hwflow.solvers.frontier import Frontier, frontier
from hwflow.solvers.program import Effort, OneOfEach

T = TypeVar("T")

CBC = """
import json, resource, sys
import pulp
given = json.load(open(sys.argv[1]))
scores, costs, limit = given["scores"], given["costs"], given["limit"]
problem = pulp.LpProblem("one_of_each", pulp.LpMinimize)
x = [[pulp.LpVariable(f"x_{i}_{j}", cat="Binary") for j in range(len(s))]
     for i, s in enumerate(scores)]
problem += pulp.lpSum(a * v for s, r in zip(scores, x) for a, v in zip(s, r))
for row in x:
    problem += pulp.lpSum(row) == 1
problem += pulp.lpSum(b * v for c, r in zip(costs, x) for b, v in zip(c, r)) <= limit
problem.solve(pulp.PULP_CBC_CMD(msg=False, gapRel=0.0, gapAbs=0.0, threads=1))
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"score": pulp.value(problem.objective), "cpu_s": used.ru_utime + used.ru_stime}))
"""


def instance(sites: int, options: int, budgets: int, seed: int) -> OneOfEach:
    """Return a program; option 0 of each site keeps it as it is and loses nothing."""
    rng = np.random.default_rng(seed)
    size = rng.lognormal(0, 0.5, (sites, 1))
    share = rng.beta(2, 2, (sites, options))
    loss = (1 - share) ** 2 * rng.lognormal(-3, 0.7, (sites, 1))
    loss = loss * rng.lognormal(0, 0.6, (sites, options))
    share[:, 0], loss[:, 0] = 1.0, 0.0
    costs = {}
    for number in range(budgets):
        noise = rng.lognormal(0, 0.15 if number else 0.0, (sites, options))
        noise[:, 0] = 1.0
        costs[f"cost{number}"] = list(size * share * noise)
    return OneOfEach(list(loss), costs, dict.fromkeys(costs, 0.5 * float(size.sum())))


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """Return the CPU seconds of a call, and what it returns."""
    start = time.process_time()
    value = call()
    return time.process_time() - start, value


def apart(program: OneOfEach, found: Frontier, budgets: int) -> list[float]:
    """Return by what share the frontier is above the exact program, at evenly spaced budgets."""
    shares = []
    for budget in np.linspace(found.costs[0], found.costs[-1], budgets + 2)[1:-1]:
        exact = program.within(cost0=float(budget)).solve().score
        shares.append(found.at(float(budget)).score / exact - 1 if exact else 0.0)
    return shares


def by_cbc(python: str, program: OneOfEach) -> dict[str, Any]:
    """Return score and CPU seconds of CBC on a program of one budget."""
    plain = {
        "scores": [list(map(float, row)) for row in program.scores],
        "costs": [list(map(float, row)) for row in program.costs["cost0"]],
        "limit": program.budgets["cost0"],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.json"
        path.write_text(json.dumps(plain))
        done = subprocess.run(
            [python, "-c", CBC, str(path)], capture_output=True, text=True, check=True
        )
    return dict(json.loads(done.stdout))


def measure(seed: int, given: argparse.Namespace) -> dict[str, Any]:
    one = instance(given.sites, given.options, 1, seed)
    two = instance(given.sites, given.options, 2, seed)
    solve_s, best = timed(one.solve)
    solve_two_s, _ = timed(two.solve)
    diverse_s, answers = timed(lambda: one.diverse(10, 0.7, Effort(gap=given.gap)))
    frontier_s, found = timed(lambda: frontier(one))
    shares = apart(one, found, given.budgets)
    row = {
        "seed": seed,
        "solve_cpu_s": solve_s,
        "gap": best.gap,
        "solve_two_budgets_cpu_s": solve_two_s,
        "diverse_cpu_s": diverse_s,
        "diverse": [{"score": a.score, "gap": a.gap} for a in answers],
        "frontier_cpu_s": frontier_s,
        "frontier_points": len(found),
        "frontier_worst_share_above_exact": max(shares),
        "kept_options": sum(map(len, one.kept())),
    }
    if given.cbc:
        row["cbc"] = {**by_cbc(given.cbc, one), "own_score": best.score}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=50)
    parser.add_argument("--options", type=int, default=197)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--gap", type=float, default=1e-3, help="of each diverse answer")
    parser.add_argument("--budgets", type=int, default=40)
    parser.add_argument("--cbc", default="", help="a Python with PuLP")
    given = parser.parse_args()
    rows = []
    for seed in range(given.seeds):
        rows.append(measure(seed, given))
        print(f"seed {seed} done", file=sys.stderr)
    settings = vars(given) | {"cbc": bool(given.cbc)}
    print(json.dumps({**settings, "processor": processor(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
