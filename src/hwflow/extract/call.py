"""One operator call of an exported graph, with its arguments by name and its shapes as numbers.

The rules of :mod:`hwflow.extract.aten` see the graph through this class only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import torch
from torch import fx

from hwflow.extract.nodes import IDENTITY, SUFFIXES, Label, Node, is_leaf
from hwflow.workload import FLOAT_BITS, Layer, Shape

QUANTIZER_OPERATORS = frozenset(
    f"hwflow.{name}.default" for name in ("fake_quantize", "lsq", "pact", "dorefa")
)
"""The operators that stand for a quantiser, recognised by name: they may not be registered."""

_WEIGHT = re.compile(r"(^|[._])(parametrizations\.)?weight(_orig|_g|_v|\.original\d*)?$")
"""What a weight's own name adds to the path it is known by."""

_NAMELESS = re.compile(r"(lifted_tensor_|_tensor_constant)\d+")
"""Names that the exporter gives to constants that have none."""

_TURNS = frozenset({"permute", "t", "transpose"})


def is_quantizer(node: object) -> bool:
    """Whether the node is a fake-quantise operator."""
    return isinstance(node, fx.Node) and str(node.target) in QUANTIZER_OPERATORS


def operator_name(node: fx.Node) -> str:
    """Return the operator's name without library and overload, such as "conv2d"."""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.partition("::")[2]
    return getattr(node.target, "__name__", str(node.target))


def number(value: Any) -> Any:
    """Return a size as a plain number: a symbolic batch counts as 1."""
    if not isinstance(value, torch.SymInt):
        return value
    expression = value.node.expr
    return int(expression.xreplace(dict.fromkeys(expression.free_symbols, 1)))


def shape_of(node: fx.Node) -> Shape:
    """Return the shape of the (first) tensor a node makes, with a symbolic batch as 1."""
    value = node.meta.get("val")
    if value is None and is_quantizer(node):
        return shape_of(node.args[0])  # type: ignore[arg-type]
    value = value[0] if isinstance(value, list | tuple) and value else value
    return tuple(int(number(size)) for size in getattr(value, "shape", ()))


def makes_tensors(node: fx.Node) -> bool:
    """Whether a node makes a tensor or several, and not a size or a check."""
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        return any(isinstance(item, torch.Tensor) for item in value)
    return isinstance(value, torch.Tensor) or is_quantizer(node)


_SHAPE_ONLY = frozenset({
    "empty_like", "full_like", "new_empty", "new_full", "new_ones", "new_zeros", "ones_like",
    "rand_like", "randn_like", "zeros_like",
})  # fmt: skip


def active_nodes(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes that make tensors which depend on the network's input."""
    active: set[fx.Node] = set()
    for node in graph.nodes:
        depends = node.op == "placeholder" or any(n in active for n in node.all_input_nodes)
        if node.op == "output" or operator_name(node) in _SHAPE_ONLY:
            continue
        if depends and makes_tensors(node):
            active.add(node)
    return active


@dataclass(eq=False)
class Scope:
    """What every call of one graph shares."""

    active: set[fx.Node]
    keys: Mapping[str, str]
    """Parameter path -> key; tied parameters have one key."""
    batch: int
    """Batch of the network's input."""
    uses: Mapping[str, int] = field(default_factory=dict)
    """How many calls read each parameter (by key) or buffer (by path)."""

    def parameters(self, constant: object) -> tuple[str, ...]:
        """Return the keys of the parameters that a constant is made from."""
        constant = weight_source(constant)
        if not isinstance(constant, fx.Node) or constant in self.active:
            return ()
        if constant.op == "get_attr":
            key = self.keys.get(str(constant.target))
            return (key,) if key else ()
        below = (self.parameters(node) for node in constant.all_input_nodes)
        return tuple(dict.fromkeys(key for keys in below for key in keys))

    def shared(self, *constants: object) -> bool:
        """Whether another call too reads one of these parameters or buffers."""
        nodes = (weight_source(constant) for constant in constants)
        paths = [str(node.target) for node in nodes if getattr(node, "op", "") == "get_attr"]
        return any(self.uses.get(self.keys.get(path, path), 1) > 1 for path in paths)


class Call:
    """A call of an ATen operator that depends on the network's input."""

    def __init__(self, node: fx.Node, scope: Scope) -> None:
        self.node = node
        self.scope = scope
        self.args = _bound(node)
        self.out = shape_of(node)

    def __getitem__(self, name: str) -> Any:
        return self.args[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument by name, `default` when the overload has none of that name."""
        return self.args.get(name, default)

    def ints(self, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return an argument of integers as a tuple."""
        value = self.args.get(name)
        if value is None or (isinstance(value, list | tuple) and not value):
            return default
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(self.size(item) for item in items)

    def size(self, value: Any) -> int:
        """Return a size that may be a node of the graph."""
        return int(number(value.meta["val"] if isinstance(value, fx.Node) else value))

    def is_active(self, value: object) -> bool:
        """Whether an argument is a tensor that depends on the network's input."""
        return isinstance(value, fx.Node) and value in self.scope.active

    @property
    def name(self) -> str:
        """The operator's name, such as "conv2d"."""
        return operator_name(self.node)

    @property
    def actives(self) -> list[fx.Node]:
        """The arguments that depend on the network's input, in order, repeats kept."""
        return [value for value in _flat(self.args.values()) if self.is_active(value)]

    def first(self, *names: str) -> Any:
        """Return the first argument that the overload has among these names."""
        return next(self.args[name] for name in names if name in self.args)

    def parameters(self, *names: str) -> tuple[str, ...]:
        """Return the keys of the parameters among the named arguments."""
        found = (self.scope.parameters(self.get(name)) for name in names)
        return tuple(dict.fromkeys(key for keys in found for key in keys))

    def make(
        self, op: str, inputs: Sequence[fx.Node | Node] | None = None, *, weight: Any = None,
        params: tuple[str, ...] = (), part: str = "", bits: int | None = None,
        foldable: bool = True, **fields: Any,
    ) -> Node:  # fmt: skip
        """Return the node of this call: a layer `op` over `inputs` (default: all active arguments).

        A call of several layers names all but the last one by their `part`.
        """
        read = self.actives if inputs is None else inputs
        draft = Layer(
            name="",
            op=op,
            inputs=tuple(_value(node) for node in read),
            in_shapes=tuple(_out_shape(node) for node in read),
            out_shape=self.out,
            batch=self.scope.batch,
        )
        label = self.label(op)
        own = weight_path(weight)
        # of a parameter that several modules share, the exporter keeps the name of one of them
        merged = own and label.leaf and self.scope.shared(weight)
        label = replace(label, weight=label.module if merged else own)
        if weight is not None:
            fields["weight_bits"] = quantizer_bits(weight)
            fields["path"] = module_path(weight) if own and not merged else label.module
        return Node(
            value=f"{self.node.name}/{part}" if part else self.node.name,
            layer=replace(draft, **fields),
            label=label,
            params=params,
            weight="" if weight is None else weight_source(weight).name,
            bits=bits,
            foldable=foldable,
        )

    def identity(self, source: fx.Node | None = None) -> Node:
        """Return a node that passes its (first active) argument on."""
        return self.make(IDENTITY, [source or self.actives[0]])

    def unknown(self) -> Node:
        """Return a node of unknown kind, with the operator's full name and its parameters."""
        keys = (self.scope.parameters(value) for value in _flat(self.args.values()))
        held = tuple(dict.fromkeys(key for found in keys for key in found))
        return self.make("unknown", params=held, attrs=(("target", str(self.node.target)),))

    def label(self, suffix: str) -> Label:
        """Return what this call may be named after."""
        path, kind = innermost(self.node)
        return Label("", path, is_leaf(kind), SUFFIXES.get(suffix, suffix))

    @property
    def leaf(self) -> bool:
        """Whether the call is the body of a plain operator module of torch.nn."""
        return is_leaf(innermost(self.node)[1])


def _value(node: fx.Node | Node) -> str:
    return node.value if isinstance(node, Node) else node.name


def _out_shape(node: fx.Node | Node) -> Shape:
    return node.layer.out_shape if isinstance(node, Node) else shape_of(node)


def innermost(node: fx.Node) -> tuple[str, str]:
    """Return the path and the type of the innermost module around a node."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return "", ""
    path, kind = list(stack.values())[-1]
    return path, kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"


def weight_source(weight: Any) -> Any:
    """Return what is behind the quantisers of a weight argument."""
    while is_quantizer(weight):
        weight = weight.args[0]
    return weight


def quantizer_bits(value: Any) -> int:
    """Return the bits of the quantiser that makes `value`, FLOAT_BITS when none does."""
    while isinstance(value, fx.Node) and operator_name(value) in _TURNS:
        value = value.args[0]
    return int(value.args[3]) if is_quantizer(value) else FLOAT_BITS


def parameter_of(weight: Any) -> str:
    """Return the path of the parameter that a weight argument is, or is computed from."""
    source = weight_source(weight)
    while isinstance(source, fx.Node) and source.op != "get_attr":
        constants = [weight_source(node) for node in source.all_input_nodes]
        source = constants[0] if constants else None
    return str(source.target) if isinstance(source, fx.Node) else ""


def weight_path(weight: Any) -> str:
    """Return the path of a weight parameter without its ".weight", "" where it is not one.

    A weight that torch computes anew keeps the path of its module: "fc.parametrizations.weight.0"
    and "fc.weight_v" are "fc"; "attention.in_proj_weight" is "attention.in_proj".
    """
    path = parameter_of(weight)
    return "" if _NAMELESS.fullmatch(path) else _WEIGHT.sub("", path)


def module_path(weight: Any) -> str:
    """Return the path of the module that holds a weight parameter."""
    head, computed, _ = parameter_of(weight).partition(".parametrizations.")
    return head if computed else head.rpartition(".")[0]


def _bound(node: fx.Node) -> dict[str, Any]:
    """Return the arguments of a call by the names of the operator's schema."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return {str(i): value for i, value in enumerate(node.args)} | dict(node.kwargs)
    schema = node.target._schema.arguments
    given = dict(zip((argument.name for argument in schema), node.args, strict=False))
    defaults = {a.name: a.default_value for a in schema if a.has_default_value()}
    return defaults | given | dict(node.kwargs)


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


Rule = Callable[[Call], "Node | list[Node]"]


def elements(node: fx.Node) -> int:
    """Return how many elements the tensor of a node has."""
    return prod(shape_of(node))
