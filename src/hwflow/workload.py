"""What must be computed: layers, their dimensions, bits and readers. Plain data, no torch.

A :class:`Workload` is the paper face of a network. It is made by :mod:`hwflow.extract` from a
torch network, an ONNX file or a YAML list of layers; edits change it; cost models read it.

Symbols of the field (METHODS, section 2) and their names here:

====== ======================= ======= ======================
N      ``batch``               R, S    ``kernel``
K      ``out_channels``        P, Q    ``out_size``
C      ``in_channels``         g       ``groups``
====== ======================= ======= ======================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from math import prod

from hwflow.errors import WorkloadError, unknown_name
from hwflow.units import FLOAT_BITS as FLOAT_BITS

MAC_OPS = frozenset({"conv", "conv_transpose", "linear", "matmul"})
"""Operators that multiply and accumulate."""

VIEW_OPS = frozenset({"reshape", "permute", "slice", "pad", "expand", "roll"})
"""Operators that only address their input differently: no arithmetic, no traffic of their own."""

PRESERVING_OPS = VIEW_OPS | {"concat", "max_pool"}
"""Operators whose output values are input values: bits and scale of output and inputs are one."""

OPS = (
    MAC_OPS
    | PRESERVING_OPS
    | {"avg_pool", "add", "mul", "norm", "act", "softmax", "resize", "reduce", "unknown"}
)
"""Every operator a layer may have. ``unknown`` is kept, counted and reported."""

Pair = tuple[int, int]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator with everything the machine folds onto it (norm, activation, zero padding).

    MAC layers use the convolution dimensions. A linear layer has a 1 x 1 kernel and its tokens in
    ``out_size`` = (tokens, 1). A matmul of L independent (m x d)(d x n) products is a grouped
    linear layer: batch 1, groups L, in_channels L*d, out_channels L*n, out_size (m, 1); its second
    input takes the place of the weight.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    """Names of the layers (or network inputs) it reads, in order; constants are left out."""
    in_shapes: tuple[Shape, ...]
    """Shape of each input, batch first."""
    out_shape: Shape
    batch: int = 1
    out_channels: int = 1
    in_channels: int = 1
    out_size: Pair = (1, 1)
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Zero rows and columns: top, left, bottom, right."""
    groups: int = 1
    bias: bool = False
    norm: str | None = None
    """Batch normalisation folded onto this layer ("batch"), not yet fused into the weights."""
    act: tuple[str, ...] = ()
    """Activations folded onto this layer, in order."""
    weight_bits: int = FLOAT_BITS
    """Bits of the weight (of the second operand, for a matmul)."""
    input_bits: tuple[int, ...] = ()
    """Bits of each input."""
    output_bits: int = FLOAT_BITS
    """Bits of the output after the folded operators: what its readers read."""
    params: int = 0
    """Parameters held here: weight, bias and those of the folded norm."""
    path: str = ""
    """Path of the torch module that holds the weight, "" where there is none."""
    attrs: tuple[tuple[str, object], ...] = ()
    """What else an edit must know, such as ("dims", (0, 2, 1, 3)) of a permute."""
    input_density: float = 1.0
    """Share of nonzero activations in the first input, 0 to 1: what zero gating leaves to do."""
    output_density: float = 1.0
    """The same of the output; it counts only where a machine compresses what leaves it."""

    @property
    def is_mac(self) -> bool:
        """Whether it multiplies and accumulates."""
        return self.op in MAC_OPS

    @property
    def passes(self) -> bool:
        """Whether its output holds the values of its inputs, on their grid."""
        return self.op in PRESERVING_OPS and not self.act and self.norm is None

    @property
    def macs(self) -> int:
        """Multiply-accumulates: N K (C/g) P Q R S, on input positions for a transposed conv."""
        if not self.is_mac:
            return 0
        positions = prod(self.in_shapes[0][-2:]) if self.transposed else prod(self.out_size)
        depth = self.in_channels // self.groups
        return self.batch * self.out_channels * depth * positions * prod(self.kernel)

    @property
    def transposed(self) -> bool:
        """Whether it is a transposed convolution."""
        return self.op == "conv_transpose"

    @property
    def weights(self) -> int:
        """Elements of the weight operand, K (C/g) R S; 0 for layers without MACs."""
        if not self.is_mac:
            return 0
        return self.out_channels * (self.in_channels // self.groups) * prod(self.kernel)

    @property
    def in_elements(self) -> tuple[int, ...]:
        """Elements of each input that are really read (a strided 1x1 touches only some rows)."""
        counts = tuple(prod(shape) for shape in self.in_shapes)
        if self.op != "conv" or not counts:
            return counts
        height, width = self.in_shapes[0][-2:]
        touched = self._touched(0, height) * self._touched(1, width)
        return (counts[0] // max(1, height * width) * touched, *counts[1:])

    def _touched(self, axis: int, size: int) -> int:
        return touched_rows(
            size, self.out_size[axis], self.kernel[axis], self.stride[axis],
            self.dilation[axis], self.padding[axis],
        )  # fmt: skip

    @property
    def out_elements(self) -> int:
        """Elements of the output."""
        return prod(self.out_shape)

    @property
    def depth(self) -> int:
        """Products summed into one output, (C/g) R S."""
        return self.in_channels // self.groups * prod(self.kernel) if self.is_mac else 1

    @property
    def loose(self) -> int:
        """Parameters of it that count among the network's loose ones."""
        return int(str(self.attr("loose", 0)))

    def attr(self, key: str, default: object = None) -> object:
        """Return one entry of `attrs`."""
        return dict(self.attrs).get(key, default)


@lru_cache(maxsize=4096)
def touched_rows(size: int, out: int, kernel: int, stride: int, dilation: int, before: int) -> int:
    """Count the rows of an input of `size` rows that a convolution reads along one axis."""
    rows = {p * stride - before + r * dilation for p in range(out) for r in range(kernel)}
    return sum(1 for row in rows if 0 <= row < size)


@dataclass(frozen=True, slots=True)
class Input:
    """A network input: its name, shape (batch first) and bits."""

    name: str
    shape: Shape
    bits: int = FLOAT_BITS


@dataclass(frozen=True)
class Workload:
    """A network on paper: layers in the order they run, and the inputs and outputs."""

    name: str = field(compare=False)
    layers: tuple[Layer, ...]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    """Names of the layers whose outputs leave the network."""
    loose_params: int = 0
    """Parameters that belong to no layer: class tokens, tables, heads that do not run."""

    def __post_init__(self) -> None:
        bits = {i.name: i.bits for i in self.inputs}
        if len(bits) != len(self.inputs):
            raise WorkloadError(f"Workload {self.name!r} has two inputs of one name.")
        for layer in self.layers:
            _check(layer, bits)
            bits[layer.name] = layer.output_bits
        missing = [name for name in self.outputs if name not in bits]
        if missing:
            raise WorkloadError(f"Workload {self.name!r}: no layer produces output {missing[0]!r}.")

    def __getitem__(self, name: str) -> Layer:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def readers(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the layers that read each tensor, keyed by layer or input name."""
        found: dict[str, list[str]] = {i.name: [] for i in self.inputs}
        found.update({layer.name: [] for layer in self.layers})
        for layer in self.layers:
            for source in dict.fromkeys(layer.inputs):
                found[source].append(layer.name)
        return {name: tuple(names) for name, names in found.items()}

    def mac_readers(self, name: str) -> tuple[str, ...]:
        """Names of the MAC layers that `name` reaches without passing another MAC layer."""
        found: dict[str, None] = {}
        seen: set[str] = set()
        stack = [name]
        while stack:
            for reader in self.readers[stack.pop()]:
                if self[reader].is_mac:
                    found[reader] = None
                elif reader not in seen:
                    seen.add(reader)
                    stack.append(reader)
        return tuple(layer.name for layer in self.mac_layers if layer.name in found)

    @cached_property
    def mac_layers(self) -> tuple[Layer, ...]:
        """The layers that multiply and accumulate."""
        return tuple(layer for layer in self.layers if layer.is_mac)

    @property
    def unknown(self) -> tuple[Layer, ...]:
        """The layers whose operator hwflow does not know; they are costed as traffic only."""
        return tuple(layer for layer in self.layers if layer.op == "unknown")

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of the whole network."""
        return sum(layer.macs for layer in self.layers)

    @cached_property
    def params(self) -> int:
        """Parameters of the whole network, as the sum of ``p.numel()`` has them."""
        return sum(layer.params for layer in self.layers) + self.loose_params

    @cached_property
    def scale_groups(self) -> Mapping[str, str]:
        """Map each tensor to the tensor that stands for it: values passed on keep one scale."""
        return self._groups()

    @cached_property
    def bit_groups(self) -> Mapping[str, str]:
        """Map each tensor to its group's first tensor: as `scale_groups`, and what an add meets."""
        return self._groups(meet=frozenset({"add"}))

    def _groups(self, meet: frozenset[str] = frozenset()) -> dict[str, str]:
        root = {i.name: i.name for i in self.inputs} | {layer.name: layer.name for layer in self}
        order = {name: index for index, name in enumerate(root)}

        def find(name: str) -> str:
            while root[name] != name:
                root[name] = root[root[name]]
                name = root[name]
            return name

        def join(names: Iterable[str]) -> None:
            heads = sorted({find(name) for name in names}, key=order.__getitem__)
            for head in heads[1:]:
                root[head] = heads[0]

        for layer in self.layers:
            # who writes other bits than it reads has quantised anew
            same = layer.output_bits == max(layer.input_bits, default=layer.output_bits)
            if layer.passes and same:
                join((*layer.inputs, layer.name))
            elif layer.op in meet:
                join(layer.inputs)
        return {name: find(name) for name in root}

    def digest(self) -> str:
        """Return the SHA-256 of all but the name."""
        plain = asdict(self) | {"name": ""}
        return hashlib.sha256(json.dumps(plain, sort_keys=True, default=repr).encode()).hexdigest()

    def with_bits(self, weights: Mapping[str, int], tensors: Mapping[str, int]) -> Workload:
        """Return it with other bits: `weights` by layer name, `tensors` by layer or input name.

        What is not named keeps its bits. A matmul's second operand follows its tensor.
        """
        inputs = tuple(replace(i, bits=tensors.get(i.name, i.bits)) for i in self.inputs)
        bits = {i.name: i.bits for i in inputs}
        layers = []
        for old in self.layers:
            read = tuple(bits[name] for name in old.inputs)
            weight = weights.get(old.name, old.weight_bits)
            if old.op == "matmul" and len(read) > 1:
                weight = read[1]
            new = replace(
                old, weight_bits=weight, input_bits=read,
                output_bits=tensors.get(old.name, old.output_bits),
            )  # fmt: skip
            bits[new.name] = new.output_bits
            layers.append(new)
        return replace(self, inputs=inputs, layers=tuple(layers))

    def with_one_width(self, bits: int) -> Workload:
        """Return it with the same bits for all weights and tensors."""
        weights = dict.fromkeys((layer.name for layer in self.mac_layers), bits)
        return self.with_bits(weights, dict.fromkeys(self.bit_groups, bits))

    def with_densities(
        self, inputs: Mapping[str, float], outputs: Mapping[str, float] | None = None
    ) -> Workload:
        """Return it with other densities, by layer name: shares of nonzero activations, 0 to 1.

        What is not named keeps its densities. Raises WorkloadError for a name that no layer has
        and for a share outside 0 to 1.
        """
        outputs = outputs or {}
        for name in (*inputs, *outputs):
            if name not in self:
                raise WorkloadError(unknown_name("layer", name, self._by_name))
        layers = tuple(
            replace(
                layer,
                input_density=inputs.get(layer.name, layer.input_density),
                output_density=outputs.get(layer.name, layer.output_density),
            )
            for layer in self.layers
        )
        return replace(self, layers=layers)

    def with_batch(self, times: int) -> Workload:
        """Return it with the batch multiplied by `times`."""
        if times < 1:
            raise WorkloadError(f"The batch must be multiplied by at least 1, not {times}.")
        return replace(
            self,
            layers=tuple(_batched(layer, times) for layer in self.layers),
            inputs=tuple(replace(i, shape=_scaled(i.shape, times)) for i in self.inputs),
        )


def _check(layer: Layer, bits: Mapping[str, int]) -> None:
    where = f"Layer {layer.name!r}"
    if layer.op not in OPS:
        raise WorkloadError(f"{where} has the operator {layer.op!r}. Known: {sorted(OPS)}.")
    if layer.name in bits:
        raise WorkloadError(f"{where} occurs twice. Names must be unique.")
    for source in layer.inputs:
        if source not in bits:
            raise WorkloadError(f"{where} reads {source!r}, which nothing before it produces.")
    if len(layer.in_shapes) != len(layer.inputs):
        raise WorkloadError(
            f"{where} has {len(layer.inputs)} inputs, {len(layer.in_shapes)} shapes."
        )
    if layer.input_bits != tuple(bits[source] for source in layer.inputs):
        raise WorkloadError(f"{where} reads its inputs at other bits than their producers write.")
    for kind in ("input", "output"):
        share = getattr(layer, f"{kind}_density")
        if not 0 <= share <= 1:
            raise WorkloadError(
                f"{where} has an {kind} density of {share!r}: the share of nonzero activations "
                "lies between 0 and 1."
            )
    if layer.is_mac and (layer.in_channels % layer.groups or layer.out_channels % layer.groups):
        raise WorkloadError(
            f"{where}: {layer.in_channels} input and {layer.out_channels} output channels cannot "
            f"be divided into {layer.groups} groups."
        )


def _scaled(shape: Shape, times: int) -> Shape:
    return (shape[0] * times, *shape[1:]) if shape else shape


def _batched(layer: Layer, times: int) -> Layer:
    wider = {
        "in_shapes": tuple(_scaled(shape, times) for shape in layer.in_shapes),
        "out_shape": _scaled(layer.out_shape, times),
    }
    if layer.op != "matmul":
        return replace(layer, batch=layer.batch * times, **wider)  # type: ignore[arg-type]
    return replace(
        layer,
        groups=layer.groups * times,
        in_channels=layer.in_channels * times,
        out_channels=layer.out_channels * times,
        **wider,  # type: ignore[arg-type]
    )
