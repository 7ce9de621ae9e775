"""Speed of pruning as JSON: plans on paper, the agent's own steps, networks made smaller.

    python benchmarks/speed/pruning.py [--quick]

CPU time, one thread.

paper  one random pruning plan of ResNet-50 costed on the fine level when the mappings of its layers
       are known (bar: 5 ms): every plan is costed twice, the second time by a new problem that
       remembers no plan. Once more for plans that change one choice of the one before.
agent  a step of DDPG's walk over ResNet-56 below half of the latency (bar: 20 ms), with a quality
       that takes no time: the time from one trial to the next over the steps of an episode, so that
       state, wall, learning, the journal and the costs of plans that nobody has seen all count.
apply  channels really taken out of ResNet-56, without and with statistics taken anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch

from hwflow.cost import Limits
from hwflow.costs.fine import Fine
from hwflow.costs.fine.cache import user_file
from hwflow.edits.prune import prune
from hwflow.loop import search
from hwflow.models import load
from hwflow.problem import Problem
from hwflow.quality.saliency import Saliency
from hwflow.solvers.ddpg import DDPG
from hwflow.space import Plan, Space

MACHINE = "eyeriss"


def milliseconds(call: Callable[[], object]) -> float:
    """Return the CPU time of a call."""
    start = time.process_time()
    call()
    return 1e3 * (time.process_time() - start)


def summary(times: Sequence[float]) -> dict[str, float]:
    """Return median, mean and 90th percentile."""
    ranked = sorted(times)
    return {
        "median_ms": round(statistics.median(ranked), 3),
        "mean_ms": round(statistics.fmean(ranked), 3),
        "p90_ms": round(ranked[int(0.9 * (len(ranked) - 1))], 3),
    }


def paper(plans: int) -> dict[str, Any]:
    """Cost random plans of ResNet-50, and plans that differ in one choice."""
    net, cost = load("torchvision:resnet50"), Fine(cache=user_file())
    space, rng = prune(net), random.Random(0)
    sampled = [space.sample(rng) for _ in range(plans)]
    walked = walk(space, plans, rng)
    Problem(space, MACHINE, cost).totals([*sampled, *walked])
    return {
        "network": "resnet50", "groups": len(space), "plans": plans,
        "random": summary([once(space, cost, plan) for plan in sampled]),
        "one choice changed": summary([once(space, cost, plan) for plan in walked]),
    }  # fmt: skip


def once(space: Space, cost: Fine, plan: Plan) -> float:
    """Return the CPU time to cost a plan by a new problem, which remembers no plan."""
    problem = Problem(space, MACHINE, cost)
    return milliseconds(lambda: problem.totals([plan]))


def walk(space: Space, length: int, rng: random.Random) -> list[Plan]:
    """Return plans each of which changes one choice of the one before."""
    plan, found = list(space.sample(rng)), []
    for _ in range(length):
        place = rng.randrange(len(plan))
        plan[place] = rng.randrange(len(space.choices[place].options))
        found.append(tuple(plan))
    return found


def agent(warmup: int, episodes: int) -> dict[str, Any]:
    """Let DDPG walk; return the CPU time of a step in the episodes in which it learns."""
    cost = Fine(cache=user_file())
    space = prune(load("cifar:resnet56"))
    free = Problem(space, MACHINE, cost, objectives=("accuracy", "latency"))
    half = free.costs([space.default])[0].total["latency_s"] / 2
    problem = Problem(
        space, MACHINE, cost, Limits(latency_s=half), objectives=("accuracy", "latency")
    )
    ends: list[float] = []
    search(
        problem, Saliency(space), DDPG(seed=0, warmup=warmup), evaluations=warmup + episodes,
        on_trial=lambda progress: ends.append(time.process_time()),
    )  # fmt: skip
    steps = len(space)
    spent = [1e3 * (b - a) / steps for a, b in pairwise(ends)]
    return {
        "network": "resnet56", "steps": steps, "episodes": len(spent),
        "warm-up": summary(spent[2:warmup]), "learning": summary(spent[warmup + 1 :]),
    }  # fmt: skip


def apply(plans: int) -> dict[str, Any]:
    """Make pruned networks of ResNet-56."""
    net, rng = load("cifar:resnet56"), random.Random(0)
    bare = prune(net)
    mended = prune(net.calibrated(torch.randn(64, 3, 32, 32)))
    sampled = [bare.sample(rng) for _ in range(plans)]
    for space in (bare, mended):
        space.apply(sampled[0])  # the export that every plan shares
    found = {
        key: summary([milliseconds(lambda p=plan, s=space: s.apply(p)) for plan in sampled])
        for key, space in (("channels removed", bare), ("statistics too", mended))
    }
    return {"network": "resnet56", "plans": plans, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--parts", nargs="+", default=["paper", "agent", "apply"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    fewer = 5 if given.quick else 1
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "paper": lambda: paper(100 // fewer),
        "agent": lambda: agent(20 // fewer, 40 // fewer),
        "apply": lambda: apply(20 // fewer),
    }
    result = {
        **{part: made[part]() for part in given.parts},
        "bars": {"paper_ms": 5, "agent_ms": 20},
        "machine": MACHINE,
        "host": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "python": sys.version.split()[0],
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
