"""Fine: every layer under its best mapping on the full accelerator (METHODS, section 3).

    latency = max(compute, port, DRAM) + first load + last store      buffer double-buffered
            = max(compute, port) + DRAM                               otherwise
            for several buffers likewise from inside outward (:mod:`hwflow.costs.fine.score`)
    energy  = MACs + scratchpads + array + buffer + DRAM + idle power x latency

On a machine that gates zeros, MACs on zero inputs and the accesses that go with them take no energy
(:mod:`hwflow.costs.fine.rates`). Layers run one by one (:mod:`hwflow.costs.layerwise`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hwflow.costs.fine.cache import Cache, key_of
from hwflow.costs.fine.memories import buffers_of, level_names
from hwflow.costs.fine.nest import Mapping, written
from hwflow.costs.fine.rates import OperandBits, digest_of, rates
from hwflow.costs.fine.result import Found, Objective, Settings
from hwflow.costs.fine.score import Score, score
from hwflow.costs.fine.shape import Shape, shape_of
from hwflow.costs.layerwise import BOUNDS, LayerLevel, Report, Row, costed_bits
from hwflow.design import Design
from hwflow.errors import WorkloadError
from hwflow.machine import Accelerator
from hwflow.workload import Layer


@dataclass(frozen=True)
class LayerReport:
    """One MAC layer under its best mapping, or under a given one."""

    name: str
    found: Found | None
    """What the search found; None for a mapping that was given."""
    score: Score
    mapping: str
    """The loop nest as text."""
    plan: Mapping
    """The mapping as plain data."""

    @property
    def gap(self) -> float | None:
        """Share by which the objective may lie above the best; None without a search."""
        return None if self.found is None else self.found.gap

    def to_json(self) -> dict[str, Any]:
        """Return plain data, as ``hwflow cost --json`` gives it per layer."""
        return {
            "name": self.name,
            "cycles": self.score.cycles,
            "active_pes": self.score.active_pes,
            "utilization": self.score.utilization,
            "bound_by": self.score.bound_by,
            "gap": self.gap,
            "mapping": self.mapping,
            "bytes_by_memory": self.score.bytes_by_memory(),
            "energy_by_part": dict(self.score.energy_by_part),
        }


class Fine(LayerLevel):
    """The fine level: the best mapping of every layer, by exhaustive search with a proof."""

    level = "fine"

    def __init__(
        self,
        objective: Objective = "latency",
        *,
        full: bool = False,
        time_limit: float | None = None,
        cache: Cache | Path | str | None = None,
        before_compiling: Callable[[], None] | None = None,
    ) -> None:
        """Seek mappings of least `objective`: "latency", "energy", "edp" (their product) or a mix.

        Mixes are powers, "energy^1*latency^2", or sums, "0.3*energy+0.7*latency" (J and s).
        `full` tries every scratchpad size instead of divisors and the two largest. A search stops
        after `time_limit` seconds with the best so far and a certified gap. `cache` is a file that
        keeps mappings for later processes (:func:`~hwflow.costs.fine.cache.user_file`), or a Cache
        to share; without one they are kept in memory. `before_compiling` is called when the search
        must be compiled first, which takes about a minute.
        """
        self.settings = Settings(objective, full, seconds=time_limit)
        self.cache = cache if isinstance(cache, Cache) else Cache(cache)
        self.before_compiling = before_compiling
        self._rows: dict[tuple[object, ...], Row] = {}

    def digest(self) -> str:
        """Return the model's name, version and settings."""
        return f"{self.level}-{self.version}-{self.settings.key()}"

    def best(self, machine: Accelerator, shape: Shape, bits: OperandBits) -> Found:
        """Return the best mapping of one layer, searched once.

        Zero gating takes the same energy from every mapping, so a search for least latency or
        energy is that of the dense layer.
        """
        if shape.density < 1 and self.settings.objective in ("latency", "energy"):
            found = self.best(machine, replace(shape, density=1.0), bits)
            saved = _saved_j(machine, shape, bits)
            keyed = saved if self.settings.objective == "energy" else 0.0
            return replace(found, energy_j=found.energy_j - saved, key=found.key - keyed,
                           bound=found.bound - keyed)  # fmt: skip
        key = key_of(shape, bits, digest_of(machine), self.settings)
        return self.cache.get(key, lambda: self._searched(machine, shape, bits))

    def _searched(self, machine: Accelerator, shape: Shape, bits: OperandBits) -> Found:
        from hwflow.costs.fine import compiled, compiled_deep  # import numba: only when sought
        from hwflow.costs.fine.search import best_mapping

        kernels = compiled_deep if len(buffers_of(machine)) > 1 else compiled
        if self.before_compiling and not kernels.is_compiled():
            self.before_compiling()
        return best_mapping(machine, shape, bits, self.settings)

    def row(self, machine: Accelerator, layer: Layer, bits: tuple[int, int, int]) -> Row:
        """Return latency, energy, DRAM bytes and what binds, for one layer at given bits."""
        shape = loops_on(machine, layer)
        key = (digest_of(machine), shape, bits)
        known = self._rows.get(key)
        if known is None:
            operands = OperandBits(*bits)
            found = self._named(layer, machine, shape, operands)
            known = self._rows[key] = row_of(scored(machine, shape, operands, found.mapping))
        return known

    def reported(self, machine: Accelerator, layer: Layer) -> LayerReport:
        """Return the layer's best mapping and where its cycles, bytes and energy go."""
        shape, bits = loops_on(machine, layer), OperandBits(*costed_bits(machine, layer))
        found = self._named(layer, machine, shape, bits)
        got = scored(machine, shape, bits, found.mapping)
        text = nest_text(machine, shape, found.mapping)
        return LayerReport(layer.name, found, got, text, found.mapping)

    def report(self, design: Design) -> tuple[LayerReport, ...]:
        """Return every MAC layer's mapping and where its cycles, bytes and energy go."""
        return tuple(self.reported(design.machine, la) for la in design.workload.mac_layers)

    def _named(self, layer: Layer, machine: Accelerator, shape: Shape, bits: OperandBits) -> Found:
        try:
            return self.best(machine, shape, bits)
        except WorkloadError as error:
            raise WorkloadError(f"Layer {layer.name!r}: {error}") from None

    def certificate(self, machine: Accelerator, reports: Sequence[Report]) -> str:
        """Return what is proven of the reported mappings, and in which mapspace."""
        gaps = [report.gap for report in reports if report.gap is not None]
        if not gaps:
            return ""
        where = f"in the {'full' if self.settings.full else 'default'} mapspace of {machine.name}"
        worst = max(gaps)
        proven = f"gap up to {100 * worst:.2g} %" if worst else "proven optimal"
        return f"Mappings of least {self.settings.objective}: {proven} {where}."


def loops_on(machine: Accelerator, layer: Layer) -> Shape:
    """Return the loops of a layer as a machine sees them."""
    return shape_of(layer, machine.view, gated=machine.zero_gating)


def scored(machine: Accelerator, shape: Shape, bits: OperandBits, mapping: Mapping) -> Score:
    """Return what a layer costs under a mapping, without a search."""
    return score(shape, rates(machine, shape, bits), mapping, machine.pes)


def row_of(got: Score) -> Row:
    """Return the part of a score that every level gives."""
    return Row(got.latency_s, got.energy_j, got.dram_bytes, BOUNDS.index(got.bound_by))


def nest_text(machine: Accelerator, shape: Shape, mapping: Mapping) -> str:
    """Return a mapping as a loop nest with the machine's names of the levels."""
    return written(mapping, shape, level_names(machine))


def _saved_j(machine: Accelerator, shape: Shape, bits: OperandBits) -> float:
    """Return the joules that zero gating saves of the dense layer."""
    dense, sparse = (rates(machine, loops, bits) for loops in (replace(shape, density=1.0), shape))
    each = dense.mac_j + sum(dense.pad_j) - sparse.mac_j - sum(sparse.pad_j)
    return shape.macs * each
