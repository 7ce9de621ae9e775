"""The hardware side without data: half of the latency and half of the energy, layer by layer.

ResNet-50 (224 x 224) and DeepLabv3-ResNet50 (513 x 513) on three machines, fine level, mappings of
least latency. Each is pruned below both limits together; of all plans that keep them, the one of
most saliency (hwflow.quality.saliency). A table for each network and machine has every layer before
and after. Weights are random: accuracy cannot be measured without trained ones, and nothing here
says what it would be.
"""

from __future__ import annotations

import csv
import time
from collections import Counter
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from hwflow.cost import LayerCost
from hwflow.design import Design
from hwflow.problem import Problem
from hwflow.quality.saliency import Saliency
from hwflow.reproduce import without_data as paper
from hwflow.reproduce.stages import Plain, Settings, kept
from hwflow.space import Plan
from hwflow.workload import Layer

NETWORKS = {"resnet50": None, "deeplabv3_resnet50": 513}
MACHINES = ("eyeriss", "systolic-16x16", "systolic-8x8")
HALF = {"latency_s": 0.5, "energy_j": 0.5}
METRICS = ("macs", "latency_s", "energy_j", "dram_bytes")
ACCURACY = "not measurable: random weights, no data"


def solved(name: str, machine: str, folder: Path) -> Plain:
    """Prune one network for one machine; write its layers to `folder` and return its totals."""
    start = time.process_time()
    net = paper.network(name, NETWORKS[name], images=1)
    asked = paper.problem(net, machine, HALF)
    plan, refused = paper.found(asked)
    seconds = time.process_time() - start
    rows = layers(asked, plan)
    target = folder / f"hardware_side-{name}-{machine}.csv"
    with target.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    paper.pruned(asked, plan)  # raises where the network is not what was costed
    before, after = paper.totals(asked, asked.space.default), paper.totals(asked, plan)
    return {
        "network": name, "machine": machine, "input": list(net.example.shape[1:]),
        "refused": refused, "groups": len(asked.space),
        "plan": list(plan), "saliency": Saliency(asked.space).of_plan(plan),
        "before": before, "after": after,
        "times_less": {key: round(before[key] / after[key], 3) for key in before},
        "latency_bound_by": {"before": bounds(rows, "before"), "after": bounds(rows, "after")},
        "seconds_cpu": round(seconds, 1), "layers": target.name,
    }  # fmt: skip


def layers(asked: Problem, plan: Plan) -> list[dict[str, Any]]:
    """Return a row for each layer: what it is, and what it costs before and after."""
    designs = [paper.on_paper(asked, p) for p in (asked.space.default, plan)]
    costs = asked.cost.costs(designs)
    pairs = zip(costs[0].layers, costs[1].layers, strict=True)
    return [row(old, new, designs) for old, new in pairs]


def row(old: LayerCost, new: LayerCost, designs: list[Design]) -> dict[str, Any]:
    """Return one layer's row; latency in s, energy in J."""
    first, second = (design.workload[old.name] for design in designs)
    found: dict[str, Any] = {"layer": old.name, "op": first.op, "kernel": kernel(first)}
    for side, one in (("in", "in_channels"), ("out", "out_channels")):
        for when, layer in (("before", first), ("after", second)):
            found[f"{side}_channels_{when}"] = getattr(layer, one) if layer.is_mac else ""
    for name in METRICS:
        found |= {f"{name}_before": number(old, name), f"{name}_after": number(new, name)}
    return found | {"bound_by_before": old.bound_by, "bound_by_after": new.bound_by}


def kernel(layer: Layer) -> str:
    """Return the kernel as "3x3"; nothing for layers without one."""
    return "x".join(map(str, layer.kernel)) if layer.op == "conv" else ""


def number(cost: LayerCost, name: str) -> float:
    """Return a cost to six digits."""
    return float(f"{cost.values.get(name, 0.0):.6g}")


def bounds(rows: list[dict[str, Any]], when: str) -> dict[str, float]:
    """Return the share of the latency that is bound by each part of the machine."""
    found: Counter[str] = Counter()
    for entry in rows:
        found[entry[f"bound_by_{when}"]] += entry[f"latency_s_{when}"]
    whole = sum(found.values())
    return {part: round(value / whole, 4) for part, value in found.items() if value}


def hardware_side_stage(settings: Settings) -> Plain:
    """Prune both networks for three machines; those that were done before are read."""
    folder, rows = settings.out / "hardware-side", []
    folder.mkdir(parents=True, exist_ok=True)
    for name, machine in (
        [("resnet50", "eyeriss")] if settings.quick else product(NETWORKS, MACHINES)
    ):
        settings.say(f"  {name} on {machine}")
        file = folder / f"{name}-{machine}.json"
        rows.append(kept(file, partial(solved, name, machine, folder)))
    return {
        "level": "fine",
        "step": paper.STEP,
        "accuracy": ACCURACY,
        "limits": HALF,
        "results": rows,
    }
