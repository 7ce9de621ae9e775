"""Parts of a modelled machine: memory levels, scratchpads, the array and the energy of a MAC."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator, model_validator

from hwflow.machine.figures import (
    AccessEnergy,
    Area,
    Bandwidth,
    Count,
    Energy,
    Figure,
    MoveEnergy,
    Number,
    Sealed,
    Size,
    Width,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
TensorKind = Literal["weights", "inputs", "outputs"]
LoopDim = Literal["N", "K", "C", "P", "Q", "R", "S", "G"]
ALL_TENSORS: tuple[TensorKind, ...] = ("weights", "inputs", "outputs")
LOOPS = "N K C P Q R S G"
MOST_PES = 2**20
"""PEs of the largest array that is taken as meant; the fine level lists unrollings over them."""


class Store(Sealed):
    """A memory: size, word, energy of an access and bandwidth of its port."""

    size: Size
    word: Width
    """Bits of one access."""
    read: AccessEnergy
    write: AccessEnergy
    bandwidth: Bandwidth | None = None
    """Of its port (or its read port, where `write_bandwidth` is given); None never limits."""
    write_bandwidth: Bandwidth | None = None
    """Of a write port of its own; None shares the port with the reads."""
    area: Area | None = None
    """Of one copy; None is estimated, see :mod:`hwflow.machine.area`."""

    @model_validator(mode="after")
    def _holds_a_word(self) -> Self:
        if self.bits < self.word.value:
            raise ValueError(
                f"The size is {self.bits / 8:g} B, less than one word of {self.word.value} bits. "
                "Enlarge size or narrow word."
            )
        return self

    @property
    def bits(self) -> float:
        """Capacity in bits, infinite when unlimited."""
        if isinstance(self.size, str):
            return float("inf")
        return self.size.value * (self.word.value if self.size.unit == "word" else 8)

    @property
    def read_j_per_bit(self) -> float:
        """Energy of reading one bit as part of a full word."""
        return self._per_bit(self.read)

    @property
    def write_j_per_bit(self) -> float:
        """Energy of writing one bit as part of a full word."""
        return self._per_bit(self.write)

    def _per_bit(self, energy: Figure) -> float:
        return energy.value / (self.word.value if energy.unit == "J/word" else 8)

    def bytes_per_s(self, clock_hz: float) -> float:
        """Return the bandwidth of the (read) port, infinite when it never limits."""
        if self.bandwidth is None:
            return float("inf")
        return self.bandwidth.value * (clock_hz if self.bandwidth.unit == "B/cycle" else 1.0)


class Level(Store):
    """A memory level; levels are listed from DRAM inward."""

    name: str = Field(min_length=1)
    holds: tuple[TensorKind, ...] = ALL_TENSORS
    """Tensors kept here; the others pass it by."""
    double_buffered: bool = False
    """Whether it is filled while it is read (each half has half the size)."""

    @field_validator("holds")
    @classmethod
    def _some_once(cls, holds: tuple[TensorKind, ...]) -> tuple[TensorKind, ...]:
        if not holds or len(set(holds)) != len(holds):
            raise ValueError("Name each tensor it holds once: weights, inputs, outputs.")
        return holds


class SharedPad(Store):
    """One scratchpad per PE that several tensors share."""

    kind: Literal["shared"]
    holds: tuple[TensorKind, ...] = ALL_TENSORS

    @property
    def pads(self) -> dict[str, Store]:
        """The memory of each PE, by name."""
        return {"shared": self}


class SeparatePads(Sealed):
    """One scratchpad per PE and tensor; a tensor without one streams past."""

    kind: Literal["separate"]
    weights: Store | None = None
    inputs: Store | None = None
    outputs: Store | None = None

    @model_validator(mode="after")
    def _some(self) -> SeparatePads:
        if not self.pads:
            raise ValueError("Give at least one of weights, inputs, outputs.")
        return self

    @property
    def pads(self) -> dict[str, Store]:
        """The memories of each PE, by tensor."""
        pads = {"weights": self.weights, "inputs": self.inputs, "outputs": self.outputs}
        return {name: pad for name, pad in pads.items() if pad is not None}


Scratchpads = Annotated[SharedPad | SeparatePads, Field(discriminator="kind")]


class Array(Sealed):
    """A 2-D array of PEs between two memory levels."""

    between: tuple[str, str]
    """Names of the level that feeds it and the level inside each PE ("scratchpads" or "PE")."""
    rows: Number
    cols: Number
    unroll_rows: tuple[LoopDim, ...]
    """Loops that may be spread over the rows; outputs K, inputs C, groups G and so on."""
    unroll_cols: tuple[LoopDim, ...]
    transfer: MoveEnergy | None = None
    """Energy of moving data over the array's network."""

    @field_validator("cols")
    @classmethod
    def _not_too_many(cls, cols: Count, info: ValidationInfo) -> Count:
        rows = info.data.get("rows")
        if isinstance(rows, Count) and rows.value * cols.value > MOST_PES:
            raise ValueError(
                f"{rows.value} rows x {cols.value} columns are {rows.value * cols.value:,} PEs, at "
                f"most {MOST_PES:,} are allowed. Write how many PEs the array has along each axis."
            )
        return cols

    @field_validator("unroll_rows", "unroll_cols")
    @classmethod
    def _loops_to_spread(
        cls, loops: tuple[LoopDim, ...], info: ValidationInfo
    ) -> tuple[LoopDim, ...]:
        axis = str(info.field_name).removeprefix("unroll_")
        pes = info.data.get(axis)
        if not loops and isinstance(pes, Count) and pes.value > 1:
            raise ValueError(
                f"No loop may be spread over the {pes.value} {axis}, so {pes.value - 1} of them "
                f"would stay idle. Name some of {LOOPS}, or set array.{axis} to 1."
            )
        if len(set(loops)) != len(loops):
            raise ValueError(f"Name each loop once; got {', '.join(loops)}.")
        return loops

    @property
    def pes(self) -> int:
        """Number of PEs."""
        return self.rows.value * self.cols.value

    @property
    def transfer_j_per_bit(self) -> float:
        """Energy of moving one bit between PEs or from the level outside to a PE; 0 if unknown."""
        return self.transfer.value / 8 if self.transfer else 0.0


class CycleEnergy(Sealed):
    """A PE spends `energy` in each busy cycle; a MAC takes 1/θ of them."""

    kind: Literal["per-cycle"]
    energy: Energy

    def energy_j(self, weight_bits: Ints, input_bits: Ints, theta: Floats) -> Floats:
        """Return joules per MAC."""
        return self.energy.value / theta


class WidthEnergy(Sealed):
    """Energy of a MAC whose operands have at most `weight_bits` and `input_bits` bits."""

    weight_bits: Width
    input_bits: Width
    energy: Energy


class TableEnergy(Sealed):
    """Energy of a MAC by operand bits: the cheapest entry wide enough for both operands.

    Operands wider than every entry are cut into pieces of the widest one.
    """

    kind: Literal["table"]
    entries: tuple[WidthEnergy, ...]

    @field_validator("entries")
    @classmethod
    def _has_widest(cls, entries: tuple[WidthEnergy, ...]) -> tuple[WidthEnergy, ...]:
        widest = (
            max((e.weight_bits.value for e in entries), default=0),
            max((e.input_bits.value for e in entries), default=0),
        )
        if widest not in [(e.weight_bits.value, e.input_bits.value) for e in entries]:
            raise ValueError(
                f"The table needs an entry for the widest pair of operands, {widest[0]} x "
                f"{widest[1]} bits."
            )
        return entries

    def energy_j(self, weight_bits: Ints, input_bits: Ints, theta: Floats) -> Floats:
        """Return joules per MAC."""
        wide_w = max(e.weight_bits.value for e in self.entries)
        wide_a = max(e.input_bits.value for e in self.entries)
        pieces = np.ceil(weight_bits / wide_w) * np.ceil(input_bits / wide_a)
        narrow_w, narrow_a = np.minimum(weight_bits, wide_w), np.minimum(input_bits, wide_a)
        best: Floats = np.full(np.broadcast(weight_bits, input_bits).shape, np.inf)
        for entry in self.entries:
            fits = (narrow_w <= entry.weight_bits.value) & (narrow_a <= entry.input_bits.value)
            best = np.where(fits, np.minimum(best, entry.energy.value), best)
        cost: Floats = best * pieces
        return cost


class ProductEnergy(Sealed):
    """Energy of a MAC as the product of its operands' bits: e (b_w / b) (b_a / b)."""

    kind: Literal["product"]
    energy: Energy
    """Energy of a MAC of two operands of `bits`."""
    bits: Width

    def energy_j(self, weight_bits: Ints, input_bits: Ints, theta: Floats) -> Floats:
        """Return joules per MAC."""
        return self.energy.value * (weight_bits / self.bits.value) * (input_bits / self.bits.value)


class SerialEnergy(Sealed):
    """A MAC spends `energy` for every bit of its serial operand, whatever the other's bits."""

    kind: Literal["per-bit"]
    energy: Energy
    serial: Literal["weights", "inputs"]

    def energy_j(self, weight_bits: Ints, input_bits: Ints, theta: Floats) -> Floats:
        """Return joules per MAC."""
        bits = weight_bits if self.serial == "weights" else input_bits
        cost: Floats = np.multiply(self.energy.value, bits, dtype=np.float64)
        return cost


MacEnergy = Annotated[
    CycleEnergy | TableEnergy | ProductEnergy | SerialEnergy, Field(discriminator="kind")
]
