"""Networks that differ from a known one in a few places, run from those places on.

    prefix = Prefix(graph, batches)             # an exported graph, in eval mode
    outputs = prefix.run(changed)               # computes what differs, and what follows

What a changed graph shares with the known one is found by value
(:mod:`hwflow.quality.numbering`), so nothing is asked about what was changed: bits, weights, or a
block replaced by others. The values of the known graph that the changed part reads are a *cut*;
around a residual branch it holds several tensors. Cuts are computed when they are first needed,
from the nearest cut before, and the least recently used are dropped when they take more than
`budget` bytes. Changes that are asked for in the order of the graph therefore cost one pass through
the known graph in all, however small the budget.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Container, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from hwflow.errors import HwflowError
from hwflow.extract.call import operator_name
from hwflow.quality.numbering import Numbers
from hwflow.running import fast_format

BUDGET = 1 << 30
"""Bytes of cuts that are kept unless something else is said: 1 GiB."""


@dataclass
class Work:
    """Forward work: how many multiplying layers were computed, and their multiplications."""

    image_layers: int = 0
    """Layers times images."""
    macs: int = 0

    def add(self, other: Work) -> None:
        """Add other work to it."""
        self.image_layers += other.image_layers
        self.macs += other.macs

    def count(self, node: fx.Node, inputs: Sequence[Any], made: Any, images: int) -> None:
        """Count a node that was computed, if it multiplies."""
        macs = _macs(node, inputs, made)
        if macs:
            self.add(Work(images, macs))


def _macs(node: fx.Node, inputs: Sequence[Any], made: Any) -> int:
    """Return the multiplications of a node, 0 for one that is no layer."""
    kind = operator_name(node)
    if kind.startswith("conv_transpose"):
        return int(inputs[0].numel() * prod(inputs[1].shape[1:]))
    if kind.startswith("conv") and kind[4:5].isdigit():
        return int(made.numel() * prod(inputs[1].shape[1:]))
    if kind in {"linear", "matmul", "mm", "bmm"}:
        return int(made.numel() * inputs[0].shape[-1])
    return int(made.numel() * inputs[1].shape[-1]) if kind == "addmm" else 0


class Prefix:
    """A known graph and the images that changed copies of it are run on."""

    def __init__(
        self,
        graph: fx.GraphModule,
        batches: Iterable[Tensor],
        budget: int = BUDGET,
        work: Work | None = None,
    ) -> None:
        """`batches` are inputs of shape (n, ...); `budget` bytes of activations are kept.

        What is computed is added to `work`, by default one of its own. Raises HwflowError for a
        graph of other than one input.
        """
        self.work = Work() if work is None else work
        """What was computed so far, cuts included."""
        self._numbers = Numbers()
        self._known = _Graph(graph, self._numbers)
        self._batches = [fast_format(batch) for batch in batches]
        share = budget // max(1, len(self._batches))
        self._kept = [_Cuts(share) for _ in self._batches]
        self._constants = self._known.constants({})
        self._outputs: list[Tensor] = []
        self._whole = Work()

    def new_values(self, changed: fx.GraphModule) -> list[str]:
        """Return the names of the nodes of a changed copy that must be computed again."""
        graph = _Graph(changed, self._numbers)
        return [
            node.name for number, node in graph.numbered.items()
            if number not in self._known.numbered and node in graph.active
        ]  # fmt: skip

    @property
    def peak(self) -> int:
        """Most bytes of activations that one batch of the known graph needs at a time."""
        self.outputs()
        return self._known.peak

    @property
    def whole(self) -> Work:
        """The work of running the known graph as a whole."""
        self.outputs()
        return self._whole

    def outputs(self) -> list[Tensor]:
        """Return the outputs of the known graph, batch by batch."""
        if not self._outputs:
            graph = self._known
            for batch in self._batches:
                values = graph.compute(graph.leaving, self._constants, batch, self._whole)
                self._outputs.append(graph.output(values))
            self.work.add(self._whole)
        return self._outputs

    def run(self, changed: fx.GraphModule) -> list[Tensor]:
        """Return the outputs of a changed copy of the graph, batch by batch."""
        graph = _Graph(changed, self._numbers)
        cut = graph.cut(self._known.numbered)
        constants = graph.constants(self._constants)
        found = []
        for index, batch in enumerate(self._batches):
            held = constants | self._held(index, cut)
            values = graph.compute(graph.leaving, held, batch, self.work)
            found.append(graph.output(values))
        return found

    def _held(self, index: int, cut: AbstractSet[int]) -> dict[int, Any]:
        """Return values of the known graph for one batch."""
        kept = self._kept[index]
        missing = [number for number in cut if number not in kept.values]
        made: dict[int, Any] = {}
        if missing:
            held = self._constants | kept.values
            made = self._known.compute(missing, held, self._batches[index], self.work)
        return kept.take(cut, made)


class _Cuts:
    """Values that are kept, within a number of bytes."""

    def __init__(self, budget: int) -> None:
        self.values: OrderedDict[int, Any] = OrderedDict()
        self._budget = budget
        self._size = 0

    def take(self, cut: AbstractSet[int], made: Mapping[int, Any]) -> dict[int, Any]:
        """Return the values of a cut, keeping those that were made for it as long as they fit."""
        self.values.update(made)
        self._size += sum(map(_bytes, made.values()))
        found = {number: self.values[number] for number in cut}
        for number in sorted(cut):
            self.values.move_to_end(number)
        while self._size > self._budget:
            self._size -= _bytes(self.values.popitem(last=False)[1])
        return found


def _active(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes that depend on the input, sizes included."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def _bytes(value: Any) -> int:
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0


class _Graph:
    """A graph as computations of numbered values; nodes of one number are computed once."""

    def __init__(self, module: fx.GraphModule, numbers: Numbers) -> None:
        inputs = module.graph.find_nodes(op="placeholder")
        if len(inputs) != 1:
            raise HwflowError(f"A graph of one input is needed, not of {len(inputs)}.")
        self._interpreter = fx.Interpreter(module, garbage_collect_values=False)
        self._graph = module.graph
        self._numbers = numbers.of(module)
        self.numbered: dict[int, fx.Node] = {}
        """The first node of each number, in the order of the graph."""
        for node, number in self._numbers.items():
            self.numbered.setdefault(number, node)
        self.active = _active(module.graph)
        """The nodes that depend on the input."""
        self.peak = 0
        """Most bytes that were alive at a time in any call of `compute`."""
        (self._end,) = module.graph.find_nodes(op="output")
        self.leaving = self._sources(self._end)

    def cut(self, known: Mapping[int, fx.Node]) -> set[int]:
        """Return the known values, no constants, that leave or that what is not known reads."""
        found: set[int] = set()
        self._needed(self.leaving, known, found)
        return {number for number in found if self.numbered[number] in self.active}

    def constants(self, known: Mapping[int, Any]) -> dict[int, Any]:
        """Return the constants that are read; those that are known are not computed again."""
        read = dict.fromkeys(self.leaving)
        for node in self.numbered.values():
            if node in self.active:
                read.update(dict.fromkeys(self._sources(node)))
        wanted = [number for number in read if self.numbered[number] not in self.active]
        return self.compute(wanted, known, None, Work())

    def compute(
        self, wanted: Sequence[int], held: Mapping[int, Any], batch: Tensor | None, work: Work
    ) -> dict[int, Any]:
        """Return the wanted values from those that are held and from the input."""
        used: set[int] = set()
        needed = self._needed(wanted, held, used)
        values = {number: held[number] for number in used}
        left = Counter(wanted)
        for number in needed:
            left.update(self._sources(self.numbered[number]))
        alive = 0
        with torch.no_grad():
            for number in needed:
                node = self.numbered[number]
                values[number] = self._value(node, values, batch, work)
                alive += _bytes(values[number])
                self.peak = max(self.peak, alive)
                left.subtract(self._sources(node))
                for source in self._sources(node):
                    if not left[source]:
                        alive -= _bytes(values.pop(source))
        return {number: values[number] for number in wanted}

    def output(self, values: Mapping[int, Any]) -> Tensor:
        """Return the one tensor that leaves; of a dict of outputs its "out"."""
        flat = fx.node.map_arg(self._end.args[0], lambda node: values[self._numbers[node]])
        found: Any = self._graph.process_outputs(flat)
        if isinstance(found, Mapping):
            found = found.get("out")
        if isinstance(found, list | tuple) and len(found) == 1:
            found = found[0]
        if not isinstance(found, Tensor):
            raise HwflowError(f"The network returns {type(found).__name__}, not one tensor.")
        return found

    def _sources(self, node: fx.Node) -> list[int]:
        return list(dict.fromkeys(self._numbers[source] for source in node.all_input_nodes))

    def _needed(self, wanted: Iterable[int], known: Container[int], used: set[int]) -> list[int]:
        """Return what must be computed, in the graph's order; `used` gets what is known of it."""
        waiting, found = list(wanted), set[int]()
        while waiting:
            number = waiting.pop()
            if number in known:
                used.add(number)
            elif number not in found:
                found.add(number)
                waiting += self._sources(self.numbered[number])
        return [number for number in self.numbered if number in found]

    def _value(
        self, node: fx.Node, values: Mapping[int, Any], batch: Tensor | None, work: Work
    ) -> Any:
        if node.op == "placeholder":
            return batch
        args, kwargs = fx.node.map_arg(
            (node.args, node.kwargs), lambda source: values[self._numbers[source]]
        )
        made = getattr(self._interpreter, node.op)(node.target, args, kwargs)
        if batch is not None:
            work.count(node, args, made, len(batch))
        return made
