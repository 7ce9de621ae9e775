"""From nodes to a workload: one pass that folds what a machine would fold.

Batch normalisation goes onto the convolution or linear layer before it, activations onto whatever
computed their input, zero padding onto the convolution after it, each only where nobody else reads
the value between. Identities vanish, quantisers become bits. What no output needs is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from hwflow.extract.nodes import IDENTITY, Graph, Label, Node
from hwflow.workload import FLOAT_BITS, VIEW_OPS, Input, Layer, Workload

_TAKES_NORM = frozenset({"conv", "conv_transpose", "linear"})
_REFUSES_ACT = VIEW_OPS | {"unknown"}
_MASKING = VIEW_OPS | {"add", "mul", "act"}
_LOOSE = frozenset({"add", "mul"})
"""Operators whose constant operand counts among the network's loose parameters."""
_GATED = {"sigmoid": "silu", "hardsigmoid": "hardswish"}


@dataclass(frozen=True)
class Folded:
    """A workload and the value of the source graph that each of its tensors is."""

    workload: Workload
    values: Mapping[str, str]
    """Name of a layer or input -> the value that holds it after everything folded onto it."""
    weights: Mapping[str, str]
    """Name of a multiplying layer with a constant weight -> that constant."""
    owners: Mapping[str, str]
    """Value of the source graph -> name of the layer or input whose tensor it is part of."""


@dataclass(slots=True)
class _Draft:
    """A layer in the making."""

    node: Node
    layer: Layer
    params: list[str]
    final: str
    bits: int | None = None
    gone: bool = False

    @property
    def open(self) -> bool:
        """Whether something may still fold onto it: its value is not yet quantised."""
        return self.bits is None and not self.gone


def fold(graph: Graph) -> Folded:
    """Fold the nodes of `graph` into a workload.

    Raises WorkloadError when the nodes contradict one another.
    """
    return _Folder(graph).run()


class _Folder:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = _needed(graph)
        self.alias = {n.value: n.layer.inputs[0] for n in self.nodes if n.layer.op == IDENTITY}
        self.readers = self._count_readers()
        self.drafts: list[_Draft] = []
        self.maker: dict[str, _Draft] = {}
        self.input_bits: dict[str, int] = {}
        self.scores: set[int] = set()

    def _count_readers(self) -> Counter[str]:
        """Count the readers of each value; the quantiser of a value stands for its readers."""
        read = Counter(self.source(value) for value in self.graph.outputs)
        for node in self.nodes:
            if node.layer.op != IDENTITY:
                read.update(self.source(value) for value in node.layer.inputs)
        return read

    def source(self, value: str) -> str:
        """Return the value that `value` is, behind identities and quantisers."""
        while value in self.alias:
            value = self.alias[value]
        return value

    def run(self) -> Folded:
        for node in self.nodes:
            match node.layer.op:
                case "identity":
                    continue
                case "quantize":
                    self._quantize(node)
                case "batch_norm":
                    if not self._fold_norm(node):
                        self._add(node, replace(node.layer, op="norm"))
                case "act":
                    if not self._fold_act(node):
                        self._add(node, node.layer)
                case "bias":
                    if not self._fold_bias(node):
                        self._add(node, replace(node.layer, op="add"))
                case "mul":
                    if not self._fold_gate(node):
                        self._add(node, node.layer)
                case "conv":
                    self._add(node, self._take_padding(node))
                case _:
                    self._add(node, node.layer)
        return self._finish()

    def _add(self, node: Node, layer: Layer) -> None:
        draft = _Draft(node, layer, list(node.params), node.value)
        self.drafts.append(draft)
        self.maker[node.value] = draft

    def _quantize(self, node: Node) -> None:
        source = self.source(node.layer.inputs[0])
        bits = node.bits or FLOAT_BITS
        draft = self.maker.get(source)
        if draft is None:
            self.input_bits[source] = max(bits, self.input_bits.get(source, 0))
        else:
            draft.bits = max(bits, draft.bits or 0)
        self.alias[node.value] = source

    def _producer(self, node: Node) -> _Draft | None:
        """Return the layer that `node` may fold onto: the open maker of what it alone reads."""
        source = self.source(node.layer.inputs[0])
        draft = self.maker.get(source)
        alone = self.readers[source] == 1
        return draft if draft is not None and draft.open and alone else None

    def _absorb(self, draft: _Draft, node: Node, layer: Layer) -> bool:
        draft.layer = layer
        draft.params.extend(node.params)
        draft.final = node.value
        self.maker[node.value] = draft
        return True

    def _fold_norm(self, node: Node) -> bool:
        draft = self._producer(node)
        if draft is None or not (node.foldable and draft.node.foldable):
            return False
        layer = draft.layer
        if layer.op not in _TAKES_NORM or layer.norm or layer.act or not _by_channel(layer):
            return False
        return self._absorb(draft, node, replace(layer, norm="batch"))

    def _fold_bias(self, node: Node) -> bool:
        draft = self._producer(node)
        if draft is None or draft.layer.op not in _TAKES_NORM:
            return False
        layer = draft.layer
        if layer.bias or layer.norm or layer.act or not _per_channel(node.layer, layer):
            return False
        label = draft.node.label
        if not label.weight and not label.leaf:
            label = replace(label, weight=node.label.weight)
        # a bias outside the module cannot take a normalisation's factor with the weight
        draft.node = replace(draft.node, label=label, foldable=False)
        return self._absorb(draft, node, replace(layer, bias=True))

    def _fold_gate(self, node: Node) -> bool:
        """Recognise x * sigmoid(x) and x * hardsigmoid(x) as the activations they are."""
        read = [self.source(value) for value in node.layer.inputs]
        for x, gate in (read, read[::-1]) if len(read) == 2 else ():
            opener = self.maker.get(gate)
            if opener is None or not self._gates(opener, x, gate):
                continue
            opener.gone = True
            act = (_GATED[opener.layer.act[0]],)
            single = replace(
                node.layer, op="act", act=act, inputs=(x,), in_shapes=node.layer.in_shapes[:1]
            )
            self.readers[x] -= 1
            node = replace(node, layer=single, label=replace(node.label, suffix="act"))
            if not self._fold_act(node):
                self._add(node, single)
            return True
        return False

    def _gates(self, opener: _Draft, x: str, gate: str) -> bool:
        layer = opener.layer
        alone = opener.open and opener.node.value == opener.final and self.readers[gate] == 1
        reads = alone and layer.op == "act" and [self.source(v) for v in layer.inputs] == [x]
        return reads and len(layer.act) == 1 and layer.act[0] in _GATED

    def _fold_act(self, node: Node) -> bool:
        draft = self._producer(node)
        if draft is None or draft.layer.op in _REFUSES_ACT:
            return False
        if draft.layer.out_shape != node.layer.out_shape:
            return False
        acts = (*draft.layer.act, *node.layer.act)
        return self._absorb(draft, node, replace(draft.layer, act=acts))

    def _take_padding(self, node: Node) -> Layer:
        """Return the convolution with the zero padding that it alone reads."""
        layer = node.layer
        draft = self._producer(node)
        amounts = draft and _zero_rows(draft.layer)
        if not draft or not amounts:
            return layer
        draft.gone = True
        padding = tuple(a + b for a, b in zip(layer.padding, amounts, strict=True))
        before = draft.layer
        return replace(layer, padding=padding, inputs=before.inputs, in_shapes=before.in_shapes)  # type: ignore[arg-type]

    def _finish(self) -> Folded:
        kept = [draft for draft in self.drafts if not draft.gone]
        self.scores = self._scores()
        labels = [self._label(draft) for draft in kept]
        names = dict(zip(map(id, kept), _names(labels, self.graph.inputs.values()), strict=True))
        inputs = {value: self._input(value, i) for value, i in self.graph.inputs.items()}
        called = {value: i.name for value, i in inputs.items()}
        called |= {value: names[id(d)] for value, d in self.maker.items() if not d.gone}
        layers = self._layers(kept, names, called, inputs.values())
        workload = Workload(
            name=self.graph.name,
            layers=layers,
            inputs=tuple(inputs.values()),
            outputs=tuple(called[self.source(value)] for value in self.graph.outputs),
            loose_params=sum(self.graph.sizes.values()) - sum(layer.params for layer in layers),
        )
        values = {i.name: value for value, i in inputs.items()}
        values |= {names[id(d)]: d.final for d in kept}
        weights = {names[id(d)]: d.node.weight for d in kept if d.node.weight and d.layer.is_mac}
        return Folded(workload, values, weights, called)

    def _input(self, value: str, given: Input) -> Input:
        """Return a network input with the bits of its quantiser, or those noted for it."""
        bits = self.input_bits.get(value, given.bits)
        return replace(given, bits=self.graph.tensor_bits.get(given.name, bits))

    def _label(self, draft: _Draft) -> Label:
        """Return a draft's label; the two products of attention are called "qk" and "av"."""
        label = draft.node.label
        if draft.layer.op != "matmul":
            return label
        before = self._behind(draft.layer.inputs[0], VIEW_OPS)
        if before and before.layer.op == "softmax":
            return replace(label, suffix="av")
        return replace(label, suffix="qk") if id(draft) in self.scores else label

    def _behind(self, value: str, through: frozenset[str]) -> _Draft | None:
        """Return the first layer before `value` whose operator is not one of `through`."""
        draft = self.maker.get(self.source(value))
        while draft is not None and draft.layer.op in through and draft.layer.inputs:
            draft = self.maker.get(self.source(draft.layer.inputs[0]))
        return draft

    def _scores(self) -> set[int]:
        """Return the products that a softmax reads, perhaps with a mask added."""
        read = [d.layer.inputs[0] for d in self.drafts if d.layer.op == "softmax"]
        made = (self._behind(value, _MASKING) for value in read)
        return {id(draft) for draft in made if draft is not None}

    def _layers(
        self,
        kept: Iterable[_Draft],
        names: Mapping[int, str],
        called: Mapping[str, str],
        inputs: Iterable[Input],
    ) -> tuple[Layer, ...]:
        """Finish the drafts: names, the bits they read and write, the parameters they hold."""
        bits = {i.name: i.bits for i in inputs}
        owned: dict[str, str] = {}
        layers = []
        for draft in kept:
            name = names[id(draft)]
            read = tuple(called[self.source(value)] for value in draft.layer.inputs)
            held = [key for key in dict.fromkeys(draft.params) if key not in owned]
            count = sum(self.graph.sizes[key] for key in held)
            loose = draft.layer.op in _LOOSE
            attrs = draft.layer.attrs + _tie(draft, owned)
            layer = replace(
                draft.layer,
                name=name,
                inputs=read,
                input_bits=tuple(bits[name] for name in read),
                params=0 if loose else count,
                attrs=attrs + ((("loose", count),) if loose and count else ()),
            )
            owned.update(dict.fromkeys(held, name))
            layer = self._with_bits(layer, draft.bits)
            bits[layer.name] = layer.output_bits
            layers.append(layer)
        return tuple(layers)

    def _with_bits(self, layer: Layer, written: int | None) -> Layer:
        """Return the layer with the bits of its output and, for a matmul, of its second operand."""
        written = self.graph.tensor_bits.get(layer.name, written)
        if written is None:
            read = layer.input_bits if layer.passes else ()
            written = max(read, default=layer.output_bits)
        second = layer.op == "matmul" and len(layer.input_bits) > 1
        weight = layer.input_bits[1] if second else layer.weight_bits
        weight = self.graph.weight_bits.get(layer.name, weight)
        return replace(layer, output_bits=written, weight_bits=weight)


def _tie(draft: _Draft, owned: Mapping[str, str]) -> tuple[tuple[str, object], ...]:
    """Return the attribute that names an earlier layer of the same weight, if there is one."""
    weight = draft.params[0] if draft.node.weight and draft.params else ""
    return (("tied", owned[weight]),) if weight in owned else ()


def _needed(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes that some output depends on."""
    wanted = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if node.value in wanted:
            wanted.update(node.layer.inputs)
            kept.append(node)
    return tuple(reversed(kept))


def _per_channel(added: Layer, layer: Layer) -> bool:
    """Whether what is added to the output of `layer` has one value per output channel."""
    shape = added.attr("constant", ())
    rank = len(layer.out_shape)
    if not isinstance(shape, tuple) or len(shape) > rank:
        return False
    axis = rank - 1 if layer.op == "linear" else 1
    aligned = (1,) * (rank - len(shape)) + shape
    return aligned[axis] == layer.out_channels and all(
        size == 1 for i, size in enumerate(aligned) if i != axis
    )


def _by_channel(layer: Layer) -> bool:
    """Whether axis 1 of the output is the layer's output channel."""
    return layer.op != "linear" or len(layer.out_shape) == 2


def _zero_rows(layer: Layer) -> tuple[int, ...]:
    """Return the zero rows and columns of a pad (top, left, bottom, right), () for any other."""
    if layer.op != "pad" or layer.attr("value", 0) != 0 or layer.attr("mode") != "constant":
        return ()
    before, after = layer.attr("before", ()), layer.attr("after", ())
    if not isinstance(before, tuple) or not isinstance(after, tuple) or len(before) != 4:
        return ()
    if any((*before[:2], *after[:2])) or min((*before, *after)) < 0:
        return ()
    return (*before[2:], *after[2:])


def _names(labels: list[Label], inputs: Iterable[Input]) -> Iterator[str]:
    """Name the layers: by weight, by leaf module, by module and operator; repeats get "#2"."""
    weights = {label.weight for label in labels if label.weight}
    taken = {i.name for i in inputs}
    repeats: Counter[str] = Counter()
    for label in labels:
        by_leaf = label.leaf and label.module and label.module not in weights
        base = label.weight or (label.module if by_leaf else label.qualified)
        repeats[base] += 1
        while (name := _numbered(base, repeats[base])) in taken:
            repeats[base] += 1
        taken.add(name)
        yield name


def _numbered(base: str, count: int) -> str:
    return base if count == 1 else f"{base}#{count}"
