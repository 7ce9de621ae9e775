"""A network with channels set to zero: what a network without them must compute."""

from __future__ import annotations

import copy
import random
from collections.abc import Collection, Mapping

import torch
from torch import nn

from hwflow.coupling import Coupling, couple
from hwflow.coupling.track import whole_groups
from hwflow.edits.fuse import read
from hwflow.network import Network
from hwflow.train import reestimate_batchnorm
from hwflow.workload import Layer

Kept = Mapping[str, tuple[int, ...]]


def lively(network: Network) -> Network:
    """Return a copy whose batch statistics are those of some random images.

    With statistics that do not fit, a deep network gives the same numbers for every image, and no
    error in its channels would be seen.
    """
    images = torch.randn(8, *network.example.shape[1:])
    return reestimate_batchnorm(network, [(images, torch.zeros(8))])


def random_kept(
    coupling: Coupling, rng: random.Random, share: float = 1.0, fewest: float = 0.0
) -> Kept:
    """Draw how many (a share `fewest` at least) and which units are kept of a share of groups."""
    kept = {}
    for group in coupling.groups:
        if rng.random() < share:
            count = rng.randint(max(group.least, round(fewest * group.size)), group.size)
            kept[group.name] = tuple(sorted(rng.sample(range(group.size), count)))
    return kept


def masked_twin(network: Network, kept: Kept, exclude: Collection[str] = ()) -> nn.Module:
    """Return a copy whose layers multiply what is not kept by zero: no channel leaves it."""
    found = read(network)
    module = copy.deepcopy(network.module).eval()
    for group in couple(found.workload, frozenset(exclude)).groups:
        gone = set(range(group.size)) - set(kept.get(group.name, range(group.size)))
        for member in group.members:
            layer = found.workload[member.layer]
            if member.side == "in" and gone and not whole_groups(layer):
                weight = module.get_parameter(str(found.weights[layer.name].target))
                _mask(layer, weight, [c for unit in gone for c in member.channels[unit]])
    return module


def _mask(layer: Layer, weight: nn.Parameter, channels: list[int]) -> None:
    """Set to zero what multiplies these input channels."""
    with torch.no_grad():
        if layer.transposed or layer.attr("weight_axis") == 1:
            weight[channels] = 0
        else:  # the input channels of one group
            weight[:, [c % weight.shape[1] for c in channels]] = 0


def differs(outputs: torch.Tensor) -> float:
    """Return how much the outputs of several images differ, relative to the largest value."""
    return relative_error(outputs[1:], outputs[:1])


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference, relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30))
