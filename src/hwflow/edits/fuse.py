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

from torch import Tensor, fx, nn

from hwflow.design import Design
from hwflow.edits.folding import affine, fold_in_graph, folded, norm_of
from hwflow.edits.remember import Remembered, copy_of
from hwflow.errors import HwflowError
from hwflow.extract.exported import Extraction, extract_network, is_exported
from hwflow.network import Network
from hwflow.space import Choice, Space, Value
from hwflow.workload import FLOAT_BITS, Layer, Workload


@dataclass(frozen=True)
class Fuse:
    """Fold every batch normalisation that a machine would fold."""

    def on_paper(self, design: Design) -> Design:
        """Return the design whose layers hold a bias instead of a normalisation."""
        layers = tuple(map(_fused, design.workload.layers))
        return design.with_workload(replace(design.workload, layers=layers))

    def in_network(self, network: Network) -> Network:
        """Return a copy whose normalisations are folded; it computes the same up to rounding.

        Raises HwflowError for normalisations that would change a quantised weight.
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
    if not is_exported(module):
        for layer, norm in _pairs(found).items():
            _fold(module, layer, norm)
    elif any(layer.norm is not None for layer in found.workload):
        normed = [layer for layer in found.workload if layer.norm is not None]
        if any(layer.weight_bits != FLOAT_BITS for layer in normed):
            raise HwflowError(
                f"Network {network.name!r} is quantised: a normalisation folded now would change "
                "the weights that its scales belong to. Fuse the network before it is quantised."
            )
        fold_in_graph(module, found)  # type: ignore[arg-type]
    return network.with_module(module)


def _pairs(found: Extraction) -> dict[str, str]:
    """Map the path of each module that takes a normalisation to that normalisation's path."""
    return {
        _owner(found.weights[layer.name]): _owner(norm_of(found.values[layer.name]).args[3])
        for layer in found.workload
        if layer.norm is not None
    }


def _owner(constant: object) -> str:
    """Return the path of the module that holds a parameter or buffer."""
    assert isinstance(constant, fx.Node)  # extraction folds plain modules only
    return str(constant.target).rpartition(".")[0]


def _fold(root: nn.Module, layer_path: str, norm_path: str) -> None:
    # of whatever kind, they have the attributes of these two
    layer = cast(nn.Conv2d, root.get_submodule(layer_path))
    norm = cast(nn.BatchNorm2d, root.get_submodule(norm_path))
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    factors = affine(norm.weight, norm.bias, mean, variance, norm.eps)
    groups, transposed = getattr(layer, "groups", 1), getattr(layer, "transposed", False)
    layer.weight, layer.bias = folded(layer.weight, layer.bias, factors, groups, transposed)
    parent, _, name = norm_path.rpartition(".")
    setattr(root.get_submodule(parent), name, nn.Identity())
