"""Pruning of any graph: torchvision's networks to half of the latency, exported and compared.

    python benchmarks/papers/hw_flow/any_graph.py [--networks NAME ...] [--table]

Random weights, so no accuracy; machine systolic-16x16, fine level, native image sizes. Each network
is pruned to half of its latency, or to the least that was found, which is then stated with what
bars it; built; read back and compared with the paper; run; written as ONNX and compared with ONNX
Runtime on four images (two for segmentation networks, as they are large). Every network runs in a
process of its own, whose peak memory is its own. Results go to any_graph.json as they come: what is
there is not done again. `--table` prints the table of docs/any-graph.md from it.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_suffix(".json")
MACHINE = "systolic-16x16"
HALF = 0.5
SEGMENTATION = 513
"""Rows and columns of the images of segmentation networks, as in the papers of DeepLab."""

NETWORKS = (
    "resnet18", "resnet50", "wide_resnet50_2", "resnext50_32x4d", "vgg16_bn", "squeezenet1_1",
    "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "mnasnet1_0", "efficientnet_b0",
    "efficientnet_v2_s", "densenet121", "regnet_y_400mf", "regnet_x_400mf", "shufflenet_v2_x1_0",
    "googlenet", "inception_v3", "convnext_tiny", "vit_b_16", "swin_t", "maxvit_t",
    "deeplabv3_resnet50", "fcn_resnet50", "lraspp_mobilenet_v3_large",
)  # fmt: skip


class Times:
    """Wall and CPU seconds of named steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Take the time of a step."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            self.seconds[name] = {key: round(value, 2) for key, value in spent.items()}


def segments(name: str) -> bool:
    """Tell whether a network segments images."""
    return name.startswith(("deeplab", "fcn", "lraspp"))


def one(name: str) -> dict[str, Any]:
    """Prune, build, check and export one network; return its figures, or its fault."""
    from hwflow.errors import HwflowError

    result: dict[str, Any] = {"network": name, "machine": MACHINE}
    times = Times()
    try:
        steps(name, result, times)
    except HwflowError as error:
        result["fault"] = str(error)
    except Exception as error:  # a fault of ours, recorded as such
        traceback.print_exc()
        result["fault"] = f"NOT EXPLAINED: {type(error).__name__}: {error}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result | {"seconds": times.seconds, "peak_mib": round(peak)}


def steps(name: str, result: dict[str, Any], times: Times) -> None:
    """Do it, step by step; what is known goes into `result` at once."""
    import without_data as paper

    size, images = (SEGMENTATION, 2) if segments(name) else (None, 4)
    with times.step("load"):
        net = paper.network(name, size, images)
    result["input"] = list(net.example.shape[1:])
    with times.step("groups"):  # export, groups, cost of the original
        asked = paper.problem(net, MACHINE, latency_s=HALF)
    space = asked.space
    result |= {"groups": len(space), "log10_plans": round(math.log10(space.size), 1)}
    with times.step("search"):
        plan, refused = paper.found(asked)
    result |= {"plan": list(plan), "before": paper.totals(asked, space.default)}
    result |= {"after": paper.totals(asked, plan), "half_reached": not refused}
    kept = paper.filters(paper.on_paper(asked, plan)) / paper.filters(asked.design)
    result["filters_kept"] = round(kept, 4)
    if refused:
        result |= {"refused": refused, "bars": paper.barred_by(asked, plan, "latency_s")}
    with times.step("build"):
        made = paper.pruned(asked, plan)
    result["square"] = True
    run_and_export(made, result, times)


def run_and_export(made: Any, result: dict[str, Any], times: Times) -> None:
    """Run the pruned network, write it as ONNX and compare."""
    import torch

    import hwflow as hf
    from hwflow.running import output

    with times.step("forward"), torch.no_grad():
        found = output(made.module, made.calibration)
    scale = float(found.abs().max())
    spread = float((found[1:] - found[:1]).abs().max())
    with times.step("export"), tempfile.TemporaryDirectory() as folder:
        report = hf.to_onnx(made, Path(folder) / "pruned.onnx")
    result["onnx"] = {
        "bytes": report.size_bytes, "images": report.inputs, "agreement": report.agreement,
        "relative_difference": report.max_difference / scale,
        "images_differ": spread / scale, "runtime": report.runtime,
    }  # fmt: skip


def in_order(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the results in the order of NETWORKS."""
    return sorted(rows.values(), key=lambda row: (*NETWORKS, row["network"]).index(row["network"]))


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as a table in Markdown."""
    lines = [
        "| network | image | groups | latency | of it left | MACs left | energy left "
        "| filters kept | ONNX Runtime: agrees, largest difference "
        "| search, build, export (CPU s) | memory |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(line, rows)])


def line(row: dict[str, Any]) -> str:
    """Return one network's line."""
    if "fault" in row:
        return f"| {row['network']} | {row['fault']} |" + " |" * 9
    before, after, onnx, spent = row["before"], row["after"], row["onnx"], row["seconds"]
    left = {key: f"{100 * after[key] / before[key]:.1f} %" for key in before}
    mark = "" if row["half_reached"] else " (least)"
    cpu = ", ".join(f"{spent[key]['cpu']:.0f}" for key in ("search", "build", "export"))
    return (
        f"| {row['network']} | {row['input'][1]} | {row['groups']} "
        f"| {1e3 * before['latency_s']:.3g} → {1e3 * after['latency_s']:.3g} ms "
        f"| {left['latency_s']}{mark} | {left['macs']} | {left['energy_j']} "
        f"| {100 * row['filters_kept']:.0f} % "
        f"| {100 * onnx['agreement']:.4g} %, {onnx['relative_difference']:.1g} "
        f"| {cpu} | {row['peak_mib'] / 1024:.1f} GiB |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--table", action="store_true", help="print the table, do nothing")
    parser.add_argument("--again", action="store_true", help="also what is done already")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one)))
        return
    import without_data as paper

    rows = {row["network"]: row for row in paper.known(RESULTS)}
    for name in () if given.table else given.networks:
        if name not in rows or given.again:
            words = [sys.executable, __file__, "--one", name]
            rows[name] = json.loads(subprocess.check_output(words).splitlines()[-1])
            about = {"machine": MACHINE, "asked": HALF, "weights": "random: no accuracy"}
            paper.write(RESULTS, about, in_order(rows))
            print(line(rows[name]), flush=True)
    print(table(in_order(rows)))


if __name__ == "__main__":
    main()
