"""A workload as arrays, one column per layer, so that many bit assignments are costed at once.

:func:`arrays` collects what bits do not change; :class:`Operands` holds the bits of n assignments
(n rows); :class:`ArrayLevel` turns a model that works on both into a cost model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import zip_longest
from math import prod

import numpy as np

from hwflow.cost import METRICS, Bits, Cost, Costs, Floats, Ints, Standing
from hwflow.design import Design
from hwflow.errors import WorkloadError
from hwflow.machine import Accelerator
from hwflow.workload import FLOAT_BITS, VIEW_OPS, Layer, Workload, touched_rows

ROWS = 256
"""Bit assignments costed at a time: their arrays stay in the processor's cache."""

LOOSE = {"params": 1.0, "model_bytes": FLOAT_BITS / 8}
"""What a parameter that belongs to no layer adds to a network's totals."""


@dataclass(frozen=True)
class Reads:
    """One tensor read by each of some layers: their columns, the tensors' columns, elements."""

    layers: Ints
    tensors: Ints
    elements: Floats


@dataclass(frozen=True)
class Arrays:
    """What bits do not change, arrays of shape (layers,) unless said otherwise."""

    workload: Workload
    inputs: int
    """Network inputs; tensors are these, then the layers' outputs."""
    macs: Floats
    params: Floats
    weights: Floats
    """Elements of the weight operand as it is read."""
    kept_weights: Floats
    """Elements of the weight operand that are parameters held by this layer."""
    outputs: Floats
    """Elements of the output; 0 for views."""
    depth: Floats
    pixel_macs: Floats
    """MACs per output pixel, K (C/g) R S."""
    rho: Floats
    """ρ, how often a convolution reuses an input element by sliding."""
    source: Ints
    """Column of the tensor that is the first operand."""
    second: tuple[Ints, Ints]
    """Columns of matmuls whose second operand is a tensor, and that tensor's column."""
    reads: tuple[Reads, ...]
    alive: Floats
    """Elements of each tensor that are kept while each layer runs, shape (tensors, layers)."""
    density: Floats
    """Shares of nonzero activations in the first operand."""
    is_mac: Ints
    is_view: Ints


@lru_cache(maxsize=64)
def arrays(workload: Workload) -> Arrays:
    """Return the arrays of a workload."""
    layers = workload.layers
    column = _tensor_columns(workload)
    matmuls = [i for i, la in enumerate(layers) if la.op == "matmul" and len(la.inputs) > 1]
    return Arrays(
        workload=workload,
        inputs=len(workload.inputs),
        macs=_floats(la.macs for la in layers),
        params=_floats(la.params for la in layers),
        weights=_floats(_weight_reads(la) for la in layers),
        kept_weights=_floats(_kept_weights(la) for la in layers),
        outputs=_floats(0 if la.op in VIEW_OPS else la.out_elements for la in layers),
        depth=_floats(la.depth for la in layers),
        pixel_macs=_floats(la.out_channels * la.depth if la.is_mac else 0 for la in layers),
        rho=_floats(sliding_reuse(la) for la in layers),
        source=_ints(column[la.inputs[0]] if la.inputs else 0 for la in layers),
        second=(_ints(matmuls), _ints(column[layers[i].inputs[1]] for i in matmuls)),
        reads=_reads(layers, column),
        alive=_alive(workload, column),
        density=_floats(la.input_density for la in layers),
        is_mac=_ints(la.is_mac for la in layers),
        is_view=_ints(la.op in VIEW_OPS for la in layers),
    )


def _floats(values: Iterable[float]) -> Floats:
    return np.array(list(values), np.float64)


def _ints(values: Iterable[int]) -> Ints:
    return np.array(list(values), np.int64)


def _tensor_columns(workload: Workload) -> dict[str, int]:
    names = [i.name for i in workload.inputs] + [layer.name for layer in workload]
    return {name: index for index, name in enumerate(names)}


def _weight_reads(layer: Layer) -> int:
    """Count the elements of the weight operand; a matmul's may be read for many products."""
    if layer.op == "matmul" and len(layer.in_elements) > 1:
        return min(layer.weights, layer.in_elements[1])
    return layer.weights


def _kept_weights(layer: Layer) -> int:
    return layer.weights if layer.is_mac and layer.params >= layer.weights else 0


def sliding_reuse(layer: Layer) -> float:
    """Return ρ = max(1, R/stride) max(1, S/stride): how often an input element is used.

    Where zero padding supplies so much of the kernel that the rows really read are used more
    often, P R / (rows read) takes the place of R/stride, so that ρ is never too small.
    """
    if layer.op not in ("conv", "conv_transpose"):
        return 1.0
    return prod(_axis_reuse(layer, axis) for axis in (0, 1))


def _axis_reuse(layer: Layer, axis: int) -> float:
    kernel, stride = layer.kernel[axis], layer.stride[axis]
    if layer.transposed:
        return max(1.0, kernel / stride)
    size = layer.in_shapes[0][axis - 2]
    rows = touched_rows(
        size, layer.out_size[axis], kernel, stride, layer.dilation[axis], layer.padding[axis]
    )
    return max(1.0, kernel / stride, layer.out_size[axis] * kernel / max(rows, 1))


def _reads(layers: Sequence[Layer], column: Mapping[str, int]) -> tuple[Reads, ...]:
    """Return the tensors that layers read, the first of each layer, then the second and so on."""
    slots = zip_longest(*(_layer_reads(la, column) for la in layers))
    found = [
        [(index, *read) for index, read in enumerate(slot) if read is not None] for slot in slots
    ]
    return tuple(
        Reads(_ints(r[0] for r in slot), _ints(r[1] for r in slot), _floats(r[2] for r in slot))
        for slot in found
    )


def _layer_reads(layer: Layer, column: Mapping[str, int]) -> list[tuple[int, int]]:
    """Return (tensor column, elements) of each tensor read; a matmul's second is its weight."""
    if layer.op in VIEW_OPS:
        return []
    names = layer.inputs[:1] if layer.is_mac else layer.inputs
    most: dict[str, int] = {}
    for name, elements in zip(names, layer.in_elements, strict=False):
        most[name] = max(most.get(name, 0), elements)
    return [(column[name], elements) for name, elements in most.items()]


def _alive(workload: Workload, column: Mapping[str, int]) -> Floats:
    """Return the elements of each tensor kept while each layer runs, shape (tensors, layers).

    A tensor is kept from the layer that writes it to the last that reads it, or to the end when it
    leaves the network; network inputs are there from the start. A view keeps what it views.
    """
    shapes = [i.shape for i in workload.inputs] + [layer.out_shape for layer in workload]
    first = [0] * len(workload.inputs) + list(range(len(workload)))
    last = list(first)
    stores = {i.name: frozenset({column[i.name]}) for i in workload.inputs}
    for index, layer in enumerate(workload):
        read = frozenset[int]().union(*(stores[name] for name in layer.inputs))
        for tensor in read:
            last[tensor] = index
        viewed = layer.op in VIEW_OPS and bool(read)
        stores[layer.name] = read if viewed else frozenset({column[layer.name]})
    for name in workload.outputs:
        for tensor in stores[name]:
            last[tensor] = len(workload) - 1
    alive = np.zeros((len(shapes), len(workload)))
    for tensor in frozenset[int]().union(*stores.values()):
        alive[tensor, first[tensor] : last[tensor] + 1] = prod(shapes[tensor])
    return alive


@dataclass(frozen=True)
class Operands:
    """Bits of n assignments; `raw` as they are (32: not quantised), the others as costed."""

    raw_weights: Ints
    raw_tensors: Ints
    weights: Ints
    """Of each layer's weight operand, shape (n, layers)."""
    reads: Ints
    """Of each layer's first operand, shape (n, layers)."""

    @classmethod
    def of(cls, const: Arrays, machine: Accelerator, bits: Bits) -> Operands:
        """Resolve the bits of operands that nobody quantised; matmuls follow their tensors."""
        weights = bits.weights.copy()
        weights[:, const.second[0]] = bits.tensors[:, const.second[1]]
        reads = bits.tensors[:, const.source]
        return cls(weights, bits.tensors, machine.width(weights), machine.width(reads))


def traffic_bits(const: Arrays, weights: Floats | Ints, tensors: Floats | Ints) -> Floats:
    """Return W + I + O in bits: every operand moved once, shape (n, layers).

    `weights` and `tensors` are bits per element, shapes (n, layers) and (n, tensors). W is the
    weight operand, I the input rows and columns that are read, O the output. Views move nothing.
    """
    moved = const.weights * weights + const.outputs * tensors[:, const.inputs :]
    for read in const.reads:
        moved[:, read.layers] += read.elements * tensors[:, read.tensors]
    return moved


def switched_macs(const: Arrays, machine: Accelerator) -> Floats:
    """Return the MACs that take energy: those on nonzero inputs where the machine gates zeros."""
    return const.macs * const.density if machine.zero_gating else const.macs


Metrics = dict[str, Floats]
"""Values by metric name, each of shape (n, layers) or (layers,) where bits change nothing."""


class ArrayLevel(ABC):
    """A cost model that works on arrays: gives `cost`, `costs` and `over_bits` from `table`."""

    level: str
    version = 1
    standing: Mapping[str, Standing]
    bounds: tuple[str, ...]
    counts_zeros = True
    """Whether zero gating enters the energy."""
    ungated = "change nothing"
    """What densities do where a machine does not gate zeros."""

    @abstractmethod
    def table(self, const: Arrays, machine: Accelerator, at: Operands) -> tuple[Metrics, Ints]:
        """Return the metrics by layer, and indices into `bounds`, shape (n, layers)."""

    def notes(self, const: Arrays, machine: Accelerator, bits: Bits) -> tuple[str, ...]:
        """Return what a reader of the costs must know."""
        found = []
        unknown = [layer.name for layer in const.workload.unknown]
        if unknown:
            found.append(
                f"{len(unknown)} layers have operators that hwflow does not know "
                f"({', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}): "
                "costed as memory traffic only."
            )
        weights = bits.weights[:, const.is_mac == 1]
        if (bits.tensors == FLOAT_BITS).any() or (weights == FLOAT_BITS).any():
            found.append(
                f"Operands that are not quantised are costed at {machine.native_bits} bits, the "
                f"native width of {machine.name}; the model's bytes count them at {FLOAT_BITS}."
            )
        found.extend(self._about_zeros(const, machine))
        if machine.relative:
            found.append(f"Energies on {machine.name} are relative: 1 pJ stands for one MAC.")
        return tuple(found)

    def _about_zeros(self, const: Arrays, machine: Accelerator) -> list[str]:
        sparse = int(((const.density < 1) & (const.is_mac == 1)).sum())
        if not sparse or (machine.zero_gating and self.counts_zeros):
            return []
        why = (
            f"the {self.level} level does not count zero gating"
            if machine.zero_gating
            else f"{machine.name} does not switch MACs on zeros off (zero_gating: false)"
        )
        return [f"The input densities of {sparse} layer(s) {self.ungated}: {why}."]

    def cost(self, design: Design) -> Cost:
        """Cost one design."""
        return self.over_bits(design, Bits.of([design.workload]))[0]

    def costs(self, designs: Sequence[Design]) -> list[Cost]:
        """Cost many designs; those that differ in bits only are costed together."""
        if len(designs) == 1:
            return [self.cost(designs[0])]
        groups: dict[Design, list[int]] = {}
        for index, design in enumerate(designs):
            groups.setdefault(_without_bits(design), []).append(index)
        found: dict[int, Cost] = {}
        for members in groups.values():
            bits = Bits.of([designs[index].workload for index in members])
            table = self.over_bits(designs[members[0]], bits)
            for row, index in enumerate(members):
                found[index] = replace(table[row], notes=self._own_notes(designs[index]))
        return [found[index] for index in range(len(designs))]

    def _own_notes(self, design: Design) -> tuple[str, ...]:
        workload = design.workload
        return self.notes(arrays(workload), design.machine, Bits.of([workload]))

    def over_bits(self, design: Design, bits: Bits) -> Costs:
        """Cost one design at n bit assignments; arrays of shape (n, layers).

        Raises WorkloadError when `bits` does not fit the workload or lies outside 1 to 32.
        """
        const = arrays(design.workload)
        _check(const, bits)
        layers: Metrics = {}
        bound_by = np.zeros(bits.weights.shape, np.int64)
        for start in range(0, max(len(bits), 1), ROWS):
            rows = slice(start, start + ROWS)
            part = Bits(bits.weights[rows], bits.tensors[rows])
            at = Operands.of(const, design.machine, part)
            values, bound_by[rows] = self.table(const, design.machine, at)
            _store(layers, values, rows, bits.weights.shape)
        return Costs(
            level=self.level,
            workload=design.workload,
            layers=layers,
            total={name: _total(const.workload, name, layers[name]) for name in layers},
            standing=self.standing,
            bound_by=bound_by,
            bounds=self.bounds,
            notes=self.notes(const, design.machine, bits),
        )

    def digest(self) -> str:
        """Return the model's name and version."""
        return f"{self.level}-{self.version}"


def _without_bits(design: Design) -> Design:
    workload = design.workload
    plain = all(x.weight_bits == x.output_bits == FLOAT_BITS for x in workload)
    if plain and all(i.bits == FLOAT_BITS for i in workload.inputs):
        return design
    weights = dict.fromkeys((layer.name for layer in workload), FLOAT_BITS)
    tensors = {**weights, **dict.fromkeys((i.name for i in workload.inputs), FLOAT_BITS)}
    return design.with_workload(workload.with_bits(weights, tensors))


def _check(const: Arrays, bits: Bits) -> None:
    layers = len(const.macs)
    shapes = (bits.weights.shape, bits.tensors.shape)
    wanted = ((len(bits), layers), (len(bits), const.inputs + layers))
    if shapes != wanted:
        raise WorkloadError(
            f"Bits of shapes {shapes} do not fit {const.workload.name!r}: weights must be (n, "
            f"{layers}) and tensors (n, {const.inputs + layers})."
        )
    for table in (bits.weights, bits.tensors):
        if table.size and not 1 <= table.min() <= table.max() <= FLOAT_BITS:
            worst = table.min() if table.min() < 1 else table.max()
            raise WorkloadError(f"Operands of {worst} bits: allowed are 1 to {FLOAT_BITS}.")


def _store(layers: Metrics, values: Metrics, rows: slice, shape: tuple[int, ...]) -> None:
    """Write one part's rows; what bits do not change is kept once and shown in every row."""
    for name, value in values.items():
        if value.ndim == 1:
            layers[name] = np.broadcast_to(value, shape)
        else:
            layers.setdefault(name, np.empty(shape))[rows] = value


def _total(workload: Workload, name: str, values: Floats) -> Floats:
    how = METRICS[name].total
    loose = LOOSE.get(name, 0.0) * workload.loose_params
    total: Floats = values.max(axis=1, initial=0.0) if how == "max" else values.sum(axis=1) + loose
    return total
