"""One quantiser in a graph: the grid it reads, and its nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from hwflow.edits.calibrate import Scale
from hwflow.edits.methods import Method
from hwflow.edits.trainable import TrainableGraph
from hwflow.extract.call import is_quantizer, shape_of
from hwflow.fake_quantize import grid
from hwflow.learned_grids import Grid

QUANTIZERS = "hwflow_quantizers"
"""The submodule of a quantised network that holds the scales."""


@dataclass(frozen=True)
class Place:
    """A grid's place in a module, and the nodes that use it."""

    module: TrainableGraph
    label: str
    """The name of the grid among the quantisers."""
    method: Method
    is_weight: bool = False

    def quantize(
        self, sites: Iterable[tuple[fx.Node, fx.Node | None]], scale: Scale, bits: int
    ) -> None:
        """Put quantisers after values, each for one reader or for all, and register their grid."""
        how = self._operator(scale)
        self._register(how, scale, bits)
        for value, only in sites:
            _take_out(self.module.graph, value, only)
            node = self._insert(how, value, scale, bits)
            for reader in [only] if only else list(value.users):
                if reader is not node:
                    reader.replace_input_with(value, node)

    def _operator(self, scale: Scale) -> str:
        """Return the operator of the method for a weight or an activation, by its name."""
        name = self.method.quantizer
        half_wave = not scale.signed and int(scale.zero_point) == 0
        fits = {"lsq": True, "pact": not self.is_weight and half_wave, "dorefa": self.is_weight}
        return name if fits.get(name) else "fake_quantize"

    def _register(self, how: str, scale: Scale, bits: int) -> None:
        device = next(self.module.parameters(), scale.scale).device
        value, name = scale.scale, "scale"
        if how == "pact":
            value, name = scale.scale * grid(bits, signed=False)[1], "clip"
        zero = scale.zero_point.to(device, copy=True)
        made = Grid(name, value.to(device, copy=True), zero, learned=how in ("lsq", "pact"))
        _holder(self.module).add_module(self.label, made)

    def _insert(self, how: str, value: fx.Node, scale: Scale, bits: int) -> fx.Node:
        graph, path = self.module.graph, f"{QUANTIZERS}.{self.label}"
        name = "clip" if how == "pact" else "scale"
        extra = (self._count(value, scale.scale),) if how == "lsq" else ()
        with graph.inserting_after(value):
            step = graph.get_attr(f"{path}.{name}")
        with graph.inserting_after(step):
            zero = graph.get_attr(f"{path}.zero_point")
        with graph.inserting_after(zero):
            node = graph.call_function(
                _OPERATORS[how], (value, step, zero, bits, scale.signed, scale.axis, *extra)
            )
        node.meta = {
            key: value.meta[key] for key in ("val", "nn_module_stack") if key in value.meta
        }
        return node

    def _count(self, value: fx.Node, scale: Tensor) -> int:
        """Return LSQ's N: the weights that share a step, or the features of one image."""
        shape = shape_of(value)
        whole = 1
        for size in shape if self.is_weight else shape[1:]:
            whole *= size
        return max(1, whole // scale.numel() if self.is_weight else whole)


_OPERATORS: dict[str, Callable[..., Any]] = {
    name: getattr(torch.ops.hwflow, name).default
    for name in ("fake_quantize", "lsq", "pact", "dorefa")
}


def _holder(module: nn.Module) -> nn.Module:
    if not hasattr(module, QUANTIZERS):
        module.add_module(QUANTIZERS, nn.Module())
    return module.get_submodule(QUANTIZERS)


def _take_out(graph: fx.Graph, value: fx.Node, reader: fx.Node | None) -> None:
    """Take out the quantisers between a value and its reader (all readers by default)."""
    for node in [user for user in value.users if is_quantizer(user)]:
        for user in [reader] if reader else list(node.users):
            user.replace_input_with(node, value)
        if not node.users:
            graph.erase_node(node)


def grid_of(module: nn.Module, node: fx.Node) -> Grid:
    """Return the grid that a quantiser reads."""
    source = node.args[1]
    assert isinstance(source, fx.Node)  # quantisers read their scales from attributes
    found = module.get_submodule(str(source.target).rpartition(".")[0])
    assert isinstance(found, Grid)
    return found
