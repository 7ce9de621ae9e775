"""CPU time of the fine level per new (layer shape, bit pair), compilation apart; JSON on stdout.

    python benchmarks/speed/fine_layers.py [--network torchvision:resnet50] [--objective latency]

For every distinct convolution and linear shape of the network, on each machine, in the default and
the full mapspace: CPU time to the proof, leaves bounded, inner tiles visited, gap, the number of
mappings in the mapspace before capacity is asked, and what the default loses against the full one.
Then sixteen bit pairs of one shape, and the whole network from an empty cache and from a warm one.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import time
from math import ceil
from typing import Any

import numpy as np

from hwflow.costs.fine import Fine
from hwflow.costs.fine.mapspace import mapspace
from hwflow.costs.fine.rates import OperandBits
from hwflow.costs.fine.result import Settings
from hwflow.costs.fine.search import best_mapping
from hwflow.costs.fine.shape import DIMS, Shape, shape_of
from hwflow.design import Design
from hwflow.extract import extract
from hwflow.machine import Accelerator, load_machine
from hwflow.models.loading import load

PAIRS = [(w, a) for w in (2, 4, 6, 8) for a in (2, 4, 6, 8)]


def useful(trips: int) -> int:
    """Count the distinct numbers of trips that tiles of a loop can have."""
    return len({ceil(trips / size) for size in range(1, trips + 1)})


def mapspace_size(machine: Accelerator, shape: Shape) -> float:
    """Count mappings of the full mapspace before capacity: tiles of PE and buffer, 9 orders."""
    space, total = mapspace(machine), 0.0
    pe_loops = {DIMS[d] for d in space.pe_loops}
    counted: dict[tuple[str, int], int] = {}
    for spread in space.unrollings(shape).tolist():
        product = 9.0
        for d, pes, bound in zip(DIMS, spread, shape.dims, strict=True):
            key = (d, ceil(bound / pes))
            if key not in counted:
                counted[key] = ways(d, key[1], d in pe_loops)
            product *= counted[key]
        total += product
    return total


def ways(loop: str, steps: int, in_pe: bool) -> int:
    """Count pairs of a tile in the PE and a tile in the buffer along one loop."""
    trips = {ceil(steps / size) for size in range(1, steps + 1)} if in_pe else {steps}
    return sum(useful(t) if loop in "NKCPQ" else 1 for t in trips)


def timed(machine: Accelerator, shape: Shape, bits: OperandBits, settings: Settings) -> Any:
    start = time.process_time()
    found = best_mapping(machine, shape, bits, settings)
    return (time.process_time() - start) * 1e3, found


def one_shape(machine: Accelerator, shape: Shape, objective: str, listed: Any) -> dict[str, Any]:
    bits, row = OperandBits(8, 8, 8), {"loops": list(shape.dims)}
    listed.cache_clear()
    for name, full in (("default", False), ("full", True)):
        ms, found = timed(machine, shape, bits, Settings(objective, full))
        row[name] = {
            "ms": ms, "leaves": found.leaves, "visits": found.visits, "gap": found.gap,
            "key": found.key,
        }  # fmt: skip
    row["loss"] = row["default"]["key"] / row["full"]["key"] - 1
    row["mapspace"] = mapspace_size(machine, shape)
    listed.cache_clear()
    start = time.process_time()
    for weight, read in PAIRS:
        best_mapping(machine, shape, OperandBits(weight, read, read), Settings(objective))
    row["sixteen_pairs_ms"] = (time.process_time() - start) * 1e3
    return row


def one_machine(workload: Any, name: str, objective: str) -> dict[str, Any]:
    from hwflow.costs.fine import mapspace as module

    machine = load_machine(name)
    shapes = list(dict.fromkeys(shape_of(layer) for layer in workload.mac_layers))
    best_mapping(machine, shapes[0], OperandBits(3, 3, 3))  # compiled kernels are loaded
    rows = [one_shape(machine, shape, objective, module._unrollings) for shape in shapes]
    whole = {}
    design = Design(workload, machine)
    for kind, full in (("default", False), ("full", True)):
        module._unrollings.cache_clear()
        model = Fine(objective, full=full)
        for state in ("empty_cache_s", "cached_s"):
            start = time.process_time()
            model.cost(design)
            whole[f"{kind}_{state}"] = time.process_time() - start
    start = time.process_time()
    for _ in range(50):
        model.cost(design)
    per_layer = (time.process_time() - start) / 50 / len(workload.layers)
    return {
        "machine": name,
        "shapes": rows,
        "summary": {kind: summary(rows, kind) for kind in ("default", "full")},
        "sixteen_pairs_median_ms": statistics.median(r["sixteen_pairs_ms"] for r in rows),
        "loss_mean": float(np.mean([r["loss"] for r in rows])),
        "loss_worst": max(r["loss"] for r in rows),
        "network": whole,
        "cached_us_per_layer": per_layer * 1e6,
    }


def summary(rows: list[dict[str, Any]], kind: str) -> dict[str, float]:
    times = [row[kind]["ms"] for row in rows]
    return {
        "median_ms": statistics.median(times),
        "worst_ms": max(times),
        "worst_gap": max(row[kind]["gap"] for row in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="torchvision:resnet50")
    parser.add_argument("--machines", nargs="+", default=["eyeriss", "systolic-16x16"])
    parser.add_argument("--objective", default="latency", choices=["latency", "energy", "edp"])
    asked = parser.parse_args()
    workload = extract(load(asked.network))
    found = [one_machine(workload, name, asked.objective) for name in asked.machines]
    report = {
        "network": asked.network,
        "objective": asked.objective,
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "machines": found,
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
