"""Which blocks of EfficientNet-B0 an integer program sets to 8 bits on this CPU.

    taskset -c 0 python benchmarks/papers/hant/eight_bits.py OUT

Random weights, so nothing is said of accuracy: the program minimises latency, and at each site has
fp32 and 8 bits to choose from. Then fp32, all in 8 bits and what it chose are timed side by side:
one thread, batch 1, CPU time, ONNX Runtime. Layers are kept in OUT/latencies.sqlite, so a run that
was killed goes on; the figures go to OUT/eight_bits.json.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from prediction import in_bytes

import hwflow as hf
from hwflow.cost import Limits
from hwflow.costs.measured.level import Measured
from hwflow.costs.measured.networks import whole_network
from hwflow.costs.measured.runtimes import OnnxRuntime
from hwflow.costs.measured.timing import Repetitions, interleaved, speedup
from hwflow.design import Design
from hwflow.edits.replace import OPERATION
from hwflow.extract import extract
from hwflow.machine import Device
from hwflow.solvers.program import OneOfEach
from hwflow.solvers.sequential import around

MODEL = "torchvision:efficientnet_b0"
OPTIONS = ("keep", "quantized_w8_a8")
ROUNDS = 41


def problem_of(device: Device) -> hf.Problem:
    """Return the choice between fp32 and 8 bits at every site, priced by measured layers."""
    space = hf.replace(extract(hf.load(MODEL)), options=OPTIONS)
    problem = hf.Problem(space, device, Measured(), objectives=("latency",))
    problem.cost.prepare(problem)
    whole = problem.total(space.default)
    return replace(problem, below=Limits.read(("latency=100%",), whole))


def chosen(problem: hf.Problem) -> tuple[hf.Plan, dict[str, dict[str, Any]]]:
    """Return the plan of least latency by the program, and what each option adds at its site."""
    space = problem.space
    nothing = [np.zeros(len(choice.options)) for choice in space.choices]
    (costs,) = around(problem, nothing, space.default).costs.values()
    plan = space.canonical(OneOfEach(list(costs), {}, {}).solve().options)
    rows = {}
    for row, choice, option in zip(costs, space.choices, plan, strict=True):
        change = (np.asarray(row) - row[choice.default]) * 1e6
        rows[choice.name.removeprefix(OPERATION)] = {
            "chosen": choice.options[option],
            "more_us": dict(zip(map(str, choice.options), change.tolist(), strict=True)),
        }
    return plan, rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("out", type=Path)
    out = options.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    start = time.process_time()
    device = Device(name="cpu", table=out / "latencies.sqlite")
    problem = problem_of(device)
    plan, sites = chosen(problem)
    space, base = problem.space, problem.space.workload
    networks = {
        "fp32": base,
        "int8": in_bytes(base),
        "program": space.on_paper(plan, Design(base, problem.machine)).workload,
    }
    runtime = OnnxRuntime()
    runs = {name: runtime.loaded(whole_network(w)) for name, w in networks.items()}
    samples = interleaved(runs, Repetitions(rounds=ROUNDS, turn_s=0.0, warmup=2))
    first = samples["fp32"].cpu_s
    found = {
        "model": MODEL, "sites": sites, "tabled_fp32_s": problem.total(space.default)["latency_s"],
        "quartiles_s": {name: s.quartiles("cpu") for name, s in samples.items()},
        "speedup": {n: vars(speedup(first, s.cpu_s)) for n, s in samples.items() if n != "fp32"},
        "machine": dict(device.rows()), "cpu_seconds": time.process_time() - start,
    }  # fmt: skip
    (out / "eight_bits.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
