"""Residual branches: layers whose result is only added to another tensor of the same shape.

A branch can be left out as a whole: the addition then passes the other tensor on. Only a main
branch can: one that groups of channels live wholly inside of, with more multiplying layers than
what makes the other tensor for the addition alone (a projection, say). Where what is left would
fold in ways that the workload does not tell (a normalisation that now follows a convolution), the
branch stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from hwflow.workload import VIEW_OPS, Layer, Workload

REFUSES_ACT = VIEW_OPS | {"unknown"}
"""Operators that no activation folds onto."""

_TAKES_NORM = frozenset({"conv", "conv_transpose", "linear"})


@dataclass(frozen=True)
class Branch:
    """Layers that an addition can do without."""

    add: str
    """The addition."""
    end: str
    """What the branch makes for it."""
    other: str
    """The tensor that is added to: what is left of the addition."""
    layers: frozenset[str]
    groups: tuple[str, ...]
    """Groups of channels that live wholly inside, in the order of their layers."""
    stands: bool
    """Whether the addition's activation is left as a layer, and does not fold onto `other`."""


def residual_branches(
    workload: Workload, spans: Mapping[str, Collection[str]], exclude: Collection[str]
) -> tuple[Branch, ...]:
    """Return the branches that can be left out, in order; none is part of another.

    `spans` are the tensors that each group of channels is part of. A branch with a layer in
    `exclude` stays.
    """
    return tuple(_Finder(workload, spans, exclude).found())


@dataclass(frozen=True)
class _Finder:
    workload: Workload
    spans: Mapping[str, Collection[str]]
    exclude: Collection[str]

    def found(self) -> Iterator[Branch]:
        drafts = [branch for layer in self.workload for branch in self._drafts(layer)]
        inner = [b for b in drafts if not any(o.layers < b.layers for o in drafts)]
        within = {name: branch for branch in inner for name in branch.layers}
        for branch in inner:
            readers = self._readers(branch.other, branch)
            parallel = branch.stands and any(within.get(name) for name in readers)
            if not parallel and not self._disturbs(branch):
                yield branch

    def _drafts(self, add: Layer) -> Iterator[Branch]:
        """Yield the branch that ends in an addition, if there is one with groups inside."""
        plain = add.op == "add" and add.attr("function") is None and len(set(add.inputs)) == 2
        if not plain or {*add.in_shapes} != {add.out_shape} or add.name in self.workload.outputs:
            return
        first, second = (self._only_for(add, name) for name in add.inputs)
        main = 0 if self._macs(first) > self._macs(second) else 1
        layers, end, other = (first, second)[main], add.inputs[main], add.inputs[1 - main]
        groups = tuple(name for name, span in self.spans.items() if layers.issuperset(span))
        if groups and self._macs(first) != self._macs(second):
            branch = Branch(add.name, end, other, layers, groups, False)
            yield Branch(add.name, end, other, layers, groups, self._stands(add, branch))

    def _macs(self, names: Collection[str]) -> int:
        return sum(self.workload[name].is_mac for name in names)

    def _only_for(self, add: Layer, end: str) -> frozenset[str]:
        """Return the layers that nobody needs but to make `end`, which only `add` reads."""
        names: set[str] = set()
        readers, outputs = self.workload.readers, self.workload.outputs
        for layer in reversed(self.workload.layers):
            used = layer.name == end and readers[end] == (add.name,)
            used = used or (bool(readers[layer.name]) and names.issuperset(readers[layer.name]))
            if used and layer.name not in outputs:
                names.add(layer.name)
        return frozenset(names)

    def _readers(self, name: str, branch: Branch) -> list[str]:
        """Return who reads a tensor besides the branch and its addition."""
        inside = branch.layers | {branch.add}
        return [reader for reader in self.workload.readers[name] if reader not in inside]

    def _stands(self, add: Layer, branch: Branch) -> bool:
        if not add.act:
            return False
        takes = branch.other in self.workload and _takes_act(self.workload[branch.other], add)
        leaves = branch.other in self.workload.outputs
        return not takes or leaves or bool(self._readers(branch.other, branch))

    def _disturbs(self, branch: Branch) -> bool:
        """Whether leaving it out changes what folds, or is called what, in the rest."""
        return (
            not branch.layers.isdisjoint(self.exclude)
            or self._shares(branch)
            or any(self._may_fold(name, self._readers(name, branch)) for name in self._read(branch))
            or self._joins(branch)
        )

    def _shares(self, branch: Branch) -> bool:
        """Whether others share its weights, or are numbered after it ("add#2" after "add")."""
        bases: set[str] = set()
        for layer in self.workload:
            base, inside = layer.name.partition("#")[0], layer.name in branch.layers
            tied = layer.attr("tied")
            if tied is not None and (inside or tied in branch.layers):
                return True
            if inside or layer.name == branch.add:
                bases.add(base)
            elif base in bases:
                return True
        return False

    def _read(self, branch: Branch) -> set[str]:
        """Return the layers outside that a branch reads."""
        read = {name for layer in branch.layers for name in self.workload[layer].inputs}
        return {name for name in read - branch.layers if name in self.workload}

    def _joins(self, branch: Branch) -> bool:
        """Whether the one reader of the addition might fold onto what the addition passes on."""
        readers = self.workload.readers[branch.add]
        waiting, folds = [branch.other], False
        while waiting and not self.workload[branch.add].act and len(readers) == 1:
            name = waiting.pop()
            if name in self.workload:
                layer = self.workload[name]
                folds = folds or self._may_fold(name, readers)
                passes = layer.op == "add" and not layer.act
                waiting += layer.inputs if passes else ()
        return folds

    def _may_fold(self, name: str, readers: Collection[str]) -> bool:
        layer = self.workload[name]
        return any(_may_fold(self.workload[reader], layer) for reader in readers)


def _takes_act(layer: Layer, add: Layer) -> bool:
    return layer.op not in REFUSES_ACT and layer.out_shape == add.out_shape


def _may_fold(layer: Layer, onto: Layer) -> bool:
    """Whether a layer might fold onto the one before it if nobody else read that."""
    if layer.op == "act":
        return onto.op not in REFUSES_ACT
    shifts = layer.op == "add" and layer.attr("constant") is not None
    if shifts or layer.attr("kind") == "batch":
        return onto.op in _TAKES_NORM and onto.norm is None and not onto.act
    return layer.op == "conv" and onto.op == "pad"
