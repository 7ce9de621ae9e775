"""A network with another module at one site, run from that site on.

    detour = Detour(graph, entry, exit, batches, logits)  # runs what comes before the site once
    detour.measure(module).loss                           # runs the module and what comes after

For many modules at one site: what they share is computed once and kept in memory, and nothing is
spliced or compiled for any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from hwflow.errors import HwflowError
from hwflow.extract.subgraph import subgraph
from hwflow.running import evaluating, fast_format

Batch = tuple[Tensor, Tensor]


class Figures(NamedTuple):
    """What a classifier reaches on labelled images."""

    loss: float
    """Mean cross-entropy, nats."""
    accuracy: float
    """Top-1, in [0, 1]."""
    divergence: float = 0.0
    """Mean Kullback-Leibler divergence of what it answers from what the teacher does, nats."""


def measure(logits: Iterable[Tensor], targets: Iterable[Tensor]) -> Figures:
    """Return loss and accuracy of a teacher's logits, each (n, classes)."""
    return _figures((own, own, wanted) for own, wanted in zip(logits, targets, strict=True))


def _figures(answers: Iterable[tuple[Tensor, Tensor, Tensor]]) -> Figures:
    """Return the figures of logits, beside the teacher's and the classes."""
    loss, apart, right, count = 0.0, 0.0, 0, 0
    with torch.no_grad():
        for logits, teacher, targets in answers:
            found, wanted = F.log_softmax(logits, 1), F.log_softmax(teacher, 1)
            loss += float(F.nll_loss(found, targets, reduction="sum").double())
            apart += float(F.kl_div(found, wanted, reduction="sum", log_target=True).double())
            right += int((logits.argmax(1) == targets).sum())
            count += len(targets)
    if not count:
        raise HwflowError("There are no labelled images to score on. Give at least one.")
    return Figures(loss / count, right / count, apart / count)


class Detour:
    """A site of a known graph, and the labelled images that modules there are measured on."""

    def __init__(
        self,
        graph: fx.GraphModule,
        entry: fx.Node,
        exit_: fx.Node,
        batches: Sequence[Batch],
        teacher: Sequence[Tensor],
    ) -> None:
        """`graph` is exported, takes any batch and is in evaluation mode; `teacher`: its logits."""
        after = _dependent(exit_)
        active = _dependent(*graph.graph.find_nodes(op="placeholder"))
        cut = _cut(graph.graph, after, exit_, active)
        before = subgraph(graph, [entry, *cut])
        self._after = _tail(graph, exit_, cut, after)
        self._wanted = [(own, of) for own, (_, of) in zip(teacher, batches, strict=True)]
        with torch.no_grad():
            self._held = [before(fast_format(inputs)) for inputs, _ in batches]

    @property
    def entry(self) -> Tensor:
        """What the site reads on the first batch."""
        found: Tensor = self._held[0][0]
        return found

    def measure(self, module: nn.Module) -> Figures:
        """Return the figures of the network with this module at the site."""
        with evaluating(module), torch.no_grad():
            return _figures(
                (self._after(module(held[0]), *held[1:])[0], *wanted)
                for held, wanted in zip(self._held, self._wanted, strict=True)
            )


def _dependent(*sources: fx.Node) -> set[fx.Node]:
    """Return the nodes that hang on some nodes, these left out."""
    found: set[fx.Node] = set()
    waiting = list(sources)
    while waiting:
        for user in waiting.pop().users:
            if user not in found:
                found.add(user)
                waiting.append(user)
    return found


def _cut(
    graph: fx.Graph, after: set[fx.Node], exit_: fx.Node, active: set[fx.Node]
) -> list[fx.Node]:
    """Return what the part after a site reads beside the exit, constants left out."""
    inputs = set(graph.find_nodes(op="placeholder"))
    read = {source for node in after for source in node.all_input_nodes} - after - {exit_}
    return [node for node in graph.nodes if node in read and (node in active or node in inputs)]


def _tail(
    graph: fx.GraphModule, exit_: fx.Node, cut: Sequence[fx.Node], after: set[fx.Node]
) -> fx.GraphModule:
    """Return what computes the outputs from the exit and the cut."""
    (end,) = graph.graph.find_nodes(op="output")
    given = {node: f"given_{i}" for i, node in enumerate((exit_, *cut))}
    if end not in after:
        raise HwflowError("The outputs of the network do not hang on this site. Leave it out.")
    wanted = list(end.all_input_nodes)
    if len(wanted) != 1:
        raise HwflowError(f"A network of one output is needed, not of {len(wanted)}.")
    return subgraph(graph, wanted, given)
