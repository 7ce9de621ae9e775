"""Follows the channels of every tensor through the network, layer by layer.

Each multiplying layer makes new channels. What a layer reads and writes by the same channel is
joined; what cannot be removed, or not be followed, is fixed with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from hwflow.coupling.held import per_channel
from hwflow.coupling.units import Ids, Lane, Units
from hwflow.coupling.views import broadcast_axis, reshaped
from hwflow.errors import WorkloadError, unknown_name
from hwflow.workload import Layer, Shape, Workload

Lanes = Sequence[Lane | None]


@dataclass(eq=False)
class Tracker:
    """The channels of all tensors; None stands for a tensor whose channels all stay."""

    workload: Workload
    exclude: Collection[str] = ()
    units: Units = field(default_factory=Units)
    lanes: dict[str, Lane | None] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    """Why a layer's channels stay, where it has no lane."""

    def run(self) -> Tracker:
        """Follow the channels through every layer.

        Raises WorkloadError for an excluded name that no layer has.
        """
        for name in self.exclude:
            if name not in self.workload:
                known = [layer.name for layer in self.workload.mac_layers]
                raise WorkloadError(unknown_name("layer to exclude", name, known))
        for given in self.workload.inputs:
            self.lanes[given.name], self.shapes[given.name] = None, given.shape
        for layer in self.workload:
            self._visit(layer)
        for name in self.workload.outputs:
            self.fix(self.lanes[name], f"{name} leaves the network")
        return self

    def _visit(self, layer: Layer) -> None:
        lanes = [self.lanes[name] for name in layer.inputs]
        try:
            lane = RULES[layer.op](self, layer, lanes)
        except Exception as error:  # a rule that meets what it was not made for
            if layer.name not in self.exclude:
                raise WorkloadError(_not_followed(layer, error)) from error
            lane = self.refuse(layer, lanes, "cannot be followed")
        if lane is not None and (lane.axis == 0 or len(lane) < 2):
            lane = self.refuse(layer, [lane], "has one channel, or its channels on the batch axis")
        if layer.name in self.exclude:
            lane = self.refuse(layer, [lane], "is excluded")
        self.lanes[layer.name], self.shapes[layer.name] = lane, layer.out_shape
        first = layer.attr("tied")
        if isinstance(first, str):
            self._tie(layer, self.workload[first])

    def _tie(self, layer: Layer, first: Layer) -> None:
        """Join the channels of two layers that share a weight."""
        reads = zip(layer.inputs[:1], first.inputs[:1], strict=True)
        for name, other in (*reads, (layer.name, first.name)):
            a, b = self.lanes[name], self.lanes[other]
            if a is not None and b is not None and len(a) == len(b) and layer.op == first.op:
                self.units.join(a.ids, b.ids)
            else:
                for lane in (a, b):
                    self.fix(lane, f"{layer.name} shares the weight of {first.name}")

    def fix(self, lane: Lane | None, why: str) -> Lane | None:
        """Keep all channels of a lane; return None, the lane of a tensor without others."""
        if lane is not None:
            self.units.fix(lane.ids, why)
        return None

    def refuse(self, layer: Layer, lanes: Lanes, why: str) -> Lane | None:
        """Keep all channels that a layer reads; return None: its output has none to remove."""
        self.why[layer.name] = f"{layer.name} {why}"
        for lane in lanes:
            self.fix(lane, self.why[layer.name])
        return None

    def rank(self, layer: Layer, index: int = 0) -> int:
        """Return the number of axes of an input."""
        return len(self.shapes[layer.inputs[index]])


def _not_followed(layer: Layer, error: Exception) -> str:
    return (
        f"The channels of layer {layer.name!r} ({layer.op}) cannot be followed: "
        f"{type(error).__name__}: {error}. Leave all its channels: --exclude {layer.name} (in "
        "Python, exclude)."
    )


def _convolution(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    held = per_channel(layer)
    if len(layer.out_shape) < 3 or layer.out_shape[1] != layer.out_channels or held is None:
        return t.refuse(layer, lanes, "has parameters or shapes that are not followed")
    x, out = lanes[0], Lane(1, t.units.fresh(layer.out_channels))
    if x is not None and (x.axis != 1 or len(x) != t.shapes[layer.inputs[0]][1]):
        x = t.refuse(layer, [x], "reads the channels on another axis")
    if layer.groups == 1:
        return out
    if whole_groups(layer):
        return _whole(t, layer, x, out)
    for lane in (x, out):
        if lane is not None:
            rows = lane.ids.reshape(layer.groups, -1)
            for row in rows[1:]:
                t.units.join(rows[0], row)
    return out


def whole_groups(layer: Layer) -> bool:
    """Whether a grouped convolution loses whole groups, and not as many channels of each.

    Of the two it is the one that leaves the finer choice.
    """
    return layer.groups > 1 and layer.groups >= layer.in_channels // layer.groups


def _whole(t: Tracker, layer: Layer, x: Lane | None, out: Lane) -> Lane | None:
    if x is None:
        return t.refuse(layer, [out], "has groups, and the channels it reads stay")
    both = np.concatenate(
        [x.ids.reshape(layer.groups, -1), out.ids.reshape(layer.groups, -1)], axis=1
    )
    for column in both.T[1:]:
        t.units.join(both[:, 0], column)
    return out


def _linear(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    x, shape = lanes[0], t.shapes[layer.inputs[0]]
    plain = layer.groups == 1 and len(shape) == len(layer.out_shape) > 1
    fits = plain and (shape[-1], layer.out_shape[-1]) == (layer.in_channels, layer.out_channels)
    if not fits or per_channel(layer) is None:
        return t.refuse(layer, lanes, "has parameters or shapes that are not followed")
    if x is not None and x.axis != len(shape) - 1:
        t.refuse(layer, [x], "multiplies along another axis than that of the channels")
    return Lane(len(shape) - 1, t.units.fresh(layer.out_channels))


def _matmul(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    return t.refuse(layer, lanes, "multiplies two tensors")


def _unknown(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    return t.refuse(layer, lanes, f"is an operator that is not known, {layer.attr('target')}")


def _norm(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    x, kind = lanes[0], layer.attr("kind")
    if x is None:
        return None
    if kind in {"batch", "instance", "group"}:
        if x.axis != 1 or layer.params % len(x):
            return t.refuse(layer, lanes, "normalises the channels in a way not followed")
        groups = layer.attr("groups", len(x)) if kind == "group" else len(x)
        rows = x.ids.reshape(int(str(groups)), -1)
        for column in rows.T[1:]:
            t.units.join(rows[:, 0], column)
        return x
    last = layer.out_shape[-1]
    if kind in {"layer", "rms"} and x.axis < t.rank(layer) - 1 and layer.params in {last, 2 * last}:
        return x
    return t.refuse(layer, lanes, f"is a {kind} norm over the channels: each changes the others")


def _act(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    x = lanes[0]
    if x is None:
        return None
    by_channel = layer.params in {0, 1} or (layer.params == len(x) and x.axis == 1)
    if not by_channel or {"tril", "triu"} & set(layer.act):
        return t.refuse(layer, lanes, "is an activation of several channels")
    return x


def _softmax(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    x = lanes[0]
    if x is not None and x.axis == layer.attr("dim"):
        return t.refuse(layer, lanes, "is a softmax over the channels: each changes the others")
    return x


def _spatial(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    """Follow channels through pooling and resizing, which leave axis 1 alone."""
    x = lanes[0]
    if x is not None and x.axis != 1:
        return t.refuse(layer, lanes, "works along the axis of the channels")
    return x


def _reduce(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    x, dims = lanes[0], _axes(layer.attr("dims"))
    if x is None:
        return None
    if x.axis in dims or len(lanes) > 1:
        return t.refuse(layer, lanes, "reduces over the channels")
    kept = len(layer.out_shape) == t.rank(layer)
    return x if kept else x.on(x.axis - sum(axis < x.axis for axis in dims))


def _reshape(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    x = lanes[0]
    if x is None:
        return None
    lane = reshaped(t.units, x, t.shapes[layer.inputs[0]], layer.out_shape)
    return t.refuse(layer, lanes, "mixes the channels with other axes") if lane is None else lane


def _permute(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    x = lanes[0]
    return None if x is None else x.on(_axes(layer.attr("dims")).index(x.axis))


def _slice(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    x, dim = lanes[0], int(str(layer.attr("dim")))
    if x is None:
        return None
    dropped = t.rank(layer) - len(layer.out_shape)
    start, stop, step = (layer.attr(key) for key in ("start", "stop", "step"))
    if x.axis != dim:
        return x.on(x.axis - dropped) if dim < x.axis else x
    if dropped or step != 1 or not isinstance(start, int) or not isinstance(stop, int):
        return t.refuse(layer, lanes, "picks single channels")
    return Lane(dim, x.ids[start:stop])


def _pad(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    x = lanes[0]
    if x is None:
        return None
    before, after = (_axes(layer.attr(key))[x.axis] for key in ("before", "after"))
    if not before and not after:
        return x
    if layer.attr("mode") != "constant" or min(before, after) < 0:
        return t.refuse(layer, lanes, "pads with channels that are not constant")
    rows = t.units.fresh(before), x.ids, t.units.fresh(after)
    return Lane(x.axis, np.concatenate(rows))


def _expand(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    x = lanes[0]
    if x is None:
        return None
    axis = broadcast_axis(x.axis, t.rank(layer), len(layer.out_shape))
    if layer.out_shape[axis] != len(x):
        return t.refuse(layer, lanes, "repeats channels")
    return x.on(axis)


def _roll(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    x, rank = lanes[0], t.rank(layer)
    dims = {axis % rank for axis in _axes(layer.attr("dims") or layer.attr("flip"))}
    if x is not None and (not dims or x.axis in dims):
        return t.refuse(layer, lanes, "changes the order of the channels")
    return x


def _concat(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    found = [lane for lane in lanes if lane is not None]
    dim = int(str(layer.attr("dim")))
    if not found:
        return None
    if all(lane.axis == dim for lane in found):
        return Lane(dim, _side_by_side(t, layer, lanes, dim))
    axes = {lane.axis for lane in found}
    whole = sum(t.shapes[name][dim] for name in layer.inputs) == layer.out_shape[dim]
    if len(found) < len(lanes) or len(axes) > 1 or not whole:
        return t.refuse(layer, lanes, "puts tensors together along another axis")
    for lane in found[1:]:
        t.units.join(found[0].ids, lane.ids)
    return found[0]


def _side_by_side(t: Tracker, layer: Layer, lanes: Lanes, dim: int) -> Ids:
    """Return the channels of a concatenation; those of constants between stay."""
    ids = t.units.fresh(layer.out_shape[dim])
    open_ = np.ones(len(ids), bool)
    for lane, start in zip(lanes, _axes(layer.attr("offsets")), strict=True):
        if lane is not None:
            ids[start : start + len(lane)] = lane.ids
            open_[start : start + len(lane)] = False
    if open_.any():
        t.units.fix(ids[open_], f"{layer.name} puts them beside others that stay")
    return ids


def _pointwise(t: Tracker, layer: Layer, lanes: Lanes) -> Lane | None:
    """Follow channels through arithmetic: what meets is joined; operands may be broadcast."""
    rank = len(layer.out_shape)
    placed = [
        (lane.on(broadcast_axis(lane.axis, t.rank(layer, i), rank)), i)
        for i, lane in enumerate(lanes) if lane is not None
    ]  # fmt: skip
    wide = [lane for lane, _ in placed if len(lane) == layer.out_shape[lane.axis]]
    if not wide or len(wide) < len(placed) or len({lane.axis for lane in wide}) > 1:
        return t.refuse(layer, lanes, "meets tensors whose channels lie on other axes")
    first = wide[0]
    for lane in wide[1:]:
        t.units.join(first.ids, lane.ids)
    for name, given in zip(layer.inputs, lanes, strict=True):
        if given is None and _size(t.shapes[name], first.axis, rank) > 1:
            t.fix(first, f"{layer.name} meets {name}, whose channels stay")
    return first


def _size(shape: Shape, axis: int, rank: int) -> int:
    """Return an operand's size on an axis of the result, 1 where it is broadcast."""
    own = axis - (rank - len(shape))
    return shape[own] if own >= 0 else 1


def _axes(value: object) -> tuple[int, ...]:
    return tuple(int(item) for item in value) if isinstance(value, tuple) else ()


RULES: dict[str, Callable[[Tracker, Layer, Lanes], Lane | None]] = {
    "conv": _convolution, "conv_transpose": _convolution, "linear": _linear, "matmul": _matmul,
    "norm": _norm, "act": _act, "softmax": _softmax, "max_pool": _spatial, "avg_pool": _spatial,
    "resize": _spatial, "reduce": _reduce, "reshape": _reshape, "permute": _permute,
    "slice": _slice, "pad": _pad, "expand": _expand, "roll": _roll, "concat": _concat,
    "add": _pointwise, "mul": _pointwise, "unknown": _unknown,
}  # fmt: skip
"""Operator -> how channels go through it."""
