"""Which definition of saliency? Plans found without data, measured afterwards.

    python benchmarks/papers/hw_flow/saliency_definitions.py --weights FOLDER --data DATA

FOLDER holds cifar10jpeg_resnet20.safetensors and cifar10jpeg_resnet56.safetensors, DATA the images
that unpack_cifar10_jpeg.py writes. For each network and machine the best plan below half of the
latency and half of the energy is sought under each definition: how heavy the groups are (as the
weights of their layers, the roots of these, the number of layers, their MACs, or all the same), and
whether shares of the scores are averaged or their logarithms. No data is used for that. Then the
accuracy on 1,000 validation images is measured, with statistics of batch normalisation taken anew
and no fine-tuning. Writes saliency_definitions.json.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from math import log, sqrt
from pathlib import Path
from typing import Any

from hwflow.coupling import ChannelGroup, couple
from hwflow.data import load_data
from hwflow.models import load
from hwflow.problem import Problem
from hwflow.quality.accuracy import Accuracy
from hwflow.reproduce import without_data as paper
from hwflow.solvers.sequential import best_plan
from hwflow.space import Space
from hwflow.workload import Layer

RESULTS = Path(__file__).with_suffix(".json")
CASES = tuple(product(("resnet20", "resnet56"), ("systolic-8x8", "eyeriss")))
WEIGHTS = ("roots", "params", "layers", "macs", "equal")
MEANS = ("logarithms", "shares")
HALF = {"latency_s": 0.5, "energy_j": 0.5}
IMAGES = 1000


def weight(space: Space, group: ChannelGroup, kind: str) -> float:
    """Return how much a group weighs."""

    def worth(layer: Layer) -> float:
        known = {"params": layer.weights, "layers": 1, "macs": layer.macs}
        return sqrt(layer.weights) if kind == "roots" else known[kind]

    if kind == "equal":
        return 1.0
    members = [m for m in group.members if m.side == "out" and space.workload[m.layer].is_mac]
    return sum(
        worth(space.workload[m.layer])
        * sum(map(len, m.channels))
        / space.workload[m.layer].out_channels
        for m in members
    )


def losses(space: Space, kind: str, mean: str) -> list[list[float]]:
    """Return what each option of each choice loses under a definition."""
    part: Any = space.parts[0]
    coupling = couple(space.workload, part.exclude)
    found = []
    for choice in part.choices:
        group = coupling.group(choice.name.partition(":")[2])
        scores = part.scores[group.name]
        kept = (part.kept[group.name][option] for option in choice.options)
        shares = [sum(scores[unit] for unit in units) / sum(scores) for units in kept]
        lost = [1 - share if mean == "shares" else -log(share) for share in shares]
        found.append([weight(space, group, kind) * value for value in lost])
    most = max(value for row in found for value in row)
    return [[value / most for value in row] for row in found]


def case(asked: Problem, quality: Accuracy) -> list[dict[str, Any]]:
    """Return the plan of each definition with its accuracy."""
    rows = []
    for kind, mean in product(WEIGHTS, MEANS):
        plan = best_plan(asked, losses(asked.space, kind, mean))
        before, after = paper.totals(asked, asked.space.default), paper.totals(asked, plan)
        accuracy = quality.score(plan, asked.space.apply)
        rows.append({
            "weights": kind, "mean_of": mean, "accuracy": accuracy, "plan": list(plan),
            "shares": {key: round(after[key] / before[key], 4) for key in before},
        })  # fmt: skip
        print(kind, mean, accuracy, flush=True)
    return rows


def table(results: list[dict[str, Any]]) -> str:
    """Return the accuracies as a table in Markdown."""
    heads = [f"{row['network']}, {row['machine']}" for row in results]
    lines = [
        f"| weight of a group | mean of | {' | '.join(heads)} |",
        "|---" * (2 + len(heads)) + "|",
    ]
    for index, (kind, mean) in enumerate(product(WEIGHTS, MEANS)):
        cells = [f"{100 * row['definitions'][index]['accuracy']:.1f} %" for row in results]
        lines.append(f"| {kind} | {mean} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write(about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write the results, a row a line."""
    head = json.dumps(about, indent=1)[:-2]
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    RESULTS.write_text(f'{head},\n "results": [\n{lines}\n ]\n}}\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--table", action="store_true", help="print the table, do nothing")
    given = parser.parse_args()
    results = json.loads(RESULTS.read_text())["results"] if RESULTS.exists() else []
    done = {(row["network"], row["machine"]) for row in results}
    for name, machine in () if given.table else CASES:
        if (name, machine) not in done:
            file = given.weights / f"cifar10jpeg_{name}.safetensors"
            net = load(f"cifar:{name}", weights=file)
            data = load_data(given.data, net)
            asked = paper.problem(net.calibrated(data.calibration(256)), machine, HALF, step=1)
            found = case(asked, Accuracy(data.val, limit=IMAGES))
            results.append({"network": name, "machine": machine, "definitions": found})
            about = {"limits": HALF, "step": 1, "images": IMAGES, "fine_tuning": "none"}
            write(about, results)
    print(table(results))


if __name__ == "__main__":
    main()
