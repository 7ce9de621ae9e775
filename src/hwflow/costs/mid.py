"""Mid: a roofline per layer from a handful of the machine's figures (METHODS, section 2).

    D = max(W + I + O, 2 MACs √(b_w b_a b_o / (ρ S)))      off-chip traffic in bits
    T = max(MACs / (PE θ(b_w, b_a) clock), D / BW)         latency
    E = MACs e_mac(b_w, b_a) + D e_dram                    energy

S is the capacity of all memories on the chip in bits and ρ the reuse by sliding. The second term of
D is the classical bound of matrix multiplication, with operands weighted by their bits; for
convolutions it counts as an estimate. Layers run one by one, each reading its inputs from DRAM and
writing its output there; those without MACs cost their traffic, views cost nothing. On a machine
that gates zeros only MACs on nonzero inputs take energy. Biases, norms, energy inside the chip and
idle power enter at the fine level.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from hwflow.cost import Bits, Floats, Ints
from hwflow.costs.arrays import (
    ArrayLevel,
    Arrays,
    Metrics,
    Operands,
    arrays,
    switched_macs,
    traffic_bits,
)
from hwflow.costs.coarse import STANDING, counted, narrow
from hwflow.design import Design
from hwflow.machine import Accelerator
from hwflow.machine.area import pe_area_um2

OPS_PER_MAC = 2
"""A multiplication and an addition."""


def traffic(const: Arrays, machine: Accelerator, at: Operands) -> Floats:
    """Return D, the estimated off-chip traffic in bits, shape (n, layers)."""
    weights, tensors = machine.stored_bits(at.raw_weights), machine.stored_bits(at.raw_tensors)
    triple = weights * tensors[:, const.source] * tensors[:, const.inputs :]
    tiled = 2 * const.macs * np.sqrt(triple / (const.rho * machine.onchip_bits))
    return np.maximum(traffic_bits(const, weights, tensors), tiled)


class Mid(ArrayLevel):
    """The mid level: roofline latency, off-chip traffic and energy; see the module's formulas."""

    level = "mid"
    standing = MappingProxyType({**STANDING, "dram_bytes": "estimate"})
    bounds = ("compute", "dram", "free")

    def table(self, const: Arrays, machine: Accelerator, at: Operands) -> tuple[Metrics, Ints]:
        """Return the metrics by layer and what binds each: compute, dram, or free (a view)."""
        values = counted(const, machine, at)
        moved = traffic(const, machine, at)
        compute_s = const.macs / machine.peak_macs_per_s(at.weights, at.reads)
        dram_s = moved / 8 / machine.dram_bytes_per_s
        mac_j = switched_macs(const, machine) * machine.mac_energy_j(at.weights, at.reads)
        values["latency_s"] = np.maximum(compute_s, dram_s)
        values["energy_j"] = mac_j + moved * machine.dram_j_per_bit
        values["dram_bytes"] = moved / 8
        by_dram = (dram_s > compute_s) | (const.is_mac == 0)
        return values, np.where(const.is_view == 1, 2, by_dram.astype(np.int64))

    def notes(self, const: Arrays, machine: Accelerator, bits: Bits) -> tuple[str, ...]:
        """Return the level's notes."""
        return (*super().notes(const, machine, bits), *narrow(const, bits))


@dataclass(frozen=True)
class Roofline:
    """HCM's OPS-roofline: the MAC layers of a design as points below the machine's roofs.

    The horizontal axis is operations per *bit* of off-chip traffic, so that fewer bits move a
    layer to the right; a MAC is two operations. Arrays have one entry per MAC layer, `roofs` and
    `area_roofs` one per pair of operand bits.
    """

    layers: tuple[str, ...]
    weight_bits: Ints
    input_bits: Ints
    ops_per_bit: Floats
    """Computation-to-communication ratio."""
    ops_per_s: Floats
    """Attainable: the lesser of the layer's roof and bandwidth x ops_per_bit."""
    ridge: Floats
    """Ops per bit from which the layer is bound by compute."""
    pairs: tuple[tuple[int, int], ...]
    """(weight bits, input bits) that occur."""
    roofs: Floats
    """Peak ops/s of the machine at each pair."""
    area_roofs: Floats
    """Peak ops/s of as many HCM PEs of each pair as fit the area of the machine's native ones."""
    bits_per_s: float
    """Slope of the bandwidth roof."""


def ops_roofline(design: Design) -> Roofline:
    """Return the OPS-roofline of a design (HCM, arXiv 2004.08906)."""
    machine, const = design.machine, arrays(design.workload)
    at = Operands.of(const, machine, Bits.of([design.workload]))
    macs = const.is_mac == 1
    weight, read = at.weights[0, macs], at.reads[0, macs]
    ratio = OPS_PER_MAC * const.macs[macs] / traffic(const, machine, at)[0, macs]
    roof = OPS_PER_MAC * machine.peak_macs_per_s(weight, read)
    slope = machine.dram_bytes_per_s * 8
    pairs = sorted(set(zip(weight.tolist(), read.tolist(), strict=True)))
    return Roofline(
        layers=tuple(layer.name for layer in design.workload.mac_layers),
        weight_bits=weight,
        input_bits=read,
        ops_per_bit=ratio,
        ops_per_s=np.minimum(roof, slope * ratio),
        ridge=roof / slope,
        pairs=tuple(pairs),
        roofs=np.array([OPS_PER_MAC * float(machine.peak_macs_per_s(*p)) for p in pairs]),
        area_roofs=np.array([_area_roof(machine, *p) for p in pairs]),
        bits_per_s=slope,
    )


def _area_roof(machine: Accelerator, weight_bits: int, input_bits: int) -> float:
    """Return peak ops/s when the native multipliers' area is filled with those of other bits."""
    native = machine.native_bits
    shrink = pe_area_um2(native, native) / pe_area_um2(weight_bits, input_bits)
    return float(OPS_PER_MAC * machine.peak_macs_per_s(native, native) * shrink)
