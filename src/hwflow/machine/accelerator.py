"""Machines: a modelled accelerator with the source of every figure, read from a YAML file.

    machine = load_machine("eyeriss")            # a preset, or "my_chip.yaml"
    machine.peak_macs_per_s(8, 8)

The presets lie in ``hwflow/machines``; they are what one copies to describe a machine of one's own.
Operands that nobody quantised (:data:`~hwflow.workload.FLOAT_BITS`) are costed at `native_bits`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator, model_validator

from hwflow.errors import MachineError
from hwflow.machine import file
from hwflow.machine.area import AreaPart, FpgaResources, has_area, memory_part, pe_part
from hwflow.machine.device import Device
from hwflow.machine.engines import Bismo, Engine
from hwflow.machine.figures import (
    Area,
    AutoWidth,
    Count,
    Figure,
    Frequency,
    Power,
    Sealed,
    Width,
    figures,
)
from hwflow.machine.file import device_names
from hwflow.machine.file import names as machine_names
from hwflow.machine.hardware import Array, Level, MacEnergy, Scratchpads, Store
from hwflow.units import FLOAT_BITS

__all__ = ["Accelerator", "Dataflow", "device_names", "is_device", "load_machine", "machine_names"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WIDEST = 32

Dataflow = Literal[
    "row-stationary", "weight-stationary", "output-stationary", "input-stationary",
    "no-local-reuse", "systolic-ck", "free",
]  # fmt: skip
"""Constraint presets of the mapping: what stays in place while the loops run."""

_INSIDE = ("scratchpads", "PE")


class Accelerator(Sealed):
    """A modelled machine. Every number in it has a source; see :meth:`figures`."""

    name: str
    description: str
    clock: Frequency
    native: Width = Field(validation_alias="native_bits", serialization_alias="native_bits")
    engine: Engine
    mac_energy: MacEnergy
    memory: tuple[Level, ...]
    """Levels from DRAM inward."""
    array: Array
    scratchpads: Scratchpads | None = None
    dataflow: Dataflow
    packing: Literal["dense", "word"] = "dense"
    """Whether operands lie bit by bit in memory, or as many as fit whole into each word."""
    partial_sum_bits: AutoWidth = "auto"
    """Width of partial sums; auto is b_w + b_a + log2(depth)."""
    zero_gating: bool = False
    """Whether MACs on zero activations are switched off."""
    view: Literal["convolution", "gemm"] = "convolution"
    """How the fine level sees a convolution: as it is, or unfolded to a matrix product (im2col)."""
    idle_power: Power | None = None
    pe_area: Area | None = None
    """Of one PE without its scratchpads; None is estimated, see :mod:`hwflow.machine.area`."""
    relative: bool = False
    """Whether energies are multiples of one MAC's, written as 1 pJ, rather than of a chip."""

    @field_validator("memory")
    @classmethod
    def _levels(cls, memory: tuple[Level, ...]) -> tuple[Level, ...]:
        if not memory:
            raise ValueError("List the memory levels from DRAM inward; at least DRAM is needed.")
        names = [level.name for level in memory]
        for name in names:
            if names.count(name) > 1 or name in _INSIDE:
                raise ValueError(f"The level name {name!r} is taken: give each level its own.")
        dram = memory[0]
        if len(dram.holds) < 3:
            raise ValueError(f"The first level, {dram.name}, must hold weights, inputs, outputs.")
        if dram.bandwidth is None:
            raise ValueError(f"The first level, {dram.name}, needs a bandwidth.")
        return memory

    @model_validator(mode="after")
    def _consistent(self) -> Accelerator:
        inside = [_INSIDE[0]] if self.scratchpads else [_INSIDE[1]]
        chain = [level.name for level in self.memory] + inside
        if len(self.memory) + bool(self.scratchpads) < 2:
            raise ValueError("A machine needs at least two memory levels, scratchpads included.")
        if self.array.between not in list(pairwise(chain)):
            raise ValueError(
                f"array.between is {', '.join(self.array.between)}: name two neighbours of "
                f"{', '.join(chain)}."
            )
        if self.native.value > WIDEST:
            raise ValueError(f"native_bits is {self.native.value}, allowed are 1 to {WIDEST}.")
        return self

    @property
    def native_bits(self) -> int:
        """Bits at which operands are costed that nobody quantised."""
        return self.native.value

    @property
    def pes(self) -> int:
        """Number of processing elements."""
        return self.array.pes

    @property
    def clock_hz(self) -> float:
        """Cycles per second."""
        return self.clock.value

    @property
    def dram(self) -> Level:
        """The outermost memory level."""
        return self.memory[0]

    @property
    def dram_bytes_per_s(self) -> float:
        """Off-chip bandwidth."""
        return self.dram.bytes_per_s(self.clock_hz)

    @property
    def dram_j_per_bit(self) -> float:
        """Energy per bit moved off chip: the lesser of reading and writing, a lower bound."""
        return min(self.dram.read_j_per_bit, self.dram.write_j_per_bit)

    @property
    def idle_w(self) -> float:
        """Power drawn while nothing runs; 0 if unknown. Only the fine level counts it."""
        return self.idle_power.value if self.idle_power else 0.0

    @property
    def onchip_bits(self) -> float:
        """Capacity of all memories on the chip, those in the PEs included."""
        return sum(store.bits * copies for _, store, copies in self._onchip())

    def _onchip(self) -> Iterator[tuple[str, Store, int]]:
        """Yield every memory inside DRAM with its name and the number of its copies."""
        outer = [level.name for level in self.memory].index(self.array.between[0])
        for index, level in enumerate(self.memory[1:], 1):
            yield level.name, level, (self.pes if index > outer else 1)
        if self.scratchpads:
            for name, pad in self.scratchpads.pads.items():
                yield f"{name} scratchpads", pad, self.pes

    def area_parts(self) -> tuple[AreaPart, ...]:
        """Return the area of the PEs and of every memory on the chip.

        Figures of the file as given, the others estimated at 28 nm; see
        :mod:`hwflow.machine.area`. Unlimited memories are not on the chip.
        """
        stores = [found for found in self._onchip() if has_area(found[1])]
        memories = [memory_part(name, store, copies) for name, store, copies in stores]
        return (pe_part(self.engine, self.pe_area, self.pes), *memories)

    def area_lacks(self) -> tuple[str, ...]:
        """Return the memories on the chip of which no area is known: unlimited, and none given."""
        return tuple(name for name, store, _ in self._onchip() if not has_area(store))

    def area_um2(self) -> float:
        """Return the area of PEs and memories on the chip, without network and control."""
        return sum(part.um2 for part in self.area_parts())

    def fpga_resources(self) -> FpgaResources | None:
        """Return the LUTs and block RAMs of a BISMO array, None for another engine."""
        if not isinstance(self.engine, Bismo):
            return None
        rows, cols = self.array.rows.value, self.array.cols.value
        return FpgaResources(self.engine.luts(rows, cols), self.engine.brams(rows, cols))

    def summary(self) -> dict[str, Any]:
        """Return what tells machines apart, as ``hwflow list machines --json`` gives it."""
        found = self.fpga_resources()
        return {
            "name": self.name,
            "description": self.description,
            "engine": self.engine.kind,
            "dataflow": self.dataflow,
            "pes": self.pes,
            "native_bits": self.native_bits,
            "peak_macs_per_s": float(self.peak_macs_per_s(self.native_bits, self.native_bits)),
            "onchip_bytes": self.onchip_bits / 8,
            "dram_bytes_per_s": self.dram_bytes_per_s,
            "area_um2": self.area_um2(),
            "area_parts": [asdict(part) for part in self.area_parts()],
            "fpga": asdict(found) if found else None,
        }

    def width(self, bits: ArrayLike) -> Ints:
        """Return the bits an operand is costed at: `native_bits` for 32, else its own."""
        given = np.asarray(bits, np.int64)
        return np.where(given == FLOAT_BITS, self.native_bits, given)

    def macs_per_cycle(self, weight_bits: ArrayLike, input_bits: ArrayLike) -> Floats:
        """Return θ, MACs per PE and cycle at these operand bits (1 to 32; arrays broadcast)."""
        return _look_up(self._theta, weight_bits, input_bits)

    def peak_macs_per_s(self, weight_bits: ArrayLike, input_bits: ArrayLike) -> Floats:
        """Return PEs x θ x clock, the MAC rate with every PE busy."""
        return self.pes * self.clock_hz * self.macs_per_cycle(weight_bits, input_bits)

    def mac_energy_j(self, weight_bits: ArrayLike, input_bits: ArrayLike) -> Floats:
        """Return joules per MAC at these operand bits."""
        return _look_up(self._mac_j, weight_bits, input_bits)

    def stored_bits(self, bits: ArrayLike) -> Floats:
        """Return the off-chip bits an operand takes, padding of word packing included."""
        return _look_up(self._stored, bits)

    def psum_bits(self, weight_bits: ArrayLike, input_bits: ArrayLike, depth: ArrayLike) -> Ints:
        """Return the bits of a partial sum over `depth` products: b_w + b_a + log2(depth)."""
        grown = self.width(weight_bits) + self.width(input_bits)
        if not isinstance(self.partial_sum_bits, str):
            return np.full_like(grown + np.asarray(depth), self.partial_sum_bits.value)
        return grown + np.ceil(np.log2(np.maximum(depth, 1))).astype(np.int64)

    @cached_property
    def _grid(self) -> tuple[Ints, Ints]:
        """Costed bits of every pair of operands; row and column 0 are never asked for."""
        bits = np.maximum(self.width(np.arange(WIDEST + 1)), 1)
        weight, read = np.meshgrid(bits, bits, indexing="ij")
        return weight, read

    @cached_property
    def _theta(self) -> Floats:
        return np.asarray(self.engine.theta(*self._grid), np.float64)

    @cached_property
    def _mac_j(self) -> Floats:
        return np.asarray(self.mac_energy.energy_j(*self._grid, self._theta), np.float64)

    @cached_property
    def _stored(self) -> Floats:
        bits = self._grid[0][:, 0].astype(np.float64)
        if self.packing == "dense":
            return bits
        word = self.dram.word.value
        fitting = np.floor(word / bits)
        return np.where(fitting > 0, word / np.maximum(fitting, 1), np.ceil(bits / word) * word)

    def figures(self) -> list[tuple[str, Figure | Count]]:
        """Return every figure with its key path in the file, such as ``array.rows``."""
        return list(figures(self))

    def digest(self) -> str:
        """Return the SHA-256 of the machine's canonical JSON, of the keys that are given."""
        plain = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _look_up(table: Floats, *bits: ArrayLike) -> Floats:
    found: Floats = table[tuple(np.asarray(b) for b in bits)]
    return found


def is_device(name_or_path: str | Path) -> bool:
    """Whether a name or a file is that of a device; False too where there is no such machine."""
    try:
        return file.read(name_or_path).get("kind") == "device"
    except MachineError:
        return False


def load_machine(name_or_path: str | Path) -> Accelerator:
    """Return a machine by the name of a preset or plug-in, or from a .yaml file.

    Raises MachineError for an unknown name (with the nearest) and for a file with a fault (with
    the file and the key). A file of the kind "device" gives a :class:`Device`: it takes an
    accelerator's place wherever costs are measured, and tells whoever asks it for an array.
    """
    plain = file.read(name_or_path)
    shown = file.shown_as(name_or_path)
    if plain.get("kind") != "device":
        return file.checked(shown, plain, Accelerator)
    if plain.get("table") is not None:
        plain["table"] = file.find(name_or_path).parent / str(plain["table"])
    return cast(Accelerator, file.checked(shown, plain, Device))
