"""Calibrated prediction: measured against predicted CPU time of whole networks never fitted.

    taskset -c 0 python benchmarks/papers/hant/prediction.py OUT [--part NAME]

Networks are sampled from a pruning space; every other one calibrates, the rest are held out. One
thread, batch 1, CPU time, ONNX Runtime. Layers are measured once and kept in OUT/latencies.sqlite,
so a run that was killed goes on; the figures go to OUT/prediction.json, part by part.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np

import hwflow as hf
from hwflow.costs.measured.calibration import fit, kind_of
from hwflow.costs.measured.fill import Measuring, fill, missing
from hwflow.costs.measured.level import Measured
from hwflow.costs.measured.networks import whole_network
from hwflow.costs.measured.operators import is_integer
from hwflow.costs.measured.profile import parts_of, whole_samples
from hwflow.costs.measured.runtimes import OnnxRuntime
from hwflow.costs.measured.timing import Repetitions, interleaved, speedup
from hwflow.design import Design
from hwflow.extract import extract
from hwflow.machine import Device
from hwflow.workload import Workload

SPACES = {
    "resnet56": ("cifar:resnet56", None, 48),
    "mobilenet_v2-64": ("torchvision:mobilenet_v2", (3, 64, 64), 24),
}
LAYERS = Measuring(Repetitions(rounds=25, turn_s=5e-4, most=30))
WHOLES = Measuring(Repetitions(rounds=41, turn_s=2e-3))
SEED = 0
SHOWN = ("calibrated", "plain_sum", "scaled_sum", "repeat_spread_median", "speedup", "quartiles_s",
         "cpu_seconds")  # fmt: skip


def sampled(model: str, shape: Any, count: int, device: Device) -> list[Workload]:
    """Return pruned workloads, the pristine one first."""
    workload = extract(hf.load(model, input_shape=shape))
    space = hf.prune(workload)
    problem = hf.Problem(space, device, Measured(), objectives=("accuracy", "latency"))
    rng = random.Random(SEED)
    plans = dict.fromkeys([space.default, *(space.sample(rng) for _ in range(count - 1))])
    return [space.on_paper(plan, Design(workload, problem.machine)).workload for plan in plans]


def prediction(name: str, device: Device) -> dict[str, Any]:
    """Measure one space's networks and their layers; compare predictions on those held out."""
    start = time.process_time()
    networks = sampled(*SPACES[name], device)
    fill(device, missing(device, (layer for w in networks for layer in w)), LAYERS)
    samples = list(
        whole_samples(device, {str(i): w for i, w in enumerate(networks)}, WHOLES).values()
    )
    parts = [parts_of(device, w) for w in networks]
    seconds = np.array([s.quartiles("cpu")[1] for s in samples])
    spread = np.array([s.spread("cpu") for s in samples])
    seen, held = np.arange(0, len(parts), 2).tolist(), np.arange(1, len(parts), 2).tolist()
    found = fit([parts[i] for i in seen], seconds[seen].tolist())
    predicted = np.array([found.predict(p) for p in parts])
    plain = np.array([p.plain_s for p in parts])
    return {
        "networks": len(parts), "held_out": len(held),
        "kinds": sorted({kind_of(la) for w in networks for la in w}),
        "seed": SEED, "calibration": found.to_json(),
        "calibrated": errors(predicted, seconds, spread, held),
        "plain_sum": errors(plain, seconds, spread, held),
        "scaled_sum": errors(plain * np.median(seconds[seen] / plain[seen]), seconds, spread, held),
        "repeat_spread_median": float(np.median(spread)),
        "measured_s": seconds.tolist(), "predicted_s": predicted.tolist(),
        "plain_s": plain.tolist(),
        "spread": spread.tolist(), "machine": dict(device.rows()),
        "cpu_seconds": time.process_time() - start,
    }  # fmt: skip


def errors(predicted: Any, seconds: Any, spread: Any, held: list[int]) -> dict[str, float]:
    """Return how far predictions of the held-out networks are off."""
    off = np.abs(predicted / seconds - 1)[held]
    near = (off <= 0.10) | (off <= 2 * spread[held])
    return {
        "median": float(np.median(off)), "p95": float(np.quantile(off, 0.95)),
        "worst": float(off.max()),
        "within_10": float((off <= 0.10).mean()), "within_10_or_twice_spread": float(near.mean()),
        "rank_correlation": float(np.corrcoef(ranks(predicted[held]), ranks(seconds[held]))[0, 1]),
    }  # fmt: skip


def ranks(values: Any) -> Any:
    return np.argsort(np.argsort(values))


def in_bytes(workload: Workload) -> Workload:
    """Return a workload with 8 bits everywhere but at its outputs."""
    kept = {workload.bit_groups[name] for name in workload.outputs}
    tensors = {n: 8 for n, group in workload.bit_groups.items() if group not in kept}
    return workload.with_bits({la.name: 8 for la in workload.mac_layers}, tensors)


def half_channels(workload: Workload, device: Device) -> Workload:
    """Return a workload with half of the channels of every group."""
    space = hf.prune(workload, keep=(0.5, 1.0))
    plan = tuple(0 for _ in space.choices)
    design = Design(workload, device)  # type: ignore[arg-type]  # devices pass for machines
    return space.on_paper(space.canonical(plan), design).workload


def integers(name: str, device: Device) -> dict[str, Any]:
    """Measure fp32 against int8, and for ResNet-50 half of the channels too, side by side."""
    start = time.process_time()
    base = extract(hf.load(f"torchvision:{name}"))
    variants = {"fp32": base, "int8": in_bytes(base)}
    if name == "resnet50":
        half = half_channels(base, device)
        variants |= {"half": half, "half+int8": in_bytes(half)}
    runtime = OnnxRuntime()
    runs = {key: runtime.loaded(whole_network(w)) for key, w in variants.items()}
    samples = interleaved(runs, Repetitions(rounds=11, turn_s=0.0, warmup=1))
    first = samples["fp32"].cpu_s
    return {
        "quartiles_s": {key: s.quartiles("cpu") for key, s in samples.items()},
        "speedup": {k: vars(speedup(first, s.cpu_s)) for k, s in samples.items() if k != "fp32"},
        "integer_layers": sum(map(is_integer, variants["int8"])),
        "machine": dict(device.rows()), "cpu_seconds": time.process_time() - start,
    }  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("out", type=Path)
    options.add_argument("--part")
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    device = Device(name="cpu", table=given.out / "latencies.sqlite")
    target = given.out / "prediction.json"
    found = json.loads(target.read_text()) if target.exists() else {}
    made = dict.fromkeys(SPACES, prediction) | dict.fromkeys(
        ("efficientnet_b0", "resnet50"), integers
    )
    for name, make in made.items():
        if name in found or given.part not in (None, name):
            continue
        found[name] = make(name, device)
        target.write_text(json.dumps(found, indent=1))
        shown = {key: found[name][key] for key in SHOWN if key in found[name]}
        print(name, json.dumps(shown), flush=True)


if __name__ == "__main__":
    main()
