"""Sites: where an operation may be replaced, found on paper in any network.

A site is a part of the network between one tensor (its entry) and one other (its exit): nothing
inside reads anything else from outside, and nothing outside reads anything inside but the exit.
Blocks are such parts around a join (the addition of a residual block, the concatenation of an
Inception or Fire block, the gate of squeeze and excitation) or around a depthwise convolution with
the pointwise ones beside it. Where there is no block, each convolution is a site by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property

from hwflow.coupling import couple
from hwflow.edits.part import part_of
from hwflow.errors import WorkloadError
from hwflow.workload import VIEW_OPS, Layer, Workload

CHW = tuple[int, int, int]

LARGEST = 12
"""The most multiplying layers that a block has: larger parts are looked into."""


@dataclass(frozen=True, order=True)
class Site:
    """A part of a network with one entry and one exit. Plain data."""

    name: str
    """The path of the module that it is, or the name of its one layer or of its exit."""
    entry: str
    """The tensor that it reads: a layer or an input."""
    exit: str
    """The tensor that it makes: the last of its layers."""
    layers: tuple[str, ...]
    """The layers inside, exit included, in the order they run."""
    in_shape: CHW
    """Channels, height and width of the entry."""
    out_shape: CHW
    """Channels, height and width of the exit."""
    act: str = ""
    """The activation after the exit, which options that learn end in too; "" for none."""
    kernel: int = 0
    """The widest kernel of its convolutions that are not grouped, 0 where there is none."""
    inner: int = 0
    """How many channels the largest group has that can be removed without entry and exit."""

    @property
    def keeps_shape(self) -> bool:
        """Whether what comes out has the shape of what goes in."""
        return self.in_shape == self.out_shape

    @property
    def stride(self) -> tuple[int, int]:
        """How many rows and columns of the entry there are for one of the exit, rounded."""
        height, width = (
            max(1, round(before / after))
            for before, after in zip(self.in_shape[1:], self.out_shape[1:], strict=True)
        )
        return height, width

    @property
    def shrinks(self) -> bool:
        """Whether rows or columns become fewer, or stay, and none become more."""
        pairs = zip(self.in_shape[1:], self.out_shape[1:], strict=True)
        return all(after <= before for before, after in pairs)


def sites(workload: Workload, level: str = "block") -> tuple[Site, ...]:
    """Return the sites of a network, in the order they run; no two overlap.

    `level` is "block" (blocks where there are some, single convolutions elsewhere) or "layer"
    (single convolutions). A part that shares weights with the rest is none, nor is one whose
    replacement would change what folds, or is called what, in the rest.
    """
    finder = _Finder(workload)
    drafts = list(finder.singles())
    if level == "block":
        drafts += [*finder.joins, *finder.separable()]
    taken: set[str] = set()
    chosen = []
    for draft in sorted(drafts, key=lambda d: (-len(d[1]), finder.order[d[2]])):
        if taken.isdisjoint(draft[1]):
            taken |= draft[1]
            chosen.append(draft)
    chosen.sort(key=lambda d: finder.order[d[2]])
    return tuple(finder.named(chosen))


Draft = tuple[str, frozenset[str], str]
"""Entry, layers and exit."""


class _Finder:
    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.order = {layer.name: place for place, layer in enumerate(workload)}
        self.shapes = {i.name: i.shape for i in workload.inputs}
        self.shapes |= {layer.name: layer.out_shape for layer in workload}
        self.reads = Counter(workload.outputs)
        for layer in workload:
            self.reads.update(layer.inputs)

    def singles(self) -> Iterator[Draft]:
        """Yield each convolution."""
        for layer in self.workload:
            if layer.op == "conv" and len(layer.inputs) == 1:
                yield from self._checked(layer.inputs[0], frozenset({layer.name}), layer.name)

    @cached_property
    def joins(self) -> tuple[Draft, ...]:
        """The part that ends in each layer of several inputs."""
        return tuple(self._joins())

    def _joins(self) -> Iterator[Draft]:
        for layer in self.workload:
            if len(set(layer.inputs)) > 1:
                entry = self._above[layer.name]
                inside = self._between(entry, layer.name)
                yield from self._checked(entry, inside, layer.name)
                for exit_ in self._views_after(layer.name):
                    inside = inside | {exit_}
                    yield from self._checked(entry, inside, exit_)

    def separable(self) -> Iterator[Draft]:
        """Yield each depthwise convolution with the pointwise ones before and after it."""
        gates = {entry: (inside, end) for entry, inside, end in self.joins
                 if self.workload[end].op == "mul"}  # fmt: skip
        for layer in self.workload:
            if not _depthwise(layer):
                continue
            entry, inside, end = layer.inputs[0], frozenset({layer.name}), layer.name
            if entry in self.workload and self._alone(entry) and _pointwise(self.workload[entry]):
                inside, entry = inside | {entry}, self.workload[entry].inputs[0]
            if end in gates:
                inside, end = inside | gates[end][0], gates[end][1]
            after = self.workload.readers[end]
            if self._alone(end) and after and _pointwise(self.workload[after[0]]):
                inside, end = inside | {after[0]}, after[0]
            if len(inside) > 1:
                yield from self._checked(entry, inside, end)

    def _alone(self, name: str) -> bool:
        return self.reads[name] == 1

    def _views_after(self, name: str) -> Iterator[str]:
        """Yield the layers that only address anew what comes out (a channel shuffle)."""
        while self.reads[name] == 1 and self.workload.readers[name]:
            name = self.workload.readers[name][0]
            if self.workload[name].op not in VIEW_OPS or len(self.workload[name].inputs) != 1:
                return
            yield name

    @cached_property
    def _above(self) -> Mapping[str, str]:
        """The nearest tensor that every path from an input to a tensor passes, "" for none."""
        above: dict[str, str] = {i.name: "" for i in self.workload.inputs}
        depth = {"": 0, **dict.fromkeys(above, 1)}
        for layer in self.workload:
            names = list(dict.fromkeys(layer.inputs))
            common = names[0] if names else ""
            for name in names[1:]:
                while common != name:
                    if depth[common] >= depth[name]:
                        common = above[common]
                    else:
                        name = above[name]
            above[layer.name], depth[layer.name] = common, depth[common] + 1
        return above

    def _between(self, entry: str, end: str) -> frozenset[str]:
        """Return the layers on the way from `entry` to `end`, `end` included."""
        found, waiting = {end}, [end]
        while waiting:
            for name in self.workload[waiting.pop()].inputs:
                if name != entry and name not in found and name in self.workload:
                    found.add(name)
                    waiting.append(name)
        return frozenset(found)

    def _checked(self, entry: str, inside: frozenset[str], end: str) -> Iterator[Draft]:
        layers = [self.workload[name] for name in inside]
        macs = sum(layer.is_mac for layer in layers)
        images = [len(self.shapes.get(name, ())) == 4 for name in (entry, end)]
        if (
            all(images)
            and 1 <= macs <= LARGEST
            and any(layer.op == "conv" for layer in layers)
            and self._closed(entry, inside, end)
            and self._still(entry, inside, end)
        ):
            yield entry, inside, end

    def _closed(self, entry: str, inside: frozenset[str], end: str) -> bool:
        """Whether nothing but `entry` is read from outside, and nothing but `end` outside."""
        read = {name for one in inside for name in self.workload[one].inputs} - inside
        inner = inside - {end}
        readers = {r for name in inner for r in self.workload.readers[name]}
        return read == {entry} and readers <= inside and inner.isdisjoint(self.workload.outputs)

    def _still(self, entry: str, inside: frozenset[str], end: str) -> bool:
        """Whether a replacement leaves the rest as it is: what folds, names, shared weights."""
        if entry in self.workload and self.workload[entry].op in {"pad", "unknown"}:
            return False
        after = [self.workload[name] for name in self.workload.readers[end]]
        if self.reads[end] == 1 and any(map(_folds, after)):
            return False
        if any(self.workload[name].op == "unknown" for name in inside):
            return False
        return not self._shares(inside)

    def _shares(self, inside: frozenset[str]) -> bool:
        """Whether others share its weights, or are numbered after it ("add#2" after "add")."""
        if any(not self._tied.get(name, frozenset()) <= inside for name in inside):
            return True
        for base in {_base(name) for name in inside}:
            own = [name in inside for name in self._numbered[base]]
            if not all(own[own.index(True) :]):
                return True
        return False

    @cached_property
    def _tied(self) -> Mapping[str, Set[str]]:
        """The layers that share a layer's weight, where there are any."""
        found: dict[str, set[str]] = {}
        for layer in self.workload:
            first = layer.attr("tied")
            if first is not None:
                found.setdefault(layer.name, set()).add(str(first))
                found.setdefault(str(first), set()).add(layer.name)
        return found

    @cached_property
    def _numbered(self) -> Mapping[str, Sequence[str]]:
        """The layers of each name without its number, in the order they run."""
        found: dict[str, list[str]] = {}
        for layer in self.workload:
            found.setdefault(_base(layer.name), []).append(layer.name)
        return found

    def named(self, drafts: Iterable[Draft]) -> Iterator[Site]:
        """Yield the drafts as sites, each with a name of its own."""
        drafts = list(drafts)
        paths = [_common(inside) if len(inside) > 1 else end for _, inside, end in drafts]
        count = Counter(paths)
        ends = {end for _, _, end in drafts}
        for path, (entry, inside, end) in zip(paths, drafts, strict=True):
            own = path and count[path] == 1 and (path == end or path not in ends)
            layers = tuple(sorted(inside, key=self.order.__getitem__))
            shapes = (_chw(self.shapes[entry]), _chw(self.shapes[end]))
            act = (self.workload[end].act or ("",))[-1]
            yield self._known(Site(path if own else end, entry, end, layers, *shapes, act))

    def _known(self, site: Site) -> Site:
        """Return the site with what options made from it must know."""
        kernels = [
            max(layer.kernel)
            for layer in map(self.workload.__getitem__, site.layers)
            if layer.op == "conv" and layer.groups == 1 and layer.attr("tied") is None
        ]
        several = sum(self.workload[name].is_mac for name in site.layers) > 1
        inner = _inner(part_of(self.workload, site)) if several else 0
        return replace(site, kernel=max(kernels, default=0), inner=inner)


def _inner(part: Workload) -> int:
    """Return the size of the largest group of channels, 0 where channels cannot be followed."""
    try:
        groups = couple(part).groups
    except WorkloadError:
        return 0
    return max((group.size for group in groups if group.size > group.least), default=0)


def _chw(shape: tuple[int, ...]) -> CHW:
    _, channels, height, width = shape
    return channels, height, width


def _base(name: str) -> str:
    """Return a layer's name without the number that tells it from others."""
    return name.partition("#")[0]


def _common(names: Iterable[str]) -> str:
    """Return the path of the innermost module that holds all of these layers, "" for none."""
    first, *others = (_base(name).split(".") for name in names)
    parts = first[:-1]
    for other in others:
        same = [a == b for a, b in zip(parts, other[:-1], strict=False)]
        parts = parts[: same.index(False) if False in same else len(same)]
    return ".".join(parts)


def _pointwise(layer: Layer) -> bool:
    plain = layer.op == "conv" and layer.groups == 1 and len(layer.inputs) == 1
    return plain and layer.kernel == (1, 1) and layer.stride == (1, 1)


def _depthwise(layer: Layer) -> bool:
    one = layer.op == "conv" and len(layer.inputs) == 1
    return one and 1 < layer.groups == layer.in_channels == layer.out_channels


def _folds(layer: Layer) -> bool:
    """Whether a layer might fold onto another one before it, if that alone made its input."""
    shifts = layer.op == "add" and layer.attr("constant") is not None
    return layer.op in {"act", "pad"} or shifts or layer.attr("kind") == "batch"
