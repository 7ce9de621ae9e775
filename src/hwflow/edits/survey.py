"""Where the channels of a coupling are in an exported graph.

The graph's nodes have the channels of the layers they are part of; from these follow the places
where each parameter is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from hwflow.coupling import Coupling
from hwflow.coupling.groups import STAYS
from hwflow.coupling.track import whole_groups
from hwflow.coupling.units import Ids, Lane
from hwflow.extract.call import active_nodes, makes_tensors, operator_name, shape_of
from hwflow.extract.exported import Extraction

Cut = dict[int, Ids]
"""Axis of a constant -> the unit of each index."""

_REMEMBERED = 20_000
"""How many stand-ins of tensors a survey keeps: a search meets the same shapes."""

_POINTWISE = frozenset({
    "add", "sub", "rsub", "mul", "div", "true_divide", "pow", "maximum", "minimum", "fmax", "fmin",
    "where", "masked_fill", "clamp", "clamp_min", "clamp_max", "_prelu_kernel",
})  # fmt: skip
_SAME = frozenset({
    "contiguous", "clone", "detach", "alias", "to", "_to_copy", "exp", "neg", "abs", "sigmoid",
    "tanh",
})  # fmt: skip
_TURNS = frozenset({"t", "transpose", "permute"})
_NORMS = {
    "batch_norm": ("weight", "bias", "running_mean", "running_var"),
    "_native_batch_norm_legit_no_training": ("weight", "bias", "running_mean", "running_var"),
    "instance_norm": ("weight", "bias", "running_mean", "running_var"),
    "group_norm": ("weight", "bias"),
}


def arguments(node: fx.Node) -> dict[str, Any]:
    """Return the given arguments of an ATen call by name."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return dict(node.kwargs)
    names = (argument.name for argument in node.target._schema.arguments)
    return dict(zip(names, node.args, strict=False)) | dict(node.kwargs)


@dataclass(eq=False)
class Survey:
    """Where the channels of a coupling are in an exported graph."""

    found: Extraction
    coupling: Coupling
    lanes: dict[fx.Node, Lane | None] = field(default_factory=dict)
    cuts: dict[str, Cut] = field(default_factory=dict)
    """First path of a parameter or buffer -> where it is cut."""
    keys: dict[str, str] = field(default_factory=dict)
    """Path of a parameter or buffer -> the first path of the same tensor."""
    faults: dict[str, str] = field(default_factory=dict)
    """Layer -> why its channels cannot be taken out of this graph."""
    _readers: dict[str, fx.Node] = field(default_factory=dict)
    """Path -> who read the parameter or buffer first."""
    _stand_ins: dict[tuple[object, ...], Tensor] = field(default_factory=dict)

    def run(self) -> Survey:
        """Go through the graph once."""
        self.keys = _first_paths(self.found.graph.owning_module)
        active = active_nodes(self.found.graph) & _needed(self.found.graph)
        for node in self.found.graph.nodes:
            if node in active:
                self.lanes[node] = self._lane(node)
        for node in self.lanes:
            if node.op == "call_function":
                try:
                    self._constants(node)
                except Exception as error:  # an operator in a form that nobody has foreseen
                    self.fault(node, f"is not followed: {type(error).__name__}: {error}")
        return self

    def cut_of(self, path: str) -> Cut:
        """Return where a parameter or buffer is cut."""
        return self.cuts.get(self.keys.get(path, path), {})

    def stand_in(self, value: Tensor, shape: tuple[Any, ...]) -> Tensor:
        """Return what stands for a tensor like `value` in a graph; graphs may share it."""
        key = (value.dtype, value.device, *map(_plain, shape))
        if key not in self._stand_ins:
            if len(self._stand_ins) >= _REMEMBERED:
                self._stand_ins.clear()
            self._stand_ins[key] = _like(value, shape)
        return self._stand_ins[key]

    def _lane(self, node: fx.Node) -> Lane | None:
        """Return the channels of a node: those of its layer, or of what it passes on."""
        owner = self.found.owners.get(node.name)
        if owner is not None:
            return self.coupling.lanes[owner]
        return next((self.lanes[n] for n in node.all_input_nodes if n in self.lanes), None)

    def touched(self, node: fx.Node) -> bool:
        """Whether a node reads or makes channels that may be removed."""
        nodes = (node, *node.all_input_nodes)
        lanes = (self.lanes.get(n) for n in nodes)
        return any(lane is not None and (lane.ids != STAYS).any() for lane in lanes)

    def fault(self, node: fx.Node, why: str) -> None:
        """Note that the channels around a node must stay."""
        names = {self.found.owners.get(n.name) for n in (node, *node.all_input_nodes)}
        workload = self.found.workload
        for name in sorted(n for n in names if n is not None and n in workload):
            self.faults.setdefault(name, f"{operator_name(node)} {why}")

    def _constants(self, node: fx.Node) -> None:
        name, given = operator_name(node), arguments(node)
        if name in _WEIGHTED:
            for constant, cut in _WEIGHTED[name](self, node, given):
                self._cut(node, constant, cut)
        elif name in _NORMS:
            lane = self.lanes[node]
            for key in _NORMS[name]:
                self._cut(node, given.get(key), {} if lane is None else {0: lane.ids})
        elif name == "prelu":
            lane, slopes = self.lanes[node], given["weight"]
            single = lane is None or shape_of(slopes) != (len(lane),)
            self._cut(node, slopes, {} if single or lane is None else {0: lane.ids})
        elif name in _POINTWISE:
            for constant in self._loose(node):
                self._cut(node, constant, self._aligned(node, constant))
        else:
            self._others(node, name)

    def _loose(self, node: fx.Node) -> list[fx.Node]:
        return [n for n in node.all_input_nodes if n not in self.lanes and makes_tensors(n)]

    def _others(self, node: fx.Node, name: str) -> None:
        """Look at an operator whose constants, if it has any, cannot be cut."""
        for constant in self._loose(node):
            if name not in {"layer_norm", "rms_norm", "cat"} and self.touched(node):
                self.fault(node, "reads constants in a way that is not followed")
            self._cut(node, constant, {})
        unshuffled = self.found.owners.get(f"{node.name}/split")
        split = self.coupling.lanes[unshuffled] if unshuffled else None
        mixes = name == "slice_scatter" or (split is not None and split.axis < 2)
        if mixes and self.touched(node):
            self.fault(node, "mixes channels in a way that is not followed")

    def _aligned(self, node: fx.Node, constant: fx.Node) -> Cut:
        """Return where a broadcast operand has the channels of the result."""
        lane = self.lanes[node]
        if lane is None:
            return {}
        shape = shape_of(constant)
        axis = lane.axis - (len(shape_of(node)) - len(shape))
        return {axis: lane.ids} if axis >= 0 and shape[axis] == len(lane) else {}

    def _cut(self, reader: fx.Node, constant: object, cut: Cut) -> None:
        """Note where a constant is cut; behind an operator, where what it is made from is."""
        if not isinstance(constant, fx.Node) or constant in self.lanes:
            return
        cut = {axis: ids for axis, ids in cut.items() if (ids != STAYS).any()}
        name = operator_name(constant)
        inner = constant.all_input_nodes
        if constant.op == "get_attr":
            self._note(reader, str(constant.target), cut)
        elif name in _TURNS:
            order = _turned(constant)
            self._cut(reader, inner[0], {order[axis]: ids for axis, ids in cut.items()})
        elif name in _SAME:
            self._cut(reader, inner[0], cut)
        elif name.endswith("_like") and inner and inner[0] in self.lanes:
            self._adapts(reader, self.lanes[inner[0]], cut)
        else:
            if cut:
                self.fault(reader, f"reads what {name} makes of constants")
            for source in inner:
                self._cut(reader, source, {})

    def _adapts(self, reader: fx.Node, lane: Lane | None, cut: Cut) -> None:
        """Look at a constant that takes its size from a tensor: it must have its channels."""
        own = {} if lane is None or not (lane.ids != STAYS).any() else {lane.axis: lane.ids}
        if not _same(own, cut):
            self.fault(reader, "reads a constant as wide as a tensor with other channels")

    def _note(self, reader: fx.Node, path: str, cut: Cut) -> None:
        path = self.keys.get(path, path)
        first = self._readers.setdefault(path, reader)
        if not _same(self.cuts.setdefault(path, cut), cut):
            for node in (first, reader):
                self.fault(node, f"reads {path}, which others read with other channels")


def _plain(size: object) -> object:
    """Return a size as something that can be compared: a symbolic one as its formula."""
    return size.node.expr if isinstance(size, torch.SymInt) else size


def _like(value: Tensor, shape: tuple[Any, ...]) -> Tensor:
    mode = getattr(value, "fake_mode", None)
    if mode is None:
        return torch.empty(shape, dtype=value.dtype, device="meta")
    with mode, torch.no_grad():
        found: Tensor = value.new_empty(shape)
    return found


def _same(left: Cut, right: Cut) -> bool:
    return left.keys() == right.keys() and all(
        np.array_equal(left[axis], right[axis]) for axis in left
    )


def _first_paths(module: nn.Module | None) -> dict[str, str]:
    """Map the path of each parameter and buffer to the first one of the same tensor."""
    assert module is not None  # a graph is part of the module it was exported as
    first: dict[int, str] = {}
    tensors = chain(
        module.named_parameters(remove_duplicate=False),
        module.named_buffers(remove_duplicate=False),
    )
    return {path: first.setdefault(id(tensor), path) for path, tensor in tensors}


def _needed(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes that the output depends on."""
    waiting = list(graph.find_nodes(op="output"))
    needed = set(waiting)
    while waiting:
        fresh = [node for node in waiting.pop().all_input_nodes if node not in needed]
        needed.update(fresh)
        waiting += fresh
    return needed


def _turned(node: fx.Node) -> tuple[int, ...]:
    """Return the axis of the input behind each axis of a transposed constant."""
    rank, given = len(shape_of(node)), arguments(node)
    order = list(range(rank))
    if operator_name(node) == "permute":
        return tuple(axis % rank for axis in given["dims"])
    a, b = given.get("dim0", 0), given.get("dim1", rank - 1)
    order[a], order[b] = order[b], order[a]
    return tuple(order)


Cuts = list[tuple[object, Cut]]


def _ids(lane: Lane | None) -> Ids | None:
    return None if lane is None else lane.ids


def _by_axis(*ids: Ids | None) -> Cut:
    return {axis: row for axis, row in enumerate(ids) if row is not None}


def _convolution(survey: Survey, node: fx.Node, given: dict[str, Any]) -> Cuts:
    ins, out = _ids(survey.lanes.get(given["input"])), _ids(survey.lanes[node])
    transposed = "transpose" in operator_name(node) or given.get("transposed", False)
    layer = survey.found.workload[survey.found.owners[node.name]]
    inner = out if transposed else ins
    if inner is not None and layer.groups > 1:
        inner = None if whole_groups(layer) else inner[: len(inner) // layer.groups]
    cut = _by_axis(ins if transposed else out, inner)
    return [(given["weight"], cut), (given.get("bias"), _by_axis(out))]


def _linear(survey: Survey, node: fx.Node, given: dict[str, Any]) -> Cuts:
    ins, out = _ids(survey.lanes.get(given["input"])), _ids(survey.lanes[node])
    return [(given["weight"], _by_axis(out, ins)), (given.get("bias"), _by_axis(out))]


def _product(survey: Survey, node: fx.Node, given: dict[str, Any]) -> Cuts:
    """Return the cuts of x @ W + b; of W @ x they are not followed."""
    second = "mat2" if "mat2" in given else "other"
    left, right = given["mat1" if "mat1" in given else "self"], given[second]
    if left not in survey.lanes or len(shape_of(right)) != 2:
        if survey.touched(node):
            survey.fault(node, "multiplies by a constant in a way that is not followed")
        return [(left, {}), (right, {})]
    ins, out = _ids(survey.lanes[left]), _ids(survey.lanes[node])
    bias = given["self"] if "mat1" in given else None
    return [(right, _by_axis(ins, out)), (bias, _by_axis(out))]


_WEIGHTED: dict[str, Callable[[Survey, fx.Node, dict[str, Any]], Cuts]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _convolution),
    "linear": _linear, "matmul": _product, "mm": _product, "addmm": _product,
}  # fmt: skip
