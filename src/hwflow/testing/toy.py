"""A small workload and a small problem, on paper only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwflow.cost import Bits, CostModel
from hwflow.costs.coarse import Coarse
from hwflow.design import Design
from hwflow.network import Network
from hwflow.problem import Problem
from hwflow.space import Choice, Plan, Space, Value, plan_matrix
from hwflow.workload import Input, Layer, Workload


def toy_workload(batch: int = 1) -> Workload:
    """Return a small network on paper: convolutions (one depthwise), an add, a pool, a linear."""
    x = (batch, 3, 16, 16)
    inner = (batch, 8, 16, 16)
    layers = (
        _conv("stem", "image", x, inner, kernel=3, groups=1),
        _conv("depthwise", "stem", inner, inner, kernel=3, groups=8),
        _conv("pointwise", "depthwise", inner, inner, kernel=1, groups=1),
        _plain("add", "add", ("stem", "pointwise"), (inner, inner), inner),
        _plain("pool", "avg_pool", ("add",), (inner,), (batch, 8, 1, 1)),
        _plain("flatten", "reshape", ("pool",), ((batch, 8, 1, 1),), (batch, 8)),
        replace(
            _plain("head", "linear", ("flatten",), ((batch, 8),), (batch, 10)),
            in_channels=8, out_channels=10, bias=True, params=90,
        ),
    )  # fmt: skip
    return Workload("toy", layers, (Input("image", x),), ("head",))


def _plain(
    name: str,
    op: str,
    inputs: tuple[str, ...],
    in_shapes: tuple[tuple[int, ...], ...],
    out: tuple[int, ...],
) -> Layer:
    return Layer(name, op, inputs, in_shapes, out, batch=out[0], input_bits=(32,) * len(inputs))


def _conv(
    name: str, source: str, x: tuple[int, ...], out: tuple[int, ...], kernel: int, groups: int
) -> Layer:
    weights = out[1] * x[1] // groups * kernel**2
    pad = kernel // 2
    return replace(
        _plain(name, "conv", (source,), (x,), out),
        in_channels=x[1], out_channels=out[1], out_size=(out[2], out[3]), kernel=(kernel, kernel),
        padding=(pad, pad, pad, pad), groups=groups, bias=True, act=("relu",),
        params=weights + out[1],
    )  # fmt: skip


def toy_problem(cost: CostModel | None = None) -> Problem:
    """Return the problem that :func:`check_solver` uses; it needs no torch."""
    workload = toy_workload()
    part = ToyPart(tuple(layer.name for layer in workload.mac_layers))
    return Problem(Space(workload, (part,)), "eyeriss", cost or Coarse())


@dataclass(frozen=True)
class ToyEdit:
    """Sets bits on paper; it has no network face."""

    weights: tuple[tuple[str, int], ...]

    def on_paper(self, design: Design) -> Design:
        """Return the design with these weight bits."""
        return design.with_workload(design.workload.with_bits(dict(self.weights), {}))

    def in_network(self, network: Network) -> Network:
        """Return the network as it is: the toy problem is on paper only."""
        return network


@dataclass(frozen=True)
class ToyPart:
    """Chooses the weight bits of some layers, 2, 4, 8 or 16."""

    layers: tuple[str, ...]
    kind = "quantize"
    options = (2, 4, 8, 16)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """One choice per layer."""
        return tuple(Choice(f"weight_bits:{n}", self.options, default=3) for n in self.layers)

    def edit(self, values: Mapping[str, Value]) -> ToyEdit:
        """Return the edit for these values."""
        pairs = values.items()
        return ToyEdit(tuple((name.partition(":")[2], int(value)) for name, value in pairs))

    def bits(self, workload: Workload, plans: Sequence[Plan]) -> Bits:
        """Return the bits of `workload` under each plan."""
        base = Bits.of([workload])
        weights, tensors = (np.repeat(a, len(plans), axis=0) for a in (base.weights, base.tensors))
        names = [layer.name for layer in workload]
        columns = [names.index(layer) for layer in self.layers]
        weights[:, columns] = plan_matrix(plans, [self.options] * len(columns))
        return Bits(weights, tensors)
