"""Fuse: batch normalisation folded into the weights of the convolution or linear layer before it.

With running mean m and variance v, y = gamma (W x + b - m) / sqrt(v + eps) + beta is a layer of
weight W f and bias (b - m) f + beta, f = gamma / sqrt(v + eps) per output channel.
Which normalisation belongs to which layer is decided once, by extraction (`Layer.norm`): only plain
modules called once, where nobody else reads the value between, with running statistics.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, fx, nn

from hwflow.design import Design
from hwflow.edits.remember import Remembered, copy_of
from hwflow.errors import HwflowError
from hwflow.extract.exported import Extraction, extract_network, is_exported
from hwflow.network import Network
from hwflow.space import Choice, Space, Value
from hwflow.workload import Layer, Workload


@dataclass(frozen=True)
class Fuse:
    """Fold every batch normalisation that a machine would fold."""

    def on_paper(self, design: Design) -> Design:
        """Return the design whose layers hold a bias instead of a normalisation."""
        layers = tuple(map(_fused, design.workload.layers))
        return design.with_workload(replace(design.workload, layers=layers))

    def in_network(self, network: Network) -> Network:
        """Return a copy whose normalisations are folded; it computes the same up to rounding.

        Raises HwflowError for an exported graph that still has normalisations to fold.
        """
        master = _folded(network)
        return copy_of(master, copy.deepcopy(master.module))


@dataclass(frozen=True)
class FusePart:
    """A part of a space that always fuses: it has no choices."""

    kind = "fuse"
    choices: tuple[Choice, ...] = ()

    def edit(self, values: Mapping[str, Value]) -> Fuse:
        """Return the edit."""
        return Fuse()


def fuse(source: Network | Workload) -> Space:
    """Return the space of one plan: the network with its batch normalisations folded."""
    if isinstance(source, Workload):
        return Space(source, (FusePart(),))
    return Space(read(source).workload, (FusePart(),), source)


read = Remembered(extract_network)
"""The network as extraction reads it."""


def _fused(layer: Layer) -> Layer:
    if layer.norm is None:
        return layer
    return replace(layer, norm=None, bias=True, params=layer.weights + layer.out_channels)


@Remembered
def _folded(network: Network) -> Network:
    """Return the network with everything folded; nobody but this module may change it."""
    found = read(network)
    module = copy.deepcopy(network.module)
    pairs = _pairs(found)
    if pairs and is_exported(module):
        raise HwflowError(
            f"Network {network.name!r} is an exported graph: batch normalisation can be folded in "
            "torch modules only. Fuse the network before it is exported or quantised."
        )
    for layer, norm in pairs.items():
        _fold(module, layer, norm)
    return network.with_module(module)


def _pairs(found: Extraction) -> dict[str, str]:
    """Map the path of each module that takes a normalisation to that normalisation's path."""
    return {
        _owner(found.weights[layer.name]): _owner(_norm_of(found.values[layer.name]).args[3])
        for layer in found.workload
        if layer.norm is not None
    }


def _norm_of(node: fx.Node) -> fx.Node:
    """Return the batch normalisation from which, by activations alone, a layer's value comes."""
    while node.target is not torch.ops.aten.batch_norm.default:
        node = node.all_input_nodes[0]
    return node


def _owner(constant: object) -> str:
    """Return the path of the module that holds a parameter or buffer."""
    assert isinstance(constant, fx.Node)  # extraction folds plain modules only
    return str(constant.target).rpartition(".")[0]


def _fold(root: nn.Module, layer_path: str, norm_path: str) -> None:
    # of whatever kind, they have the attributes of these two
    layer = cast(nn.Conv2d, root.get_submodule(layer_path))
    factor, shift = _affine(cast(nn.BatchNorm2d, root.get_submodule(norm_path)))
    weight = layer.weight
    bias = torch.zeros_like(factor) if layer.bias is None else layer.bias.detach().double()
    fused = weight.detach().double() * _by_output(layer, factor)
    layer.weight = nn.Parameter(fused.to(weight.dtype), weight.requires_grad)
    layer.bias = nn.Parameter((bias * factor + shift).to(weight.dtype), weight.requires_grad)
    parent, _, name = norm_path.rpartition(".")
    setattr(root.get_submodule(parent), name, nn.Identity())


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return factor and shift of a normalisation by running statistics, in double precision."""
    assert norm.running_mean is not None  # extraction folds no other
    assert norm.running_var is not None
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    gamma = norm.weight.detach().double() if norm.affine else torch.ones_like(mean)
    beta = norm.bias.detach().double() if norm.affine else torch.zeros_like(mean)
    factor = gamma / torch.sqrt(variance + norm.eps)
    return factor, beta - mean * factor


def _by_output(layer: nn.Conv2d, factor: Tensor) -> Tensor:
    """Shape a factor per output channel so that it multiplies the layer's weight."""
    shape = layer.weight.shape
    ones = [1] * (len(shape) - 2)
    if not getattr(layer, "transposed", False):
        return factor.reshape(-1, 1, *ones)
    # a transposed convolution's weight is (C, K / g, R, S); its groups follow one another in C
    inputs = shape[0] // layer.groups
    spread = factor.reshape(layer.groups, 1, -1).expand(-1, inputs, -1)
    return spread.reshape(shape[0], shape[1], *ones)
