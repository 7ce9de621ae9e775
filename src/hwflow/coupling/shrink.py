"""A workload with fewer channels: what pruning changes on paper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hwflow.coupling.groups import Coupling, Mask
from hwflow.coupling.held import per_channel
from hwflow.coupling.track import whole_groups
from hwflow.coupling.units import Lane
from hwflow.workload import Layer, Shape, Workload

Attrs = dict[str, Any]
Key = tuple[str | bytes, ...]

_REMEMBERED = 8_000
"""How many layers with fewer channels a coupling remembers: a search meets the same ones."""


def shrink(coupling: Coupling, mask: Mask) -> Workload:
    """Return the workload without the units that `mask` (:meth:`Coupling.mask`) drops."""
    small = _Shrink(coupling, mask)
    old = coupling.workload
    layers = tuple(map(small.layer, old.layers))
    lost = sum(_loose(a) - _loose(b) for a, b in zip(old, layers, strict=True) if a is not b)
    return replace(old, layers=layers, loose_params=old.loose_params - lost)


def _loose(layer: Layer) -> int:
    return layer.loose if layer.op in {"add", "mul"} else 0


class _Shrink:
    def __init__(self, coupling: Coupling, mask: Mask) -> None:
        self.mask = mask
        self.known = coupling.shrunk
        self.lanes: dict[str, Lane | None] = {}
        self.keys: dict[str, bytes] = {}
        found: dict[Lane | None, bytes] = {None: b""}
        for name, lane in coupling.lanes.items():
            if lane not in found:
                kept = mask[lane.ids]  # type: ignore[union-attr]  # None is there already
                found[lane] = b"" if kept.all() else kept.tobytes()
            self.keys[name] = found[lane]
            self.lanes[name] = lane if found[lane] else None

    def layer(self, layer: Layer) -> Layer:
        """Return a layer with the channels that are left; the same one where none is lost."""
        reads = [self.lanes[name] for name in layer.inputs]
        out = self.lanes[layer.name]
        if out is None and not any(reads):
            return layer
        names = (layer.name, *layer.inputs)
        key: Key = (layer.name, *(self.keys[name] for name in names))
        if key not in self.known:
            if len(self.known) >= _REMEMBERED:
                self.known.clear()
            self.known[key] = self._smaller(layer, reads, out)
        return self.known[key]

    def _smaller(self, layer: Layer, reads: list[Lane | None], out: Lane | None) -> Layer:
        shapes = tuple(map(self.shape, layer.in_shapes, reads))
        new = replace(
            layer, in_shapes=shapes, out_shape=self.shape(layer.out_shape, out),
            attrs=self.attrs(layer, reads, out),
        )  # fmt: skip
        if layer.is_mac:
            return self.mac(layer, new, reads[0], out)
        if layer.op in {"max_pool", "avg_pool"}:
            return replace(new, in_channels=shapes[0][1], out_channels=shapes[0][1])
        if out is not None and layer.params > 1:
            return replace(new, params=layer.params // len(out) * self.count(out))
        return new

    def count(self, lane: Lane | None, stop: int | None = None) -> int:
        """Return how many of a lane's channels (of the first `stop`) are left."""
        return 0 if lane is None else int(self.mask[lane.ids[:stop]].sum())

    def shape(self, shape: Shape, lane: Lane | None) -> Shape:
        """Return a shape with what is left on the axis of the channels."""
        if lane is None:
            return shape
        return (*shape[: lane.axis], self.count(lane), *shape[lane.axis + 1 :])

    def mac(self, layer: Layer, new: Layer, read: Lane | None, out: Lane | None) -> Layer:
        """Return a multiplying layer with the channels that are left."""
        ins, outs, groups = layer.in_channels, layer.out_channels, layer.groups
        if read is not None:
            ins = ins // len(read) * self.count(read)
        if out is not None:
            outs = self.count(out)
            groups = groups * outs // len(out) if whole_groups(layer) else groups
        new = replace(new, in_channels=ins, out_channels=outs, groups=groups)
        held = per_channel(layer)
        return new if held is None else replace(new, params=held.count(new))

    def attrs(self, layer: Layer, reads: list[Lane | None], out: Lane | None) -> Any:
        """Return the attributes that name positions or counts of channels, brought up to date."""
        given: Attrs = dict(layer.attrs)
        changed: Attrs = {}
        if layer.op == "slice" and reads[0] is not None and given["dim"] == reads[0].axis:
            changed = {key: self.count(reads[0], given[key]) for key in ("start", "stop")}
        elif layer.op == "pad" and out is not None:
            changed = self._pads(given, layer.in_shapes[0][out.axis], out)
        elif layer.op == "concat" and out is not None and given["dim"] == out.axis:
            changed = {"offsets": tuple(self.count(out, start) for start in given["offsets"])}
        elif layer.op == "norm" and "groups" in given and out is not None:
            changed = {"groups": given["groups"] * self.count(out) // len(out)}
        elif layer.op in {"add", "mul"} and "constant" in given and out is not None:
            changed = self._constant(given, len(layer.out_shape), out)
        return tuple((key, changed.get(key, value)) for key, value in layer.attrs)

    def _pads(self, given: Attrs, inner: int, out: Lane) -> Attrs:
        before, after, axis = list(given["before"]), list(given["after"]), out.axis
        first = given["before"][axis]
        before[axis] = self.count(out, first)
        after[axis] = self.count(out) - self.count(out, first + inner)
        return {"before": tuple(before), "after": tuple(after)}

    def _constant(self, given: Attrs, rank: int, out: Lane) -> Attrs:
        shape, own = tuple(given["constant"]), out.axis - (rank - len(given["constant"]))
        if own < 0 or shape[own] != len(out):
            return {}
        count = self.count(out)
        changed: Attrs = {"constant": (*shape[:own], count, *shape[own + 1 :])}
        if "loose" in given:
            changed["loose"] = given["loose"] // len(out) * count
        return changed
