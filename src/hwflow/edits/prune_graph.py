"""Channels out of an exported graph: its parameters are cut, its constants follow.

What counts channels are the sizes of views, splits and pads, and the groups of convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from hwflow.coupling.groups import Mask
from hwflow.coupling.track import whole_groups
from hwflow.coupling.units import Lane
from hwflow.edits.branch_graph import Removal, take_out
from hwflow.edits.survey import Survey, arguments
from hwflow.edits.trainable import TrainableGraph
from hwflow.edits.twin import twin
from hwflow.extract.call import operator_name, shape_of


def set_argument(node: fx.Node, name: str, value: Any) -> None:
    """Change one argument of an ATen call."""
    if name in node.kwargs:
        node.update_kwarg(name, value)
        return
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    index = [argument.name for argument in schema].index(name)
    defaults = tuple(argument.default_value for argument in schema[len(node.args) : index])
    node.args = (*node.args[:index], *defaults, value, *node.args[index + 1 :])


def pruned(
    graph: TrainableGraph, survey: Survey, mask: Mask, removals: Iterable[Removal] = ()
) -> TrainableGraph:
    """Return a copy of the graph without the units that `mask` drops, and without branches."""
    module = twin(graph, lambda path, value: _left_of(path, value, survey, mask))
    left = Left(survey, mask)
    twins = dict(zip(graph.graph.nodes, module.graph.nodes, strict=True))
    for node, copied in twins.items():
        if node in survey.lanes and left.changed(node):
            rewrite = REWRITES.get(operator_name(node))
            if rewrite is not None:
                rewrite(left, node, copied)
            _resize(survey, copied, left.sizes(node))
        elif node.op == "get_attr" and survey.cut_of(str(node.target)):
            _resize(survey, copied, [tuple(_attribute(module, str(node.target)).shape)])
        elif node.op == "call_function" and node not in survey.lanes:
            _remade(node, copied)
    for removal in removals:
        take_out(module, twins, removal)
    module.recompile()
    return module


def _attribute(module: nn.Module, path: str) -> Tensor:
    owner, _, name = path.rpartition(".")
    found: Tensor = getattr(module.get_submodule(owner), name)
    return found


def _left_of(path: str, value: Tensor, survey: Survey, mask: Mask) -> Tensor:
    """Return what is left of a parameter or buffer, in memory of its own."""
    new = value.detach()
    for axis, ids in survey.cut_of(path).items():
        kept = mask[ids]
        if not kept.all():
            places = torch.from_numpy(np.flatnonzero(kept)).to(value.device)
            new = new.index_select(axis, places)
    if new.data_ptr() == value.data_ptr():
        new = new.clone()
    return nn.Parameter(new, value.requires_grad) if isinstance(value, nn.Parameter) else new


def _resize(survey: Survey, node: fx.Node, shapes: list[tuple[Any, ...]]) -> None:
    """Give a node's recorded tensors, which extraction reads, their new shapes."""
    value = node.meta.get("val")
    if isinstance(value, Tensor):
        node.meta["val"] = survey.stand_in(value, shapes[0])
    elif isinstance(value, list | tuple):
        pairs = zip(value, shapes, strict=True)
        node.meta["val"] = [survey.stand_in(v, shape) for v, shape in pairs]


def _remade(node: fx.Node, copied: fx.Node) -> None:
    """Give what is computed from constants the shape that it has when these are cut."""
    pairs = zip(node.all_input_nodes, copied.all_input_nodes, strict=True)
    if any(shape_of(old) != shape_of(new) for old, new in pairs):
        args, kwargs = fx.node.map_arg((copied.args, copied.kwargs), lambda n: n.meta["val"])
        copied.meta["val"] = copied.target(*args, **kwargs)  # type: ignore[operator]


@dataclass(eq=False)
class Left:
    """What is left of the channels of each node."""

    survey: Survey
    mask: Mask
    _counts: dict[Lane, int] = field(default_factory=dict)

    def changed(self, node: fx.Node) -> bool:
        """Whether a node reads or makes a tensor that has lost channels."""
        lanes = (self.survey.lanes.get(n) for n in (node, *node.all_input_nodes))
        return any(lane is not None and self.count(lane) < len(lane) for lane in lanes)

    def lane(self, node: object) -> Lane | None:
        """Return the channels of a node."""
        return self.survey.lanes.get(node) if isinstance(node, fx.Node) else None

    def count(self, lane: Lane, stop: int | None = None) -> int:
        """Return how many channels (of the first `stop`) are left."""
        if stop is not None:
            return int(self.mask[lane.ids[:stop]].sum())
        if lane not in self._counts:
            self._counts[lane] = int(self.mask[lane.ids].sum())
        return self._counts[lane]

    def sizes(self, node: fx.Node) -> list[tuple[Any, ...]]:
        """Return the new shapes of what a node makes."""
        value, lane = node.meta.get("val"), self.survey.lanes[node]
        if isinstance(value, Tensor):
            return [self._shape(value, lane, None)]
        if not isinstance(value, list | tuple):
            return []
        pieces = self.pieces(node) if lane is not None else None
        return [self._shape(v, lane, pieces[i] if pieces else None) for i, v in enumerate(value)]

    def _shape(self, value: Tensor, lane: Lane | None, piece: int | None) -> tuple[Any, ...]:
        shape = list(value.shape)
        if lane is not None and lane.axis < len(shape):
            own = self.count(lane) if shape[lane.axis] == len(lane) else shape[lane.axis]
            shape[lane.axis] = own if piece is None else piece
        return tuple(shape)

    def pieces(self, node: fx.Node) -> list[int] | None:
        """Return the new sizes of the parts of a split, None when it is along another axis."""
        lane, values = self.survey.lanes[node], node.meta["val"]
        dim = int(arguments(node).get("dim", 0)) % values[0].dim()
        if lane is None or lane.axis != dim:
            return None
        edges = np.cumsum([0, *(int(value.shape[dim]) for value in values)]).tolist()
        counts = [self.count(lane, edge) for edge in edges]
        return [b - a for a, b in pairwise(counts)]


def _viewed(left: Left, node: fx.Node, twin: fx.Node) -> None:
    """Change the size of the channel axis in the sizes a view is given."""
    given, lane = arguments(node), left.survey.lanes[node]
    name = next(key for key in ("size", "shape", "sizes") if key in given)
    if lane is None:
        return
    sizes = list(given[name])
    start = int(given["dim"]) % len(shape_of(node.args[0])) if "dim" in given else 0  # type: ignore[arg-type]
    place = lane.axis - start
    if 0 <= place < len(sizes) and sizes[place] == len(lane):
        # the nodes among them are the batch: those of the copy
        now = list(arguments(twin)[name])
        now[place] = left.count(lane)
        set_argument(twin, name, now)


def _sliced(left: Left, node: fx.Node, twin: fx.Node) -> None:
    given, lane = arguments(node), left.lane(node.args[0])
    dim = int(given.get("dim", 0)) % len(shape_of(node.args[0]))  # type: ignore[arg-type]
    if lane is None or lane.axis != dim:
        return
    if "length" in given:
        start = int(given["start"]) % len(lane)
        stop = start + int(given["length"])
        set_argument(twin, "length", left.count(lane, stop) - left.count(lane, start))
        set_argument(twin, "start", left.count(lane, start))
        return
    for key in ("start", "end"):
        if isinstance(given.get(key), int):
            stop = slice(given[key]).indices(len(lane))[1]
            set_argument(twin, key, left.count(lane, stop))


def _split(left: Left, node: fx.Node, twin: fx.Node) -> None:
    sizes = left.pieces(node)
    if sizes is not None:
        twin.target = torch.ops.aten.split_with_sizes.default
        twin.args = (twin.args[0], sizes, left.survey.lanes[node].axis)  # type: ignore[union-attr]
        twin.kwargs = {}


def _padded(left: Left, node: fx.Node, twin: fx.Node) -> None:
    read, lane = left.lane(node.args[0]), left.survey.lanes[node]
    if read is None or lane is None:
        return
    amounts = list(arguments(node)["pad"])
    place = 2 * (len(shape_of(node)) - 1 - lane.axis)
    if place < len(amounts) and (amounts[place] or amounts[place + 1]):
        before = amounts[place]
        amounts[place] = left.count(lane, before)
        amounts[place + 1] = left.count(lane) - left.count(lane, before + len(read))
        set_argument(twin, "pad", amounts)


def _grouped(left: Left, node: fx.Node, twin: fx.Node) -> None:
    layer = left.survey.found.workload[left.survey.found.owners[node.name]]
    lane = left.survey.lanes[node]
    if lane is not None and whole_groups(layer):
        set_argument(twin, "groups", layer.groups * left.count(lane) // len(lane))


def _group_normed(left: Left, node: fx.Node, twin: fx.Node) -> None:
    lane, groups = left.survey.lanes[node], int(arguments(node)["num_groups"])
    if lane is not None:
        set_argument(twin, "num_groups", groups * left.count(lane) // len(lane))


REWRITES: Mapping[str, Callable[[Left, fx.Node, fx.Node], None]] = {
    **dict.fromkeys(
        ("view", "reshape", "_unsafe_view", "view_copy", "expand", "expand_copy", "unflatten"),
        _viewed,
    ),
    **dict.fromkeys(("slice", "slice_copy", "narrow"), _sliced),
    **dict.fromkeys(("split", "chunk", "split_with_sizes", "tensor_split", "split_copy"), _split),
    "split_with_sizes_copy": _split, "pad": _padded, "constant_pad_nd": _padded,
    "group_norm": _group_normed,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), _grouped),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _grouped),
}  # fmt: skip
"""Operators with constants that count channels -> what changes them."""
