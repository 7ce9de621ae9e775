"""The hardware side of mixed-precision genomes: CPU time to cost one, and many, as JSON.

    python benchmarks/speed/genomes.py [--model cifar:resnet56] [--on eyeriss] [--level fine]

A genome gives every layer weight and activation bits. Bars for ResNet-56 on the fine level: 1 ms
for one whose layers were all seen before (cached), 1,000 a second in batches. Warm-up searches the
mappings and is told apart; so are genomes whose layer shapes or bits were never seen.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hwflow import plugins
from hwflow.costs.table import TermTable
from hwflow.edits.quantize import quantize
from hwflow.extract import extract
from hwflow.models import load
from hwflow.problem import Problem


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cifar:resnet56")
    parser.add_argument("--on", default="eyeriss")
    parser.add_argument("--level", default="fine")
    parser.add_argument("--bits", default="2,3,4,5,6,7,8")
    parser.add_argument("--genomes", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    space = quantize(extract(load(given.model)), bits=tuple(map(int, given.bits.split(","))))
    problem = Problem(space, given.on, plugins.load("costs", given.level)())
    rng = random.Random(given.seed)
    plans = [space.sample(rng) for _ in range(given.genomes)]
    # A term's whole table, so that every layer is known with all its bits.
    table = TermTable(problem)
    filling = seconds(lambda: [table.table(index) for index in range(len(table.terms))])
    first = seconds(lambda: problem.totals(plans))
    batched = [seconds(lambda: problem.totals(plans)) for _ in range(given.repeats)]
    single = [seconds(lambda p=p: problem.totals([p])) for p in plans[:50]]
    fresh = [space.sample(rng) for _ in range(given.genomes)]
    unseen = seconds(lambda: problem.totals(fresh))
    terms = [seconds(lambda p=p: table.total(p)) for p in fresh[:200]]
    summed = seconds(lambda: table.totals(fresh))
    found = {
        "model": given.model,
        "machine": given.on,
        "level": given.level,
        "choices": len(space),
        "genomes": given.genomes,
        "seed": given.seed,
        "filling_s": filling,
        "entries": table.entries,
        "first_batch_s": first,
        "one_genome_ms": 1e3 * statistics.median(single),
        "batched_per_s": given.genomes / statistics.median(batched),
        "new_genomes_per_s": given.genomes / unseen,
        "one_genome_from_terms_ms": 1e3 * statistics.median(terms),
        "batched_from_terms_per_s": given.genomes / summed,
        "largest_error_of_terms": max(table.error(fresh[:20]).values()),
        "processor": platform.processor() or platform.machine(),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
