"""Costs with reasons: what binds each layer, and what would relieve it, by truly costing it again.

Every remedy (:mod:`hwflow.costs.fine.remedies`) is tried alone: the layer gets its best mapping on
the changed machine, or with half the bits of an operand. In total the whole network is costed
again, layers without MACs included; "activation bits" then means every tensor but the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hwflow.costs.fine.array_use import ArrayUse, array_use
from hwflow.costs.fine.level import Fine, LayerReport, loops_on
from hwflow.costs.fine.memories import level_names, memory_names
from hwflow.costs.fine.rates import OperandBits
from hwflow.costs.fine.remedies import Remedy, remedies
from hwflow.costs.layerwise import costed_bits
from hwflow.design import Design
from hwflow.machine import Accelerator
from hwflow.workload import Layer, Workload

WORTH = 0.01
"""A remedy that saves less than this share is not spoken of."""

NAMED = 2
"""At most so many remedies stand in a layer's sentence."""


@dataclass(frozen=True)
class Gain:
    """What one remedy saves, as shares of the latency and energy before; negative: it costs."""

    key: str
    doing: str
    latency_s: float
    """After the change."""
    energy_j: float
    latency_saved: float
    energy_saved: float
    saved: float
    """The share that counts: of energy where the level seeks least energy, else of latency."""

    @property
    def words(self) -> str:
        """Write the gain as a clause, such as "doubling DRAM bandwidth saves 41 %"."""
        verb = "save" if self.doing[0].isdigit() else "saves"
        return f"{self.doing} {verb} {percent(self.saved)}"


@dataclass(frozen=True)
class LayerRelief:
    """Why one layer takes as long as it does, and what would help."""

    name: str
    binds: str
    """compute, port, dram or ends."""
    port: str
    """The machine's name of the busiest buffer."""
    cycles: Mapping[str, float]
    """By what may bind, and `total`; of the ports, the busiest buffer's."""
    use: ArrayUse
    gains: tuple[Gain, ...]
    """What saves most first."""

    @property
    def best(self) -> Gain | None:
        """The remedy that saves most, None where none is worth speaking of."""
        return self.gains[0] if self.gains and self.gains[0].saved >= WORTH else None

    @property
    def sentence(self) -> str:
        """Say what binds and what helps in one sentence."""
        share = percent(self.cycles[self.binds] / self.cycles["total"])
        what = f"{_BINDING[self.binds].format(port=self.port)} ({share} of the time)"
        return f"{what}: {_helping(self.gains, NAMED)}{_idling(self)}."

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "binds": self.binds,
            "port": self.port,
            "cycles_by": dict(self.cycles),
            "array": self.use.to_json(),
            "gains": [asdict(gain) for gain in self.gains],
            "best": self.best.key if self.best else None,
            "sentence": self.sentence,
        }


@dataclass(frozen=True)
class Relief:
    """What would relieve a network on a machine."""

    layers: tuple[LayerRelief, ...]
    total: tuple[Gain, ...]
    """For the whole network; what saves most first."""
    sought: str
    """latency, or energy where mappings of least energy are sought."""

    @property
    def sentence(self) -> str:
        """Say what helps the whole network most."""
        return f"For the whole network: {_helping(self.total, NAMED)}."

    def to_json(self) -> dict[str, Any]:
        """Return plain data of the total; the layers' own stand with the layers."""
        gains = [asdict(gain) for gain in self.total]
        return {"sought": self.sought, "gains": gains, "sentence": self.sentence}


def relief(model: Fine, design: Design) -> Relief:
    """Return what binds every layer with MACs and what relieves it, and the network as a whole."""
    tried = remedies(design.machine)
    layers = [_layer(model, design.machine, one, tried) for one in design.workload.mac_layers]
    return Relief(tuple(layers), _in_total(model, design, tried), _sought(model))


def _sought(model: Fine) -> str:
    return "energy" if model.settings.objective == "energy" else "latency"


def _layer(model: Fine, machine: Accelerator, layer: Layer, tried: Sequence[Remedy]) -> LayerRelief:
    report, shape = model.reported(machine, layer), loops_on(machine, layer)
    bits = costed_bits(machine, layer)
    cycles = _cycles(report)
    use = array_use(machine, shape, OperandBits(*bits), report.plan, report.score)
    before = report.score.latency_s, report.score.energy_j
    gains = [
        _gain(model, machine, layer, _named(remedy, bits), halved, before)
        for remedy in tried
        if (halved := _halved(bits, remedy)) is not None
    ]
    binds = max((k for k in cycles if k != "total"), key=lambda name: cycles[name])
    return LayerRelief(layer.name, binds, _busiest(machine, report), cycles, use, _sorted(gains))


def _busiest(machine: Accelerator, report: LayerReport) -> str:
    """Return the machine's name of the buffer whose port is busiest."""
    names = dict(zip(memory_names(machine), level_names(machine), strict=True))
    ports = report.score.cycles_by_memory
    return names[max(report.score.memories[1:], key=lambda name: ports[name])]


def _cycles(report: LayerReport) -> dict[str, float]:
    got = report.score
    return {
        "compute": got.compute_cycles,
        "port": got.port_cycles,
        "dram": got.dram_cycles,
        "ends": got.end_cycles,
        "total": got.cycles,
    }


def _halved(bits: tuple[int, int, int], remedy: Remedy) -> tuple[int, int, int] | None:
    """Return the bits under a remedy; None where an operand has one bit only."""
    weights, inputs, outputs = bits
    if remedy.operand == "weights":
        return None if weights == 1 else (-(-weights // 2), inputs, outputs)
    if remedy.operand == "inputs":
        return None if inputs == 1 else (weights, -(-inputs // 2), outputs)
    return bits


def _named(remedy: Remedy, bits: tuple[int, int, int]) -> Remedy:
    """Return a remedy of operands with the bits that it means for one layer."""
    if remedy.operand is None:
        return remedy
    own = bits[0] if remedy.operand == "weights" else bits[1]
    return Remedy(remedy.key, f"{-(-own // 2)}-bit {remedy.operand}", operand=remedy.operand)


def _gain(
    model: Fine,
    machine: Accelerator,
    layer: Layer,
    remedy: Remedy,
    bits: tuple[int, int, int],
    before: tuple[float, float],
) -> Gain:
    after = model.row(remedy.machine or machine, layer, bits)
    return _against(model, remedy, before, (after.latency_s, after.energy_j))


def _against(
    model: Fine, remedy: Remedy, before: tuple[float, float], after: tuple[float, float]
) -> Gain:
    latency, energy = (1 - a / b if b else 0.0 for a, b in zip(after, before, strict=True))
    sought = energy if _sought(model) == "energy" else latency
    return Gain(remedy.key, remedy.doing, *after, latency, energy, sought)


def _in_total(model: Fine, design: Design, tried: Sequence[Remedy]) -> tuple[Gain, ...]:
    before = _cost(model, design)
    gains = [
        _against(model, remedy, before, _cost(model, changed))
        for remedy in tried
        if (changed := _changed(design, remedy)) != design
    ]
    return _sorted(gains)


def _cost(model: Fine, design: Design) -> tuple[float, float]:
    total = model.cost(design).total
    return float(total["latency_s"]), float(total["energy_j"])


def _changed(design: Design, remedy: Remedy) -> Design:
    """Return the design under a remedy."""
    if remedy.machine is not None:
        return Design(design.workload, remedy.machine)
    workload, machine = design.workload, design.machine
    if remedy.operand == "weights":
        weights = {la.name: _half(machine, la.weight_bits) for la in workload.mac_layers}
        return design.with_workload(workload.with_bits(weights, {}))
    return design.with_workload(workload.with_bits({}, _half_tensors(machine, workload)))


def _half_tensors(machine: Accelerator, workload: Workload) -> dict[str, int]:
    kept = {workload.bit_groups[name] for name in workload.outputs}
    bits = {i.name: i.bits for i in workload.inputs}
    bits |= {layer.name: layer.output_bits for layer in workload}
    groups = workload.bit_groups
    return {n: _half(machine, b) for n, b in bits.items() if groups[n] not in kept}


def _half(machine: Accelerator, bits: int) -> int:
    return -(-int(machine.width(bits)) // 2)


def _sorted(gains: Sequence[Gain]) -> tuple[Gain, ...]:
    return tuple(sorted(gains, key=lambda g: (-g.saved, -g.energy_saved, g.key)))


_BINDING = {
    "compute": "Arithmetic binds",
    "port": "The port of {port} binds",
    "dram": "DRAM binds",
    "ends": "First load and last store bind",
}


def _helping(gains: Sequence[Gain], most: int) -> str:
    worth = [gain for gain in gains if gain.saved >= WORTH][:most]
    if not worth:
        return f"nothing that was tried saves {percent(WORTH)}"
    return "; ".join(gain.words for gain in worth)


def _idling(layer: LayerRelief) -> str:
    words = layer.use.words()
    return f"; {words}" if words and layer.binds == "compute" else ""


def percent(share: float) -> str:
    """Write a share in percent, such as "41 %"."""
    return f"{100 * share:.0f} %" if abs(share) >= 0.0095 else f"{100 * share:.1f} %"
