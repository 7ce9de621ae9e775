"""Fine: every layer under its best mapping on the full accelerator (METHODS, section 3).

    latency = max(compute, port, DRAM) + first load + last store      buffer double-buffered
            = max(compute, port) + DRAM                               otherwise
    energy  = MACs + scratchpads + array + buffer + DRAM + idle power x latency

Layers run one by one, each reading its inputs from DRAM and writing its output there; those
without MACs cost their traffic once, views cost nothing, as at the mid level. Biases and norms are
not counted. An operand of 32 bits that nobody quantised is costed at the machine's native width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from hwflow.cost import Floats, Ints
from hwflow.costs.arrays import ArrayLevel, Arrays, Metrics, Operands, traffic_bits
from hwflow.costs.coarse import STANDING, counted
from hwflow.costs.fine.cache import Cache, key_of
from hwflow.costs.fine.nest import written
from hwflow.costs.fine.rates import OperandBits, buffer_of, digest_of, rates
from hwflow.costs.fine.result import Found, Objective, Settings
from hwflow.costs.fine.score import Score, score
from hwflow.costs.fine.shape import Shape, shape_of
from hwflow.design import Design
from hwflow.errors import WorkloadError
from hwflow.machine import Accelerator
from hwflow.workload import Layer

COMPUTE, PORT, DRAM, FREE = range(4)


@dataclass(frozen=True)
class LayerReport:
    """One MAC layer under its best mapping."""

    name: str
    found: Found
    score: Score
    mapping: str
    """The loop nest as text."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data, as ``hwflow cost --json`` gives it per layer."""
        return {
            "name": self.name,
            "cycles": self.score.cycles,
            "active_pes": self.score.active_pes,
            "utilization": self.score.utilization,
            "bound_by": self.score.bound_by,
            "gap": self.found.gap,
            "mapping": self.mapping,
            "bytes_by_memory": self.score.bytes_by_memory(),
            "energy_by_part": dict(self.score.energy_by_part),
        }


class Fine(ArrayLevel):
    """The fine level: the best mapping of every layer, by exhaustive search with a proof."""

    level = "fine"
    standing = MappingProxyType({**STANDING, "dram_bytes": "estimate"})
    bounds = ("compute", "port", "dram", "free")

    def __init__(
        self,
        objective: Objective = "latency",
        *,
        full: bool = False,
        cache: Cache | Path | str | None = None,
    ) -> None:
        """Seek mappings of least `objective`: "latency", "energy" or "edp" (their product).

        `full` tries every scratchpad size instead of divisors and the two largest. `cache` is a
        file that keeps mappings for later processes (:func:`~hwflow.costs.fine.cache.user_file`),
        or a Cache to share; without one they are kept in memory.
        """
        self.settings = Settings(objective, full)
        self.cache = cache if isinstance(cache, Cache) else Cache(cache)
        self._rows: dict[tuple[object, ...], tuple[float, float, float, int]] = {}

    def digest(self) -> str:
        """Return the model's name, version and settings."""
        return f"{self.level}-{self.version}-{self.settings.key()}"

    def best(self, machine: Accelerator, shape: Shape, bits: OperandBits) -> Found:
        """Return the best mapping of one layer, searched once."""
        key = key_of(shape, bits, digest_of(machine), self.settings)
        return self.cache.get(key, lambda: _searched(machine, shape, bits, self.settings))

    def report(self, design: Design) -> tuple[LayerReport, ...]:
        """Return every MAC layer's mapping and where its cycles, bytes and energy go."""
        return tuple(self._reported(layer, design) for layer in design.workload.mac_layers)

    def _reported(self, layer: Layer, design: Design) -> LayerReport:
        machine, shape = design.machine, shape_of(layer)
        operands = (layer.weight_bits, layer.input_bits[0], layer.output_bits)
        bits = OperandBits(*(int(machine.width(b)) for b in operands))
        found = self._named(layer, machine, shape, bits)
        scored = score(shape, rates(machine, shape, bits), found.mapping, machine.pes)
        buffer = buffer_of(machine)
        levels = (machine.dram.name, buffer.name if buffer else machine.dram.name)
        return LayerReport(layer.name, found, scored, written(found.mapping, shape, levels))

    def _named(self, layer: Layer, machine: Accelerator, shape: Shape, bits: OperandBits) -> Found:
        try:
            return self.best(machine, shape, bits)
        except WorkloadError as error:
            raise WorkloadError(f"Layer {layer.name!r}: {error}") from None

    def table(self, const: Arrays, machine: Accelerator, at: Operands) -> tuple[Metrics, Ints]:
        """Return the metrics by layer and what binds each."""
        values = counted(const, machine, at)
        columns = {name: np.zeros(at.weights.shape) for name in _OWN}
        bound_by = np.full(at.weights.shape, FREE)
        _without_macs(const, machine, at, columns, bound_by)
        outputs = machine.width(at.raw_tensors[:, const.inputs :])
        digest = digest_of(machine)
        for index, layer in enumerate(const.workload):
            if layer.is_mac:
                codes = (at.weights[:, index] << 16) + (at.reads[:, index] << 8) + outputs[:, index]
                kinds, place = np.unique(codes, return_inverse=True)
                rows = np.array([self._row(digest, machine, layer, k) for k in kinds.tolist()])
                for number, name in enumerate(_OWN):
                    columns[name][:, index] = rows[place, number]
                bound_by[:, index] = rows[place, len(_OWN)]
        return {**values, **columns}, bound_by

    def _row(
        self, digest: str, machine: Accelerator, layer: Layer, kind: int
    ) -> tuple[float, float, float, int]:
        """Return latency, energy, DRAM bytes and what binds, for one layer at given bits."""
        shape, bits = shape_of(layer), OperandBits(kind >> 16, kind >> 8 & 255, kind & 255)
        key = (digest, shape, bits)
        if key not in self._rows:
            found = self._named(layer, machine, shape, bits)
            got = score(shape, rates(machine, shape, bits), found.mapping, machine.pes)
            binds = self.bounds.index(got.bound_by)
            self._rows[key] = (got.latency_s, got.energy_j, got.dram_bytes, binds)
        return self._rows[key]


_OWN = ("latency_s", "energy_j", "dram_bytes")


def _searched(machine: Accelerator, shape: Shape, bits: OperandBits, settings: Settings) -> Found:
    from hwflow.costs.fine.search import best_mapping  # compiles: only when something is sought

    return best_mapping(machine, shape, bits, settings)


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
