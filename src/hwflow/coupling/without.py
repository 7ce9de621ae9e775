"""A workload without some of its residual branches: what dropping them changes on paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from hwflow.coupling.branches import REFUSES_ACT, Branch
from hwflow.workload import Layer, Workload


def without(workload: Workload, branches: Collection[Branch]) -> Workload:
    """Return the workload without these branches: what they were added to takes their place.

    An addition's activation folds onto what made that tensor, or stays under the addition's name.
    """
    return _Dropping(workload, branches).run() if branches else workload


class _Dropping:
    def __init__(self, workload: Workload, branches: Collection[Branch]) -> None:
        self.workload = workload
        self.dropped = {branch.add: branch for branch in branches}
        self.gone = frozenset[str]().union(*(branch.layers for branch in branches))
        self.layers: dict[str, Layer] = {}
        self.alias: dict[str, str] = {}
        self.bits = {i.name: i.bits for i in workload.inputs}
        self.loose = workload.loose_params
        self.reads = Counter(workload.outputs)
        for layer in workload:
            if layer.name not in self.gone:
                self.reads.update(layer.inputs)
        for branch in branches:
            self.reads[branch.end] = 0

    def run(self) -> Workload:
        for layer in self.workload:
            if layer.name in self.gone:
                self.loose -= layer.loose
            elif layer.name in self.dropped:
                self._pass_on(layer, self.dropped[layer.name])
            else:
                self._keep(layer)
        return replace(
            self.workload, layers=tuple(self.layers.values()), loose_params=self.loose
        )  # fmt: skip

    def _keep(self, layer: Layer) -> None:
        inputs = tuple(self.alias.get(name, name) for name in layer.inputs)
        bits = tuple(self.bits[name] for name in inputs)
        second = layer.op == "matmul" and len(bits) > 1
        if inputs != layer.inputs or bits != layer.input_bits:
            weight = bits[1] if second else layer.weight_bits
            layer = replace(layer, inputs=inputs, input_bits=bits, weight_bits=weight)
        self.layers[layer.name], self.bits[layer.name] = layer, layer.output_bits

    def _pass_on(self, add: Layer, branch: Branch) -> None:
        """Let the readers of an addition read what it was added to."""
        name = self.alias.get(branch.other, branch.other)
        maker = self.layers.get(name)
        self.loose -= add.loose
        if not add.act:
            self._replace(add, name)
        elif maker and maker.op not in REFUSES_ACT and self.reads[name] == 1:
            self.layers[name] = _activated(maker, add)
            self.loose += self.layers[name].loose - maker.loose
            self._replace(add, name)
        else:
            kept = replace(
                add, op="act", inputs=add.inputs[:1], in_shapes=add.in_shapes[:1], attrs=(),
                params=add.loose,
            )  # fmt: skip
            self._keep(replace(kept, inputs=(name,), input_bits=(self.bits[name],)))

    def _replace(self, add: Layer, name: str) -> None:
        self.alias[add.name] = name
        self.reads[name] += self.reads[add.name] - 1


def _activated(maker: Layer, add: Layer) -> Layer:
    """Return a layer with the activation of an addition, and its parameters."""
    extra, acts = add.loose, (*maker.act, *add.act)
    if maker.op not in {"add", "mul"}:
        return replace(maker, act=acts, params=maker.params + extra)
    others = tuple(pair for pair in maker.attrs if pair[0] != "loose")
    count = maker.loose + extra
    return replace(maker, act=acts, attrs=(*others, ("loose", count)) if count else others)
