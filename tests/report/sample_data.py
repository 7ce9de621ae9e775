"""Reports of realistic size: residual networks of any depth, costed for real, scored by a formula.

Run as a script it writes a sample: python tests/report/sample_data.py FILE.html [BLOCKS] [TRIALS]
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from hwflow.cost import Cost
from hwflow.costs.mid import Mid, ops_roofline
from hwflow.design import Design
from hwflow.front import Front, Trial
from hwflow.machine import load_machine
from hwflow.report import ReportData, write_report
from hwflow.space import Choice, Edit, Space, Value
from hwflow.workload import Input, Layer, Workload

OPTIONS = (2, 3, 4, 6, 8)
OBJECTIVES = ("accuracy", "energy_j", "latency_s")


def conv(name: str, source: str, channels: int, out: int, size: int, stride: int = 1) -> Layer:
    side = size // stride
    return Layer(
        name, "conv", (source,), ((1, channels, size, size),), (1, out, side, side),
        out_channels=out, in_channels=channels, out_size=(side, side), kernel=(3, 3),
        stride=(stride, stride), padding=(1, 1, 1, 1), bias=True, act=("relu",),
        input_bits=(32,), params=out * channels * 9 + out, path=name,
    )  # fmt: skip


def residual(blocks: int = 3, name: str = "resnet20") -> Workload:
    """A CIFAR residual network with `blocks` blocks in each of three stages."""
    layers = [conv("conv1", "input", 3, 16, 32)]
    channels, size = 16, 32
    for stage, out in enumerate((16, 32, 64), 1):
        for block in range(blocks):
            path, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            source = layers[-1].name
            layers.append(conv(f"{path}.conv1", source, channels, out, size, stride))
            size //= stride
            layers.append(conv(f"{path}.conv2", f"{path}.conv1", out, out, size))
            shape, other = (1, out, size, size), source if stride == 1 else f"{path}.conv1"
            layers.append(
                Layer(f"{path}.add", "add", (f"{path}.conv2", other), (shape, shape), shape,
                      act=("relu",), input_bits=(32, 32))
            )  # fmt: skip
            channels = out
    pooled = (1, channels)
    layers += [
        Layer("avgpool", "avg_pool", (layers[-1].name,), ((1, channels, size, size),), pooled,
              input_bits=(32,)),
        Layer("linear", "linear", ("avgpool",), (pooled,), (1, 10), out_channels=10,
              in_channels=channels, input_bits=(32,), bias=True, params=10 * channels + 10,
              path="linear"),
    ]  # fmt: skip
    return Workload(name, tuple(layers), (Input("input", (1, 3, 32, 32)),), ("linear",))


@dataclass(frozen=True)
class BitChoices:
    """Weight and output bits of every layer: the choices only, the edit is not needed here."""

    names: tuple[str, ...]
    kind: str = "quantize"

    @property
    def choices(self) -> tuple[Choice, ...]:
        kinds = ("weight_bits", "output_bits")
        return tuple(Choice(f"{k}:{n}", OPTIONS, 4) for k in kinds for n in self.names)

    def edit(self, values: Mapping[str, Value]) -> Edit:
        raise RuntimeError("samples are never built")


def quantized(workload: Workload, plan: Sequence[int]) -> Workload:
    names = [layer.name for layer in workload.mac_layers]
    bits = [OPTIONS[index] for index in plan]
    weights = dict(zip(names, bits[: len(names)], strict=True))
    chosen = dict(zip(names, bits[len(names) :], strict=True))
    tensors = {"input": 8, **{layer.name: chosen.get(layer.name, 8) for layer in workload}}
    groups = workload.bit_groups
    return workload.with_bits(weights, {n: tensors[groups[n]] for n in groups if n != "linear"})


def accuracy(workload: Workload, original: float = 0.9168) -> float:
    """A made-up accuracy that falls with every bit taken away, early layers first."""
    loss = 0.0
    for place, layer in enumerate(workload.mac_layers):
        weight = 1.6 / (1 + place / 4)
        loss += weight * (0.35 ** (layer.weight_bits - 1) + 0.3 ** (max(layer.input_bits) - 1))
    return round(max(0.1, original + 0.0015 - 0.35 * loss), 4)


def plans(workload: Workload, count: int, seed: int = 0) -> list[tuple[int, ...]]:
    """The uniform plans, then ever wider changes of random earlier ones."""
    rng, length = random.Random(seed), 2 * len(workload.mac_layers)
    made = [(option,) * length for option in range(len(OPTIONS))]
    while len(made) < count:
        start, rate = list(rng.choice(made[: 5 + len(made) // 2])), rng.choice((0.05, 0.2, 0.5))
        for place in range(length):
            if rng.random() < rate:
                start[place] = min(len(OPTIONS) - 1, max(0, start[place] + rng.choice((-1, 1, 1))))
        made.append(tuple(start))
    return made[:count]


@cache
def sample(blocks: int = 3, count: int = 60, machine: str = "eyeriss") -> ReportData:
    """A finished search on a residual network with `blocks` blocks in each stage."""
    workload, model = residual(blocks, f"resnet{6 * blocks + 2}"), Mid()
    design = Design(workload, load_machine(machine))
    before = model.cost(design)
    space = Space(workload, (BitChoices(tuple(x.name for x in workload.mac_layers)),))
    results = [_evaluate(workload, plan, design, model) for plan in plans(workload, count)]
    trials = [
        Trial(number, plan, cost.total, None, infeasible=("energy is 2 mJ, allowed 1 mJ",))
        if number % 17 == 16
        else Trial(number, plan, cost.total, accuracy(after), number, 1.5, space=space)
        for number, (plan, after, cost) in enumerate(results)
    ]
    front = Front.of(trials, OBJECTIVES)
    return ReportData(
        title=f"{workload.name}: mixed precision on {machine}",
        model=f"cifar:{workload.name}",
        machine=design.machine,
        level="mid",
        front=front,
        trials=trials,
        baseline=Trial(-1, space.default, before.total, 0.9168),
        workload_before=workload,
        cost_before=before,
        details={t.number: results[t.number][1:] for t in front},
        roofline=ops_roofline(design),
        provenance=PROVENANCE,
        notes=("Accuracy was measured on the validation split of 5,000 images.",),
        run=f"runs/{workload.name}",
    )


def _evaluate(
    workload: Workload, plan: tuple[int, ...], design: Design, model: Mid
) -> tuple[tuple[int, ...], Workload, Cost]:
    after = quantized(workload, plan)
    return plan, after, model.cost(design.with_workload(after))


PROVENANCE = {
    "command": "hwflow search cifar:resnet20 --on eyeriss --quantize --data cifar10 --seed 0",
    "date": "2026-01-15 10:30 UTC",
    "seed": 0,
    "versions": {"hwflow": "0.1.0", "torch": "2.9.0", "python": "3.11.7"},
    "weights digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "data": "cifar10, 45,000 / 5,000 / 10,000 images",
    "threads": 1,
}

if __name__ == "__main__":
    BLOCKS, TRIALS = (int(text) for text in (*sys.argv[2:], "3", "300")[:2])
    write_report(sample(BLOCKS, TRIALS), sys.argv[1])
