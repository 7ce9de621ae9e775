"""Parts of a modelled machine: memory levels, scratchpads, the array and the energy of a MAC."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from hwflow.machine.figures import (
    AccessEnergy,
    Bandwidth,
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

    name: str
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


MacEnergy = Annotated[CycleEnergy | TableEnergy | ProductEnergy, Field(discriminator="kind")]
