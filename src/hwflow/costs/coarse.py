"""Coarse: counts from the network alone, and HCM's bit operations and area (arXiv 2004.08906).

What bits change is counted at the bits an operand is costed at (32: the machine's native width).

============= ========= ===================================================================
metric        standing  definition
============= ========= ===================================================================
macs          exact     N K (C/g) P Q R S
params        exact     parameters of the layer; in total those of no layer too
bit_ops       exact     Σ MACs b_w b_a
frac_ops      exact     Σ MACs b_w b_a / b_ref², b_ref the machine's native width
model_bytes   exact     weights at their own bits (32 when not quantised), every other parameter
                        (biases, norms) at 32 bits; scales are not counted
peak_bytes    exact     most activation bytes alive at once, layers run one by one in order
dram_bytes    bound     W + I + O, every operand moved once
latency_s     estimate  frac_ops over the machine's peak MAC rate at b_ref
energy_j      estimate  frac_ops times the energy of a MAC at b_ref, plus dram_bytes times the
                        energy of moving them
area_um2      estimate  HCM's PE for a 3x3 kernel, at the bits of the widest layer
============= ========= ===================================================================

Latency and energy at this level are our own definition: scales that let a solver start here and
go on at the mid level with no change.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from hwflow.cost import Bits, Ints, Standing
from hwflow.costs.arrays import ArrayLevel, Arrays, Metrics, Operands, traffic_bits
from hwflow.machine import Accelerator
from hwflow.machine.area import pe_area_um2
from hwflow.workload import FLOAT_BITS

FIT_FROM_BITS = 4
"""Below these bits HCM's area fits are dominated by their intercepts."""

_AREA = pe_area_um2(*np.meshgrid(np.arange(FLOAT_BITS + 1), np.arange(FLOAT_BITS + 1)))


def counted(const: Arrays, machine: Accelerator, at: Operands) -> Metrics:
    """Return the metrics that every level counts alike, shapes (n, layers) or (layers,)."""
    bit_ops = const.macs * (at.weights * at.reads)
    others = (const.params - const.kept_weights) * FLOAT_BITS
    area = _AREA[at.weights, at.reads]
    area[:, const.is_mac == 0] = 0.0
    return {
        "macs": const.macs,
        "params": const.params,
        "bit_ops": bit_ops,
        "frac_ops": bit_ops / machine.native_bits**2,
        "model_bytes": (const.kept_weights * at.raw_weights + others) / 8,
        "peak_bytes": machine.width(at.raw_tensors) @ const.alive / 8,
        "area_um2": area,
    }


def narrow(const: Arrays, bits: Bits) -> tuple[str, ...]:
    """Return the note on areas below 4 bits, where it applies."""
    macs = const.is_mac == 1
    least = min(
        (table.min() for table in (bits.weights[:, macs], bits.tensors[:, const.source[macs]])
         if table.size), default=FIT_FROM_BITS,
    )  # fmt: skip
    if least >= FIT_FROM_BITS:
        return ()
    return (
        f"Areas below {FIT_FROM_BITS} bits are rough: there HCM's fit is mostly its intercept.",
    )


STANDING: dict[str, Standing] = {
    "macs": "exact",
    "params": "exact",
    "bit_ops": "exact",
    "frac_ops": "exact",
    "model_bytes": "exact",
    "peak_bytes": "exact",
    "area_um2": "estimate",
    "latency_s": "estimate",
    "energy_j": "estimate",
}
"""Standing of what every level gives; `dram_bytes` differs."""


class Coarse(ArrayLevel):
    """The coarse level: counts, compulsory traffic and HCM's area; see the module's table."""

    level = "coarse"
    standing = MappingProxyType({**STANDING, "dram_bytes": "bound"})
    bounds = ("compute", "free")
    counts_zeros = False

    def table(self, const: Arrays, machine: Accelerator, at: Operands) -> tuple[Metrics, Ints]:
        """Return the metrics by layer; only MACs take time at this level."""
        values = counted(const, machine, at)
        native = machine.native_bits
        tensors = machine.width(at.raw_tensors)
        traffic = traffic_bits(const, at.weights, tensors)
        compute = values["frac_ops"] * machine.mac_energy_j(native, native)
        values["latency_s"] = values["frac_ops"] / machine.peak_macs_per_s(native, native)
        values["energy_j"] = compute + traffic * machine.dram_j_per_bit
        values["dram_bytes"] = traffic / 8
        return values, np.broadcast_to(1 - const.is_mac, traffic.shape)

    def notes(self, const: Arrays, machine: Accelerator, bits: Bits) -> tuple[str, ...]:
        """Return the level's notes."""
        return (*super().notes(const, machine, bits), *narrow(const, bits))
