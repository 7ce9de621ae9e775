"""Pruning of any graph: torchvision's networks to half of the latency, exported and compared.

Random weights, so no accuracy; machine systolic-16x16, fine level, native image sizes. Each network
is pruned to half of its latency, or to the least that was found, which is then stated with what
bars it; built; read back and compared with the paper; run; written as ONNX and compared with ONNX
Runtime on four images (two for segmentation networks, as they are large). Every network runs in a
process of its own, whose peak memory is its own.
"""

from __future__ import annotations

import math
import multiprocessing
import resource
import tempfile
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from hwflow.errors import HwflowError
from hwflow.export import to_onnx
from hwflow.network import Network
from hwflow.reproduce import without_data as paper
from hwflow.reproduce.stages import Plain, Settings, kept
from hwflow.running import output

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
QUICK = ("squeezenet1_1", "mobilenet_v3_small")


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


def one(name: str) -> Plain:
    """Prune, build, check and export one network; return its figures, or its fault."""
    torch.set_num_threads(1)
    result: Plain = {"network": name, "machine": MACHINE}
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


def steps(name: str, result: Plain, times: Times) -> None:
    """Do it, step by step; what is known goes into `result` at once."""
    size, images = (SEGMENTATION, 2) if segments(name) else (None, 4)
    with times.step("load"):
        net = paper.network(name, size, images)
    result["input"] = list(net.example.shape[1:])
    with times.step("groups"):  # export, groups, cost of the original
        asked = paper.problem(net, MACHINE, {"latency_s": HALF})
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


def run_and_export(made: Network, result: Plain, times: Times) -> None:
    """Run the pruned network, write it as ONNX and compare."""
    with times.step("forward"), torch.no_grad():
        assert made.calibration is not None  # `paper.network` gives some
        found = output(made.module, made.calibration)
    scale = float(found.abs().max())
    spread = float((found[1:] - found[:1]).abs().max())
    with times.step("export"), tempfile.TemporaryDirectory() as folder:
        report = to_onnx(made, Path(folder) / "pruned.onnx")
    result["onnx"] = {
        "bytes": report.size_bytes, "images": report.inputs, "agreement": report.agreement,
        "relative_difference": report.max_difference / scale,
        "images_differ": spread / scale, "runtime": report.runtime,
    }  # fmt: skip


def any_graph_stage(settings: Settings) -> Plain:
    """Prune every network; those that were done before are read."""
    rows = []
    for name in QUICK if settings.quick else NETWORKS:
        settings.say(f"  {name}")
        rows.append(kept(settings.out / "any-graph" / f"{name}.json", partial(apart, name)))
    about = {"machine": MACHINE, "level": "fine", "step": paper.STEP, "asked": HALF}
    return about | {"weights": "random: no accuracy", "results": rows}


def apart(name: str) -> Plain:
    """Do one network in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(one, name).result()
