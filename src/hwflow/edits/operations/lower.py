"""From a module of plain layers to a graph of ATen operators, in milliseconds.

`torch.export` reads any module, in a second or so; the options of a site are hundreds, made of few
kinds of layers. What is not known here is left to it. Both give the same workload.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from hwflow.edits.trainable import TrainableGraph
from hwflow.errors import HwflowError

aten = torch.ops.aten

Arguments = tuple[Any, tuple[Any, ...]]
"""An ATen operator and what follows its first argument."""


class NotKnownError(HwflowError):
    """A layer that this module does not know."""


def lowered(module: nn.Module, example: Tensor) -> TrainableGraph:
    """Return the graph of a module in eval mode, for any batch; it shares the module's tensors.

    `example` is an input of batch 1. Raises NotKnownError for layers that are not known.
    """
    try:
        traced = fx.Tracer().trace(module)
    except Exception as error:  # whatever the forward of the module does with a proxy
        raise NotKnownError(f"{type(module).__name__} cannot be traced: {error}.") from error
    return _Lowering(module, traced, example).run()


class _Lowering:
    def __init__(self, module: nn.Module, traced: fx.Graph, example: Tensor) -> None:
        self.module, self.traced, self.example = module, traced, example
        self.graph = fx.Graph()
        self.made: dict[fx.Node, fx.Node] = {}
        self.stack: dict[str, tuple[str, str]] = {}
        self.constants: dict[str, fx.Node] = {}

    def run(self) -> TrainableGraph:
        for node in self.traced.nodes:
            self.stack = _innermost(self.module, node)
            if node.op == "placeholder":
                self.made[node] = self.graph.placeholder(str(node.target))
                self.made[node].meta = {"val": self.example.to("meta")}
            elif node.op == "output":
                self.graph.output(self.made[node.args[0]])
            elif node.op == "call_module":
                self.made[node] = self._module(node)
            else:
                self.made[node] = self._function(node)
        self.graph.eliminate_dead_code()
        return TrainableGraph(self.module, self.graph)

    def _module(self, node: fx.Node) -> fx.Node:
        path = str(node.target)
        layer, x = self.module.get_submodule(path), self.made[node.args[0]]  # type: ignore[index]
        if isinstance(layer, nn.Identity):
            return x
        rule = _LAYERS.get(type(layer))
        if rule is None:
            raise NotKnownError(f"No operator is known for {type(layer).__name__}.")
        target, rest = rule(layer)
        held = [
            self._constant(f"{path}.{part.name}", layer) if isinstance(part, _Held) else part
            for part in rest
        ]
        return self._call(target, (x, *held))

    def _constant(self, path: str, layer: nn.Module) -> fx.Node | None:
        value = getattr(layer, path.rpartition(".")[2])
        if value is None:
            return None
        if path not in self.constants:
            first = next(iter(self.graph.nodes))
            with self.graph.inserting_before(first):
                self.constants[path] = self.graph.get_attr(path)
            self.constants[path].meta = {"val": value.detach().to("meta")}
        return self.constants[path]

    def _function(self, node: fx.Node) -> fx.Node:
        args = fx.node.map_arg(node.args, self.made.__getitem__)
        kwargs = dict(fx.node.map_arg(node.kwargs, self.made.__getitem__))
        if node.target is operator.getitem:
            value, index = args
            return self._sliced(cast(fx.Node, value), index)
        rule = _FUNCTIONS.get(node.target)
        if rule is None:
            raise NotKnownError(f"No operator is known for {node.target}.")
        return self._call(rule, (*args, *kwargs.values()))

    def _sliced(self, x: fx.Node, places: Any) -> fx.Node:
        for axis, place in enumerate(places):
            if not isinstance(place, slice) or place.step is not None:
                raise NotKnownError(f"No operator is known for x[{places}].")
            if (place.start, place.stop) != (None, None):
                x = self._call(aten.slice.Tensor, (x, axis, place.start, place.stop))
        return x

    def _call(self, target: Any, args: tuple[Any, ...]) -> fx.Node:
        node = self.graph.call_function(target, args)
        values = fx.node.map_arg(args, lambda source: source.meta["val"])
        with torch.no_grad():
            node.meta = {"val": target(*values), "nn_module_stack": dict(self.stack)}
        return node


def _innermost(module: nn.Module, node: fx.Node) -> dict[str, tuple[str, str]]:
    """Return the path and the type of the innermost module around a node, as export notes them."""
    path, kind = "", type(module)
    stack = node.meta.get("nn_module_stack")
    if stack:
        path, kind = list(stack.values())[-1]
    if node.op == "call_module":
        path = str(node.target)
        kind = type(module.get_submodule(path))
    return {path: (path, f"{kind.__module__}.{kind.__qualname__}")}


class _Held:
    """Stands for a tensor of the layer."""

    def __init__(self, name: str) -> None:
        self.name = name


_WEIGHT, _BIAS = _Held("weight"), _Held("bias")


def _conv(layer: Any) -> Arguments:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise NotKnownError(f"Padding {layer.padding_mode}, {layer.padding} is not known.")
    geometry = ([*layer.stride], [*layer.padding], [*layer.dilation], layer.groups)
    return aten.conv2d.default, (_WEIGHT, _BIAS, *geometry)


def _batch_norm(layer: Any) -> Arguments:
    held = (_WEIGHT, _BIAS, _Held("running_mean"), _Held("running_var"))
    return aten.batch_norm.default, (*held, False, layer.momentum, layer.eps, True)


def _group_norm(layer: Any) -> Arguments:
    # aten.group_norm has the groups before the tensors
    return aten.group_norm.default, (layer.num_groups, _WEIGHT, _BIAS, layer.eps)


def _pad(layer: Any) -> Arguments:
    return aten.pad.default, ([*layer.padding], "constant", 0.0)


def _avg_pool(layer: Any) -> Arguments:
    pair = [layer.kernel_size] * 2
    return aten.avg_pool2d.default, (pair, [layer.stride] * 2, [layer.padding] * 2,
                                     layer.ceil_mode, layer.count_include_pad)  # fmt: skip


def _plain(target: Any, *rest: Any) -> Callable[[Any], Arguments]:
    return lambda layer: (target, rest)


_LAYERS: dict[type[nn.Module], Callable[[Any], Arguments]] = {
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _batch_norm,
    nn.GroupNorm: _group_norm,
    nn.ZeroPad2d: _pad,
    nn.AvgPool2d: _avg_pool,
    nn.AdaptiveAvgPool2d: lambda layer: (aten.adaptive_avg_pool2d.default,
                                         ([layer.output_size] * 2,)),
    nn.ReLU: _plain(aten.relu.default),
    nn.ReLU6: _plain(aten.hardtanh.default, 0.0, 6.0),
    nn.SiLU: _plain(aten.silu.default),
    nn.Hardswish: _plain(aten.hardswish.default),
    nn.GELU: _plain(aten.gelu.default),
    nn.Sigmoid: _plain(aten.sigmoid.default),
    nn.Hardsigmoid: _plain(aten.hardsigmoid.default),
    nn.Tanh: _plain(aten.tanh.default),
    nn.Mish: _plain(aten.mish.default),
    nn.Flatten: lambda layer: (aten.flatten.using_ints, (layer.start_dim, layer.end_dim)),
    nn.Unflatten: lambda layer: (aten.unflatten.int, (layer.dim, [*layer.unflattened_size])),
    nn.Softmax: lambda layer: (aten.softmax.int, (layer.dim,)),
}  # fmt: skip

_FUNCTIONS: dict[Any, Any] = {
    operator.add: aten.add.Tensor,
    operator.mul: aten.mul.Tensor,
    operator.matmul: aten.matmul.default,
    torch.stack: aten.stack.default,
    F.pad: aten.pad.default,
    "transpose": aten.transpose.int,
    "sum": aten.sum.dim_IntList,
}
