"""Batch normalisation folded into a weight: the formula, and what it changes in an exported graph.

A network from which channels were removed is an exported graph: there are no modules to exchange.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from hwflow.extract.exported import Extraction

Affine = tuple[Tensor, Tensor]

_EPS = 7
"""Index of epsilon in the arguments of aten.batch_norm."""


def affine(
    weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, eps: float
) -> Affine:
    """Return factor and shift of a normalisation by running statistics, in double precision."""
    mean, variance = mean.detach().double(), variance.detach().double()
    gamma = torch.ones_like(mean) if weight is None else weight.detach().double()
    beta = torch.zeros_like(mean) if bias is None else bias.detach().double()
    factor = gamma / torch.sqrt(variance + eps)
    return factor, beta - mean * factor


def folded(
    weight: Tensor, bias: Tensor | None, norm: Affine, groups: int, transposed: bool
) -> tuple[nn.Parameter, nn.Parameter]:
    """Return weight and bias of the layer that normalises as well."""
    factor, shift = norm
    old = torch.zeros_like(factor) if bias is None else bias.detach().double()
    fused = weight.detach().double() * _by_output(weight, factor, groups, transposed)
    trains = weight.requires_grad
    return (
        nn.Parameter(fused.to(weight.dtype), trains),
        nn.Parameter((old * factor + shift).to(weight.dtype), trains),
    )


def _by_output(weight: Tensor, factor: Tensor, groups: int, transposed: bool) -> Tensor:
    """Shape a factor per output channel so that it multiplies a weight."""
    shape = weight.shape
    ones = [1] * (len(shape) - 2)
    if not transposed:
        return factor.reshape(-1, 1, *ones)
    # a transposed convolution's weight is (C, K / g, R, S); its groups follow one another in C
    inputs = shape[0] // groups
    spread = factor.reshape(groups, 1, -1).expand(-1, inputs, -1)
    return spread.reshape(shape[0], shape[1], *ones)


def norm_of(node: fx.Node) -> fx.Node:
    """Return the batch normalisation from which, by activations alone, a layer's value comes."""
    while node.target is not torch.ops.aten.batch_norm.default:
        node = node.all_input_nodes[0]
    return node


def fold_in_graph(module: fx.GraphModule, found: Extraction) -> None:
    """Fold the normalisations of a graph, a copy of the one that `found` was read from."""
    twins = {node.name: node for node in module.graph.nodes}
    for layer in found.workload:
        if layer.norm is not None:
            norm = twins[norm_of(found.values[layer.name]).name]
            weight = twins[found.weights[layer.name].name]
            pair = _values(module, norm, weight, layer.groups, layer.transposed)
            _exchange(module, norm, weight, *pair)
    module.graph.lint()
    module.recompile()


def _values(
    module: nn.Module, norm: fx.Node, weight: fx.Node, groups: int, transposed: bool
) -> tuple[nn.Parameter, nn.Parameter]:
    gamma, beta, mean, variance = (_tensor(module, constant) for constant in norm.args[1:5])
    factors = affine(gamma, beta, mean, variance, norm.args[_EPS])  # type: ignore[arg-type]
    held, bias = _tensor(module, weight), _tensor(module, _bias(_reader(weight)))
    assert held is not None  # extraction folds onto layers with a weight only
    return folded(held, bias, factors, groups, transposed)


def _exchange(
    module: fx.GraphModule, norm: fx.Node, weight: fx.Node, new: nn.Parameter, bias: nn.Parameter
) -> None:
    """Give a layer its new weight and bias, and take its normalisation out."""
    layer, graph = _reader(weight), module.graph
    owner = str(weight.target).rpartition(".")[0]
    old = _bias(layer)
    path = str(old.target) if isinstance(old, fx.Node) else f"{owner}.bias".lstrip(".")
    _set(module, str(weight.target), new)
    _set(module, path, bias)
    if not isinstance(old, fx.Node):
        with graph.inserting_before(layer):
            made = graph.get_attr(path)
        made.meta["val"] = norm.meta["val"].new_empty(tuple(bias.shape))
        layer.args = (*layer.args[:2], made, *layer.args[3:])
    norm.replace_all_uses_with(norm.args[0])  # type: ignore[arg-type]
    constants = norm.args[1:5]
    graph.erase_node(norm)
    for constant in constants:
        if isinstance(constant, fx.Node) and not constant.users:
            graph.erase_node(constant)
            _delete(module, str(constant.target))


def _reader(weight: fx.Node) -> fx.Node:
    """Return the one layer that reads a weight: extraction folds onto no other."""
    return next(iter(weight.users))


def _bias(layer: fx.Node) -> object:
    """Return the bias of an ATen convolution or linear layer, None where it has none."""
    return layer.args[2] if len(layer.args) > 2 else None


def _tensor(module: nn.Module, node: object) -> Tensor | None:
    if not isinstance(node, fx.Node):
        return None
    owner, _, name = str(node.target).rpartition(".")
    found: Tensor = getattr(module.get_submodule(owner), name)
    return found


def _set(module: nn.Module, path: str, value: nn.Parameter) -> None:
    owner, _, name = path.rpartition(".")
    setattr(module.get_submodule(owner), name, value)


def _delete(module: nn.Module, path: str) -> None:
    owner, _, name = path.rpartition(".")
    delattr(module.get_submodule(owner), name)
