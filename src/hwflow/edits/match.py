"""Statistics of a quantised network mended: every channel gets the mean and variance it had before.

This is what the re-estimation of batch normalisation does for a network that still has it.
Quantising folds it, so there is nothing left to re-estimate: its work falls to the layer. Where
channel k of a layer with a quantised weight has mean m and deviation s on the calibration inputs,
and had m' and s' before, its weights and their step are multiplied by f = s'/s, and its bias b
becomes m' - f (m - b). The integers of the weight do not change. Normalisations that nobody can
fold are re-estimated. Layers are mended one after the other, each on what those before it give.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from hwflow.edits.placing import grid_of
from hwflow.errors import HwflowError
from hwflow.extract.call import is_quantizer, operator_name
from hwflow.fake_quantize import spread
from hwflow.train.batchnorm import Averaging, even_batches

BATCH = 250
"""Most inputs that run at once; statistics are averaged over batches of equal size."""

_LIMIT = 4.0
"""A step changes by this factor at most, either way."""

_LAYERS = frozenset({"conv1d", "conv2d", "conv3d", "linear"})

Moments = tuple[Tensor, Tensor]
"""Mean and variance of each channel."""


def match(module: fx.GraphModule, before: fx.GraphModule, inputs: Tensor) -> None:
    """Mend `module`, a quantised copy of the graph `before`, on these inputs, in place."""
    if len(inputs) == 0:
        raise HwflowError("There are no calibration inputs to take statistics from.")
    batches = even_batches(inputs, BATCH)
    run = _Matching(module)
    with torch.no_grad():
        for batch in batches:
            run.wanted = _Moments(before, {node.name for node in run.layers}).of(batch)
            run.run(batch)
        run.write()


def _layers(graph: fx.Graph) -> list[fx.Node]:
    """Return the layers with a quantised weight."""
    calls = [node for node in graph.nodes if node.op == "call_function"]
    return [
        n for n in calls if operator_name(n) in _LAYERS and len(n.args) > 1
        and is_quantizer(n.args[1])
    ]  # fmt: skip


def _moments(y: Tensor, axis: int) -> Moments:
    rows = y.movedim(axis, 0).flatten(1)
    return rows.mean(1), rows.var(1, correction=0)


def _axis(node: fx.Node) -> int:
    return -1 if operator_name(node) == "linear" else 1


class _Moments(fx.Interpreter):
    """Runs a graph and takes the moments of some nodes."""

    def __init__(self, module: fx.GraphModule, names: set[str]) -> None:
        super().__init__(module)
        self.names = names
        self.found: dict[str, Moments] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self.names:
            self.found[n.name] = _moments(value, _axis(n))
        return value

    def of(self, inputs: Tensor) -> dict[str, Moments]:
        self.run(inputs)
        return self.found


class _Matching(Averaging):
    """Runs a quantised graph, mends each layer's output, and notes how it was mended."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.layers = _layers(module.graph)
        self.wanted: dict[str, Moments] = {}
        self.notes: dict[fx.Node, list[tuple[Moments, Moments]]] = {n: [] for n in self.layers}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n not in self.notes:
            return value
        found, wanted = _moments(value, _axis(n)), self.wanted[n.name]
        self.notes[n].append((found, wanted))
        factor, shift = self._change(n, found, wanted)
        rank = value.dim()
        along = _axis(n) % rank
        return value * spread(factor, rank, along) + spread(shift, rank, along)

    def _change(self, node: fx.Node, found: Moments, wanted: Moments) -> tuple[Tensor, Tensor]:
        """Return f and d with which f y + d has the wanted moments, as far as the layer can."""
        mean, variance = found
        factor = torch.ones_like(mean)
        if self._steps(node):
            ratio = (wanted[1] / variance).sqrt().clamp(1 / _LIMIT, _LIMIT)
            factor = torch.where((wanted[1] > 0) & (variance > 0), ratio, factor)
        if self._bias(node) is None:
            return torch.ones_like(mean), torch.zeros_like(mean)
        return factor, wanted[0] - factor * mean

    def _steps(self, node: fx.Node) -> list[Tensor]:
        """Return what a factor per output channel multiplies; empty where others read it too."""
        quantizer = node.args[1]
        assert isinstance(quantizer, fx.Node)  # so _layers has it
        steps = grid_of(self.module, quantizer).value.detach()
        if len(quantizer.users) > 1 or quantizer.args[5] != 0:
            return []
        if operator_name(quantizer) == "dorefa":  # its levels do not depend on the step
            return [steps]
        weight = self._own(quantizer.args[0])
        return [] if weight is None else [steps, weight]

    def _bias(self, node: fx.Node) -> Tensor | None:
        """Return the layer's bias if it alone reads it."""
        return self._own(node.args[2] if len(node.args) > 2 else None)

    def _own(self, constant: object) -> Tensor | None:
        """Return a parameter or buffer that has one reader."""
        if not isinstance(constant, fx.Node) or constant.op != "get_attr":
            return None
        if len(constant.users) > 1:
            return None
        found: Tensor = self.fetch_attr(str(constant.target))
        return found.detach()

    def write(self) -> None:
        """Change steps and biases, by the moments averaged over the batches."""
        for node, notes in self.notes.items():
            found, wanted = (
                (torch.stack([n[i][0] for n in notes]).mean(0),
                 torch.stack([n[i][1] for n in notes]).mean(0)) for i in range(2)
            )  # fmt: skip
            factor, shift = self._change(node, found, wanted)
            for values in self._steps(node):
                values.mul_(spread(factor, values.dim(), 0))
            bias = self._bias(node)
            if bias is not None:
                bias.copy_(factor * bias + shift)
