"""Rules for the ATen operators that address their input differently, or put inputs together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from torch import fx

from hwflow.extract.call import Call, Rule, operator_name, shape_of
from hwflow.extract.nodes import IDENTITY, Node
from hwflow.workload import Shape

SPLITS = frozenset({"chunk", "split", "split_with_sizes", "tensor_split", "unbind",
                    "split_copy", "split_with_sizes_copy", "unbind_copy"})  # fmt: skip
"""Operators that give several slices of one tensor."""

Axes = tuple[int, ...]


def _reshape(call: Call) -> Node:
    x = call.actives[0]
    return call.identity(x) if shape_of(x) == call.out else call.make("reshape", [x])


def _permute(call: Call) -> Node:
    x = call.actives[0]
    order = _order(call, len(shape_of(x)))
    if order == tuple(range(len(order))):
        return call.identity(x)
    return call.make("permute", [x], attrs=(("dims", order),))


def _order(call: Call, rank: int) -> Axes:
    """Return the input axis behind each output axis."""
    if call.name == "permute":
        return tuple(axis % rank for axis in call.ints("dims"))
    if call.name == "movedim":
        return _moved(call.ints("source"), call.ints("destination"), rank)
    order = list(range(rank))
    if call.name in {"numpy_T", "t"}:
        return tuple(reversed(order))
    a, b = (call.first("dim0", "axis0"), call.first("dim1", "axis1")) if (
        call.name not in {"mT", "mH", "adjoint"}
    ) else (-2, -1)  # fmt: skip
    order[a], order[b] = order[b], order[a]
    return tuple(order)


def _moved(sources: Axes, targets: Axes, rank: int) -> Axes:
    sources, targets = (tuple(axis % rank for axis in axes) for axes in (sources, targets))
    rest = iter(axis for axis in range(rank) if axis not in sources)
    placed = dict(zip(targets, sources, strict=True))
    return tuple(placed[axis] if axis in placed else next(rest) for axis in range(rank))


def _sliced(call: Call, x: fx.Node, dim: int, start: int, stop: int, step: int = 1) -> Node:
    """Return the slice of `x` from `start` to `stop` along `dim`; all of it is no slice."""
    if (start, stop, step) == (0, shape_of(x)[dim], 1) and shape_of(x) == call.out:
        return call.identity(x)
    attrs = (("dim", dim), ("start", start), ("stop", stop), ("step", step))
    return call.make("slice", [x], attrs=attrs)


def _slice(call: Call) -> Node:
    x = call["self"]
    shape = shape_of(x)
    dim = int(call["dim"]) % len(shape)
    if call.name == "narrow":
        start = _position(call.size(call["start"]), shape[dim])
        return _sliced(call, x, dim, start, start + call.size(call["length"]))
    return _sliced(call, x, dim, *_edges(call, shape[dim]), call.size(call["step"]))


def _edges(call: Call, size: int) -> tuple[int, int]:
    """Return where a slice of an axis of `size` begins and ends."""
    start, stop = (
        edge if call[name] is None else _position(call.size(call[name]), size)
        for name, edge in (("start", 0), ("end", size))
    )
    return start, stop


def _position(index: int, size: int) -> int:
    """Return an index that may be negative or too large as one between 0 and `size`."""
    return min(max(index + size if index < 0 else index, 0), size)


def _select(call: Call) -> Node:
    x = call["self"]
    shape = shape_of(x)
    dim = int(call["dim"]) % len(shape)
    index = call.size(call["index"]) % shape[dim]
    return _sliced(call, x, dim, index, index + 1)


def piece(call: Call, source: fx.Node, index: int) -> Node:
    """Return one of the slices that a splitting operator `source` gives; `call` picks it."""
    split = Call(source, call.scope)
    x = split["self"]
    rank = len(shape_of(x))
    dim = int(split.get("dim", 0)) % rank
    if operator_name(source).startswith("unbind"):
        return _sliced(call, x, dim, index % shape_of(x)[dim], index % shape_of(x)[dim] + 1)
    sizes = [split.size(part.shape[dim]) for part in source.meta["val"]]
    index %= len(sizes)
    start = sum(sizes[:index])
    return _sliced(call, x, dim, start, start + sizes[index])


def _indexed(call: Call) -> Node:
    """Return rows picked by a constant index along one axis; where they lie is not recorded."""
    x = call.actives[0]
    if call.name == "index_select":
        picked = [int(call["dim"]) % len(shape_of(x))] if not call.is_active(call["index"]) else []
    else:
        picked = [axis for axis, index in enumerate(call["indices"]) if index is not None]
    if len(picked) != 1 or len(call.actives) != 1 or len(call.out) != len(shape_of(x)):
        return call.unknown()
    return call.make("slice", [x], attrs=(("dim", picked[0]),))


def _pad(call: Call) -> Node:
    x = call.actives[0]
    amounts = call.ints("pad") or call.ints("padding")
    rank = len(shape_of(x))
    pairs = [(0, 0)] * (rank - len(amounts) // 2)
    pairs += list(zip(amounts[::2], amounts[1::2], strict=True))[::-1]
    mode = str(call.get("mode", "constant"))
    if call.name.startswith(("reflection", "replication")):
        mode = "reflect" if call.name.startswith("reflection") else "replicate"
    before, after = (tuple(side) for side in zip(*pairs, strict=True))
    attrs = (
        ("mode", mode), ("value", call.get("value") or 0), ("before", before), ("after", after),
    )  # fmt: skip
    return call.make("pad", [x], attrs=attrs) if any(amounts) else call.identity(x)


def _expand(call: Call) -> Node:
    x = call.actives[0]
    return call.identity(x) if shape_of(x) == call.out else call.make("expand", [x])


def _roll(call: Call) -> Node:
    if call.name == "flip":
        return call.make("roll", attrs=(("flip", call.ints("dims")),))
    return call.make("roll", attrs=(("shifts", call.ints("shifts")), ("dims", call.ints("dims"))))


def _concat(call: Call) -> Node:
    parts = call["tensors"]
    dim = int(call.get("dim", 0)) % len(call.out)
    return _joined(call, parts, [shape_of(part) for part in parts], dim)


def _joined(call: Call, parts: Sequence[fx.Node | Node], shapes: Sequence[Shape], dim: int) -> Node:
    """Return the concatenation; constants only show in where the other parts begin."""
    if len(parts) == 1:
        # the one part may be what is written over all of a tensor
        kept = isinstance(parts[0], Node) or call.is_active(parts[0])
        return call.make(IDENTITY, [parts[0]]) if kept else call.unknown()
    starts = list(accumulate((shape[dim] if shape != (0,) else 0 for shape in shapes), initial=0))
    read = [
        (part, start)
        for part, start in zip(parts, starts, strict=False)
        if isinstance(part, Node) or call.is_active(part)
    ]
    attrs = (("dim", dim), ("offsets", tuple(start for _, start in read)))
    return call.make("concat", [part for part, _ in read], attrs=attrs)


def _stack(call: Call) -> list[Node]:
    dim = int(call.get("dim", 0)) % len(call.out)
    shape = (*call.out[:dim], 1, *call.out[dim + 1 :])
    wide: list[Any] = [
        call.make("reshape", [x], part=str(i), out_shape=shape) if call.is_active(x) else x
        for i, x in enumerate(call["tensors"])
    ]
    joined = _joined(call, wide, [shape] * len(wide), dim)
    return [*(node for node in wide if isinstance(node, Node)), joined]


def _written(call: Call) -> Node | list[Node]:
    """Return a tensor with one slice replaced: what lies before, the new part, what lies after."""
    x, new = call["self"], call["src"]
    dim = int(call["dim"]) % len(call.out)
    size = call.out[dim]
    start, stop = _edges(call, size)
    if call["step"] != 1:
        return call.unknown()
    parts: list[Any] = [(x, 0, start), (new, 0, stop - start), (x, stop, size)]
    shapes = [(*call.out[:dim], high - low, *call.out[dim + 1 :]) for _, low, high in parts]
    for i, (source, low, high) in enumerate(parts):
        cut = source is x and call.is_active(x) and low < high
        parts[i] = _cut(call, x, dim, low, high, str(i), shapes[i]) if cut else source
    kept = [i for i, shape in enumerate(shapes) if shape[dim]]
    joined = _joined(call, [parts[i] for i in kept], [shapes[i] for i in kept], dim)
    return [*(part for part in parts if isinstance(part, Node)), joined]


def _cut(call: Call, x: fx.Node, dim: int, start: int, stop: int, part: str, shape: Shape) -> Node:
    attrs = (("dim", dim), ("start", start), ("stop", stop), ("step", 1))
    return call.make("slice", [x], part=part, out_shape=shape, attrs=attrs)


def _shuffle(call: Call) -> list[Node]:
    """Return pixel and channel shuffles as what they are: reshape, permute, reshape."""
    x = call.actives[0]
    *lead, channels, height, width = shape_of(x)
    r, n = _shuffle_factor(call), len(lead)
    parts: Axes
    order: Axes
    if call.name == "pixel_shuffle":
        parts, order = (channels // r**2, r, r, height, width), (0, 3, 1, 4, 2)
    elif call.name == "pixel_unshuffle":
        parts, order = (channels, height // r, r, width // r, r), (0, 2, 4, 1, 3)
    else:
        parts, order = (r, channels // r, height, width), (1, 0, 2, 3)
    split = call.make("reshape", [x], part="split", out_shape=(*lead, *parts))
    axes = (*range(n), *(n + axis for axis in order))
    shape = tuple(split.layer.out_shape[axis] for axis in axes)
    turned = call.make("permute", [split], part="turned", out_shape=shape, attrs=(("dims", axes),))
    return [split, turned, call.make("reshape", [turned])]


def _shuffle_factor(call: Call) -> int:
    return call.size(call.first("upscale_factor", "downscale_factor", "groups"))


def _gated(call: Call) -> list[Node]:
    """Return a gated linear unit: one half times the sigmoid of the other."""
    x = call["self"]
    dim = int(call["dim"]) % len(call.out)
    half = call.out[dim]
    value = _cut(call, x, dim, 0, half, "value", call.out)
    gate = _cut(call, x, dim, half, 2 * half, "half", call.out)
    opened = call.make("act", [gate], part="gate", act=("sigmoid",))
    return [value, gate, opened, call.make("mul", [value, opened])]


RULES: dict[str, Rule] = {
    "flatten reshape reshape_as squeeze unflatten unsqueeze view view_as _unsafe_view ravel": (
        _reshape
    ),
    "squeeze_copy unsqueeze_copy view_copy": _reshape,
    "permute transpose t swapaxes swapdims movedim numpy_T mT mH adjoint": _permute,
    "slice narrow slice_copy": _slice,
    "select select_copy": _select,
    "index index_select": _indexed,
    "pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d "
    "replication_pad2d replication_pad3d": _pad,
    "expand expand_as broadcast_to repeat tile repeat_interleave expand_copy": _expand,
    "roll flip": _roll,
    "cat concat": _concat,
    "stack": _stack,
    "slice_scatter": _written,
    "pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle": _shuffle,
    "glu": _gated,
}
