"""Levels that cost one layer with MACs at a time: the fine level, the chip, given mappings.

Layers run one by one, each reading its inputs from DRAM and writing its output there; those
without MACs cost their traffic once, views cost nothing, as at the mid level. Biases and norms are
not counted. An operand of 32 bits that nobody quantised is costed at the machine's native width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from hwflow.cost import Floats, Ints
from hwflow.costs.arrays import ArrayLevel, Arrays, Metrics, Operands, traffic_bits
from hwflow.costs.coarse import STANDING, counted
from hwflow.design import Design
from hwflow.machine import Accelerator
from hwflow.workload import Layer

COMPUTE, PORT, DRAM, FREE = range(4)
BOUNDS = ("compute", "port", "dram", "free")


class Row(NamedTuple):
    """What one layer costs at given bits."""

    latency_s: float
    energy_j: float
    dram_bytes: float
    bound: int
    """Index into `BOUNDS`."""


class Report(Protocol):
    """What a level says of one layer beyond its costs."""

    @property
    def name(self) -> str:
        """Name of the layer."""
        ...

    @property
    def gap(self) -> float | None:
        """Share by which the mapping may lie above the best; None where none was sought."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return plain data, as ``hwflow cost --json`` gives it per layer."""
        ...


class LayerLevel(ArrayLevel):
    """A level that gives a `row` for each layer with MACs, and a `reported` entry."""

    standing = MappingProxyType({**STANDING, "dram_bytes": "estimate"})
    bounds = BOUNDS

    @abstractmethod
    def row(self, machine: Accelerator, layer: Layer, bits: tuple[int, int, int]) -> Row:
        """Return the cost of a layer with MACs; `bits` of weights, inputs, outputs, as costed."""

    @abstractmethod
    def reported(self, machine: Accelerator, layer: Layer) -> Report:
        """Return what is to be said of a layer with MACs at its own bits."""

    @abstractmethod
    def certificate(self, machine: Accelerator, reports: Sequence[Report]) -> str:
        """Return a sentence on what is proven of the reported mappings, "" where nothing is."""

    def report(self, design: Design) -> Sequence[Report]:
        """Return every MAC layer's mapping and where its cycles, bytes and energy go."""
        return tuple(self.reported(design.machine, la) for la in design.workload.mac_layers)

    def table(self, const: Arrays, machine: Accelerator, at: Operands) -> tuple[Metrics, Ints]:
        """Return the metrics by layer and what binds each."""
        values = counted(const, machine, at)
        columns = {name: np.zeros(at.weights.shape) for name in Row._fields[:-1]}
        bound_by = np.full(at.weights.shape, FREE)
        _without_macs(const, machine, at, columns, bound_by)
        outputs = machine.width(at.raw_tensors[:, const.inputs :])
        codes = (at.weights << 16) + (at.reads << 8) + outputs
        macs = np.flatnonzero(const.is_mac)
        found = self._layer_rows(const, machine, macs, codes[:, macs])
        for number, name in enumerate(columns):
            columns[name][:, macs] = found[:, :, number]
        bound_by[:, macs] = found[:, :, len(columns)]
        return {**values, **columns}, bound_by

    def _layer_rows(self, const: Arrays, machine: Accelerator, macs: Ints, codes: Ints) -> Floats:
        """Return the rows of the layers with MACs, shape (n, layers, fields)."""
        layers = [const.workload.layers[index] for index in macs.tolist()]
        found = np.empty((*codes.shape, len(Row._fields)))
        if len(codes) == 1:
            bits = map(_unpacked, codes[0].tolist())
            rows = [self.row(machine, *pair) for pair in zip(layers, bits, strict=True)]
            found[0] = np.array(rows).reshape(found.shape[1:])
            return found
        for column, layer in enumerate(layers):
            kinds, place = np.unique(codes[:, column], return_inverse=True)
            rows = [self.row(machine, layer, _unpacked(kind)) for kind in kinds.tolist()]
            found[:, column] = np.array(rows)[place]
        return found


def _unpacked(code: int) -> tuple[int, int, int]:
    return code >> 16, code >> 8 & 255, code & 255


def costed_bits(machine: Accelerator, layer: Layer) -> tuple[int, int, int]:
    """Return the bits of a layer's weights, inputs and outputs at which they are costed."""
    own = (layer.weight_bits, layer.input_bits[0], layer.output_bits)
    weights, inputs, outputs = (int(bits) for bits in machine.width(own))
    return weights, inputs, outputs


def _without_macs(
    const: Arrays, machine: Accelerator, at: Operands, columns: dict[str, Floats], bound_by: Ints
) -> None:
    """Fill in the layers without MACs: every operand moved once, reads and writes at their own."""
    plain = np.flatnonzero((const.is_mac == 0) & (const.is_view == 0))
    tensors = machine.stored_bits(at.raw_tensors)
    weights = machine.stored_bits(at.raw_weights)
    moved = traffic_bits(const, weights, tensors)[:, plain]
    written_bits = (const.outputs * tensors[:, const.inputs :])[:, plain]
    latency = moved / 8 / machine.dram_bytes_per_s
    columns["latency_s"][:, plain] = latency
    columns["dram_bytes"][:, plain] = moved / 8
    columns["energy_j"][:, plain] = (
        (moved - written_bits) * machine.dram.read_j_per_bit
        + written_bits * machine.dram.write_j_per_bit
        + machine.idle_w * latency
    )
    bound_by[:, plain] = DRAM
