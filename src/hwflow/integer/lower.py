"""Exported graph -> integer program, operator by operator.

While it is compiled, a tensor is either *codes* on a grid or a *real* sum of accumulators times
factors (:mod:`hwflow.integer.values`). Layers make sums from codes; normalisations, biases and
activations only change what a sum stands for; a quantiser turns it into codes, in one rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, cast

import numpy as np
import torch
from torch import Tensor, fx

from hwflow.errors import ModelError
from hwflow.extract.call import Call, Scope, active_nodes, is_quantizer, shape_of
from hwflow.extract.constants import constant, is_constant
from hwflow.extract.exported import Extraction
from hwflow.fake_quantize import grid as grid_limits
from hwflow.fake_quantize import spread
from hwflow.integer import curves
from hwflow.integer.program import Step
from hwflow.integer.requantize import requantizer
from hwflow.integer.values import Array, Codes, Curve, Grid, Real, Term, signed_bits

Value = Codes | Real

Rule = Callable[["Lowering", Call], Value]
"""Makes a call's steps, and returns what the node has become."""


def floats(tensor: Tensor) -> Array:
    """Return a constant of the network as float64; float32 values stay what they are."""
    return np.asarray(tensor.detach().double().cpu().numpy())


@dataclass(eq=False)
class Lowering:
    """The program so far, and what each node of the graph has become."""

    module: fx.GraphModule
    found: Extraction
    multiplier_bits: int
    steps: list[Step] = field(default_factory=list)
    grids: dict[str, Grid] = field(default_factory=dict)
    values: dict[fx.Node, Value] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _centred: dict[str, Term] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scope = Scope(active_nodes(self.found.graph), {}, 1)

    # what rules use

    def layer(self, node: fx.Node) -> str:
        """Return the layer or input that a node is part of."""
        return self.found.owners.get(node.name, node.name)

    def refuse(self, node: fx.Node, why: str, remedy: str) -> NoReturn:
        """Raise ModelError for a node that has no integer form."""
        raise ModelError(f"Layer {self.layer(node)!r} has no integer form: {why} {remedy}")

    def constant(self, node: object) -> Tensor:
        """Return the value of a node that depends on no input."""
        return constant(self.module, node)

    def add(
        self, node: fx.Node, kind: str, inputs: tuple[str, ...], compute: Callable[..., Array],
        bits: int | None = None, name: str = "",
    ) -> str:  # fmt: skip
        """Add a step and return the name of its array."""
        made = self.unique(name or f"{node.name}.{kind}")
        self.steps.append(Step(made, kind, inputs, compute, self.layer(node), bits))
        return made

    def unique(self, name: str) -> str:
        """Return a name that no array has yet."""
        found, count = name, 1
        while found in self._names:
            count += 1
            found = f"{name}#{count}"
        self._names.add(found)
        return found

    def codes(self, node: fx.Node, reader: fx.Node) -> Codes:
        """Return an operand that must be quantised."""
        value = self.values[node]
        if isinstance(value, Real):
            self.refuse(
                reader,
                f"its operand, the output of {self.layer(node)!r}, is not quantised.",
                "Give that tensor 1 to 16 bits.",
            )
        return value

    def real(self, node: fx.Node, reader: fx.Node) -> Real:
        """Return an operand as a sum to which no activation has been applied."""
        value = self.values[node]
        if isinstance(value, Real):
            if value.curves:
                self.refuse(
                    reader,
                    f"it reads {self.layer(node)!r} after an activation and before any quantiser.",
                    "Quantise the tensor between them.",
                )
            return value
        return Real((self.centred(value),), np.zeros(()))

    def centred(self, value: Codes) -> Term:
        """Return the term code - zero point of a quantised tensor."""
        if value.name not in self._centred:
            grid = value.grid
            name = self.unique(f"{value.name}.centred")
            if grid.zero.any():
                self.steps.append(
                    Step(name, "centre", (value.name,), lambda codes: codes - grid.zero, value.name)
                )
            else:
                name = value.name
            self._centred[value.name] = Term(name, grid.scale, *grid.centred)
        return self._centred[value.name]

    def weight(self, node: object, reader: fx.Node) -> tuple[Array, Array, int]:
        """Return a weight as centred codes, its scales, and the axis of these (-1: one scale)."""
        if not (isinstance(node, fx.Node) and is_quantizer(node) and is_constant(node)):
            self.refuse(reader, "its weight is not quantised.", "Give it 1 to 16 bits.")
        value, step = (self.constant(source).float() for source in node.args[:2])
        axis, grid = cast(int, node.args[5]), self.grid(node, value.dim())
        if grid.by_sign:
            codes = torch.where(value < 0, -1, 1)
        else:  # in float32, as the simulation does it
            ratio = value / torch.from_numpy(spread(step.numpy(), value.dim(), axis))
            codes = (ratio.round() + torch.from_numpy(grid.zero)).clamp(grid.low, grid.high)
        centred = codes.numpy().astype(np.int64) - grid.zero
        return centred, floats(step).reshape(-1), axis

    def grid(self, node: fx.Node, rank: int) -> Grid:
        """Return the grid of a quantiser."""
        scale, zero, bits, signed, axis = cast(tuple[Any, Any, int, bool, int], node.args[1:6])
        low, high = grid_limits(bits, signed)
        step = spread(floats(self.constant(scale).float()), rank, axis)
        zeros = spread(self.constant(zero).cpu().numpy().astype(np.int64), rank, axis)
        return Grid(step, zeros * (not signed), bits, signed, low, high)

    # the walk

    def run(self, rules: dict[str, Rule]) -> tuple[Value, ...]:
        """Compile the graph and return its outputs."""
        for node in self.found.graph.nodes:
            if node not in self.scope.active or node.op == "placeholder":
                continue
            call = Call(node, self.scope)
            if is_quantizer(node):
                self.values[node] = self._quantise(node)
            elif call.name in rules:
                self._check_operands(node)
                self.values[node] = rules[call.name](self, call)
            else:
                self.refuse(
                    node, f"there is no integer rule for operator {call.name!r}.",
                    "Replace the layer, or run the network as an exported ONNX file.",
                )  # fmt: skip
        output = next(node for node in self.found.graph.nodes if node.op == "output")
        return tuple(self._left(node) for node in output.all_input_nodes)

    def _left(self, node: fx.Node) -> Value:
        if node not in self.values:
            self.refuse(node, "an output is the input or a constant.", "Take it out.")
        return self.values[node]

    def _check_operands(self, node: fx.Node) -> None:
        for source in node.all_input_nodes:
            if source in self.scope.active and source not in self.values:
                self.refuse(
                    node, f"it reads the input {self.layer(source)!r}, which is not quantised.",
                    "Give the input 1 to 16 bits.",
                )  # fmt: skip

    def _quantise(self, node: fx.Node) -> Codes:
        source = node.all_input_nodes[0]
        grid = self.grid(node, len(shape_of(source)))
        name = self.unique(self.layer(source))
        self.grids[name] = grid
        if source.op == "placeholder":
            return Codes(name, grid)
        value = self.values[source]
        if isinstance(value, Codes):
            value = self.real(source, node)
        terms, limits = value.terms, value.limits()
        if limits is None:
            return self._curved(node, name, value, grid)
        rule = requantizer(
            [term.factor for term in terms], [(term.low, term.high) for term in terms],
            value.offset, grid, limits, self.multiplier_bits,
        )  # fmt: skip
        self._finish(source, "requantize", name, terms, lambda *sums: rule(sums))
        return Codes(name, grid)

    def _finish(
        self, node: fx.Node, kind: str, name: str, terms: tuple[Term, ...],
        compute: Callable[..., Array],
    ) -> None:  # fmt: skip
        read = tuple(term.name for term in terms)
        self.steps.append(Step(name, kind, read, compute, self.layer(node)))

    def _curved(self, node: fx.Node, name: str, value: Real, grid: Grid) -> Codes:
        """Return the codes of an activation that does more than clip."""
        source = node.all_input_nodes[0]
        words = " and ".join(curve.name for curve in value.curves)
        if len(value.terms) != 1:
            self.refuse(source, f"{words} follows a sum of two tensors.", "Quantise the sum first.")
        term = value.terms[0]
        codes = curves.function(term, value.offset, value.curves, grid)
        single = term.factor.size == value.offset.size == 1 and grid.uniform
        made: Callable[..., Array]
        if single and term.high - term.low < curves.TABLE:
            made = curves.table(term, codes)
        else:
            turns = self._turns(source, value.curves)
            channels = max(term.factor.size, value.offset.size, grid.scale.size)
            if channels * (grid.high - grid.low) > curves.STEPS:
                self.refuse(
                    source, f"{words} onto {grid.bits} bits needs more than {curves.STEPS:,} "
                    "thresholds.", "Give its output fewer bits (8 will do).",
                )  # fmt: skip
            made = curves.staircase(term, value.offset, codes, turns)
        kind = "table" if isinstance(made, curves.Table) else "thresholds"
        self._finish(source, kind, name, (term,), made)
        return Codes(name, grid)

    def _turns(self, node: fx.Node, functions: tuple[Curve, ...]) -> tuple[float, ...]:
        """Return where a chain of curves turns: one that turns and others that only rise."""
        turning = [curve for curve in functions if curve.turns != ()]
        if len(turning) > 1 or (turning and functions[0] is not turning[0]):
            self.refuse(node, "it applies several activations.", "Quantise between them.")
        if turning and turning[0].turns is None:
            self.refuse(
                node, f"{turning[0].name} is read from a sum of more than {curves.TABLE:,} values "
                "and its turning points are not known.",
                "Quantise the tensor before it to 16 bits or fewer.",
            )  # fmt: skip
        return turning[0].turns or () if turning else ()

    def curve(self, call: Call, curve: Curve) -> Real:
        """Return the operand of an activation with it applied."""
        value = self.values[call.actives[0]]
        start = value if isinstance(value, Real) else self.real(call.actives[0], call.node)
        return replace(start, curves=(*start.curves, curve))

    def sum(
        self, node: fx.Node, kind: str, inputs: tuple[str, ...], compute: Callable[..., Array],
        factor: Array, bounds: tuple[int, int], offset: Any = 0.0,
    ) -> Real:  # fmt: skip
        """Add a step that adds up, and return what it makes."""
        name = self.add(node, kind, inputs, compute, signed_bits(*bounds))
        return Real((Term(name, factor, *bounds),), np.asarray(offset, dtype=np.float64))
