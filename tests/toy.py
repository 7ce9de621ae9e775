"""A problem in miniature, without torch: a chain of layers, a cost by formula, a made-up accuracy.

A module of its own rather than part of conftest.py, so that worker processes can import it.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hwflow.cost import Bits, Cost, Costs, Limits
from hwflow.design import Design
from hwflow.front import Trial
from hwflow.network import Network
from hwflow.problem import Problem
from hwflow.space import Builder, Choice, Edit, Plan, Space, Value, plan_matrix
from hwflow.workload import Input, Layer, Workload


def chain(length: int = 6) -> Workload:
    """Return a chain of 3 x 3 convolutions on 8 x 8 images, ever wider."""
    layers = []
    for index in range(length):
        wide, before = 8 * (index + 1), 8 * max(index, 1)
        layers.append(
            Layer(
                name=f"conv{index}", op="conv",
                inputs=(f"conv{index - 1}" if index else "image",),
                in_shapes=((1, before, 8, 8),), out_shape=(1, wide, 8, 8),
                out_channels=wide, in_channels=before, out_size=(8, 8), kernel=(3, 3),
                padding=(1, 1, 1, 1), input_bits=(32,), params=wide * before * 9,
            )
        )  # fmt: skip
    image = Input("image", (1, 8, 8, 8))
    return Workload("chain", tuple(layers), (image,), (layers[-1].name,))


@dataclass(frozen=True)
class SetBits:
    """Gives layers their weight and output bits."""

    weights: Mapping[str, int]
    tensors: Mapping[str, int]

    def on_paper(self, design: Design) -> Design:
        return design.with_workload(design.workload.with_bits(self.weights, self.tensors))

    def in_network(self, network: Network) -> Network:
        return network.with_module((dict(self.weights), dict(self.tensors)))


@dataclass(frozen=True)
class BitPart:
    """Weight bits, then activation bits, of every layer."""

    names: tuple[str, ...]
    options: tuple[int, ...] = (2, 4, 8)

    kind = "quantize"

    @property
    def choices(self) -> tuple[Choice, ...]:
        last = len(self.options) - 1
        return tuple(
            Choice(f"{what}:{name}", self.options, default=last)
            for what in ("weight_bits", "output_bits")
            for name in self.names
        )

    def edit(self, values: Mapping[str, Value]) -> Edit:
        return SetBits(
            {name: int(values[f"weight_bits:{name}"]) for name in self.names},
            {name: int(values[f"output_bits:{name}"]) for name in self.names},
        )

    def bits(self, workload: Workload, plans: Sequence[Plan]) -> Bits:
        values = plan_matrix(plans, [self.options] * (2 * len(self.names)))
        weights, outputs = np.split(values, 2, axis=1)
        image = np.full((len(plans), 1), workload.inputs[0].bits)
        return Bits(weights, np.concatenate([image, outputs], axis=1))


class ToyCost:
    """Cycles and joules from MACs and bits; latency is bound by the wider operand."""

    level = "toy"

    def cost(self, design: Design) -> Cost:
        return self.over_bits(design, Bits.of([design.workload]))[0]

    def costs(self, designs: Sequence[Design]) -> list[Cost]:
        return [self.cost(design) for design in designs]

    def over_bits(self, design: Design, bits: Bits) -> Costs:
        macs = np.array([layer.macs for layer in design.workload], float)
        read, wide = bits.tensors[:, :-1], bits.weights
        layers = {
            "latency_s": macs * np.maximum(wide, read) * 1e-9,
            "energy_j": macs * wide * read * 1e-12,
            "macs": np.broadcast_to(macs, wide.shape),
        }
        total = {name: table.sum(axis=1) for name, table in layers.items()}
        standing = dict.fromkeys(layers, "estimate")
        none = np.zeros(wide.shape, np.int64)
        return Costs("toy", design.workload, layers, total, standing, none, ("compute",))

    def digest(self) -> str:
        return "toy 1"


@dataclass(frozen=True)
class ToyQuality:
    """Falls with every bit saved, more in some layers than in others.

    A `log` file gets a line per evaluation, a `cpu` time is burnt by each.
    """

    log: Path | None = None
    cpu: float = 0.0
    bad: Plan | None = None
    """This plan's quality is `bad_value`."""
    bad_value: float = float("nan")
    noise: float = 0.0
    """How much the random generator of the trial adds."""
    name: str = field(default="toy accuracy")

    def score(self, plan: Plan, build: Builder) -> float:
        if self.log is not None:
            line = f"{','.join(map(str, plan))}\n".encode()
            file = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(file, line)
            os.close(file)
        burn(self.cpu)
        if plan == self.bad:
            return self.bad_value
        worth = [(index * 7 % 5 + 1) * 0.004 for index in range(len(plan))]
        lost = sum(w * 2.0 ** (1 - option) for w, option in zip(worth, plan, strict=True))
        return 0.95 - lost + self.noise * random.random()

    def digest(self) -> str:
        return hashlib.sha256(f"{self.bad} {self.noise}".encode()).hexdigest()


def burn(seconds: float) -> None:
    """Use so much CPU time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def toy_problem(
    below: Limits | None = None, length: int = 6, options: tuple[int, ...] = (2, 4, 8)
) -> Problem:
    """Return the problem in miniature, 3^12 plans by default."""
    workload = chain(length)
    part = BitPart(tuple(layer.name for layer in workload), options)
    return Problem(Space(workload, (part,)), "eyeriss", ToyCost(), below or Limits())


def facts(trials: Sequence[Trial]) -> list[tuple[object, ...]]:
    """Return what must be the same in a repeated search: all but the time it took."""
    return [(t.number, t.plan, dict(t.total), t.quality, t.seed) for t in trials]
