"""Without data: torchvision's networks with random weights, and the best plan found on paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from hwflow.bars import Bars
from hwflow.cost import Limits
from hwflow.costs.fine import Fine
from hwflow.costs.fine.cache import user_file
from hwflow.design import Design
from hwflow.edits.prune import prune
from hwflow.errors import InfeasibleError
from hwflow.extract import extract
from hwflow.models import load
from hwflow.network import Network
from hwflow.problem import Problem
from hwflow.quality.saliency import Saliency
from hwflow.reach import leanest_plan
from hwflow.solvers.sequential import best_plan
from hwflow.space import Plan

STEP = 8
"""Counts of channels are multiples of this, half the width of the larger array."""

IMAGES = 4
"""Random images from which statistics of batch normalisation are taken."""


def network(name: str, size: int | None = None, images: int = IMAGES) -> Network:
    """Return a network of torchvision with random weights that let errors be seen.

    Its batch normalisation gets statistics of random images, as calibration inputs do when channels
    are removed; ConvNeXt's layer scales, 1e-6 when new, would hide whole blocks, and the
    head of a vision transformer is zero when new.
    """
    shape = (3, size, size) if size else None
    net = load(f"torchvision:{name}", input_shape=shape)
    torch.manual_seed(0)
    for path, parameter in net.module.named_parameters():
        if path.endswith("layer_scale"):
            nn.init.uniform_(parameter, 0.5, 1)
        elif parameter.dim() > 1 and not parameter.any():
            nn.init.normal_(parameter, 0, 0.02)
    return net.calibrated(torch.randn(images, *net.example.shape[1:]))


def problem(net: Network, machine: str, shares: Mapping[str, float], step: int = STEP) -> Problem:
    """Return the problem of pruning below shares of the original's costs, at the fine level."""
    space = prune(net, step=step)
    free = Problem(space, machine, Fine(cache=user_file()), objectives=("accuracy", "latency"))
    whole = free.costs([space.default])[0].total
    limits = {name: share * whole[name] for name, share in shares.items()}
    return replace(free, below=Limits(**limits))


def found(asked: Problem) -> tuple[Plan, str]:
    """Return the plan of most saliency within the limits, or else the leanest and what bars it."""
    try:
        return best_plan(asked, Saliency(asked.space).losses), ""
    except InfeasibleError as error:
        return leanest_plan(asked), str(error)


def barred_by(asked: Problem, plan: Plan, metric: str) -> list[str]:
    """Return the layers that keep a plan from costing less, and why they have these channels."""
    bars = Bars.of(asked, metric, plan)
    return bars.lines() if bars else []


def pruned(asked: Problem, plan: Plan) -> Network:
    """Return the network of a plan; ValueError when it is not the one that was costed."""
    made = asked.space.apply(plan)
    read, paper = extract(made), on_paper(asked, plan).workload
    if read != paper:
        where = [a.name for a, b in zip(read.layers, paper.layers, strict=False) if a != b]
        raise ValueError(f"the two faces differ in {where[:3] or 'the number of layers'}")
    return made


def on_paper(asked: Problem, plan: Plan) -> Design:
    """Return the design of a plan."""
    return asked.space.on_paper(plan, asked.design)


def totals(asked: Problem, plan: Plan) -> dict[str, float]:
    """Return what a plan costs in total."""
    names = ("latency_s", "energy_j", "dram_bytes", "macs", "params")
    total = asked.costs([plan])[0].total
    return {name: total[name] for name in names}


def filters(design: Design) -> int:
    """Return how many filters the multiplying layers have."""
    return sum(layer.out_channels for layer in design.workload.mac_layers if layer.op != "matmul")
