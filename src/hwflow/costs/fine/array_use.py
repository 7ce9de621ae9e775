"""How much of the array a mapping uses, and which loops leave the rest idle.

    utilization = active PEs / PEs  x  MACs / (active PEs' slots)  x  compute cycles / cycles

The three shares are what the factors on the axes leave out, what rounding of the loops leaves out,
and the time in which the array waits for memory.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil, prod
from typing import Any

from hwflow.costs.fine.nest import Mapping
from hwflow.costs.fine.rates import OperandBits, rates
from hwflow.costs.fine.score import Score
from hwflow.costs.fine.shape import DIMS, Shape
from hwflow.machine import Accelerator

COUNTED = 0.02
"""Rounding that leaves less than this share idle is not spoken of."""


@dataclass(frozen=True)
class Axis:
    """One axis of the array under a mapping."""

    name: str
    """rows or columns."""
    size: int
    factors: dict[str, int]
    """What is spread over it, by loop."""

    @property
    def used(self) -> int:
        """Rows or columns that work."""
        return prod(self.factors.values())

    @property
    def share(self) -> float:
        """Used of all."""
        return self.used / self.size

    def words(self) -> str:
        """Write what fills the axis, such as "P 8 fills 8 of 14 columns"."""
        if not self.factors:
            return f"nothing is spread over the {self.size} {self.name}"
        spread = " x ".join(f"{loop} {factor}" for loop, factor in self.factors.items())
        verb = "fills" if len(self.factors) == 1 else "fill"
        return f"{spread} {verb} {self.used} of {self.size} {self.name}"


@dataclass(frozen=True)
class ArrayUse:
    """Where the array's peak rate goes."""

    rows: Axis
    columns: Axis
    active: float
    """Share of the PEs that work at all."""
    filled: float
    """Share of their slots that rounding leaves filled."""
    busy: float
    """Share of the time in which they compute."""
    rounded: str | None
    """The loop whose last pass leaves most slots empty; None where hardly any are."""

    @property
    def idle(self) -> float:
        """Share of the peak rate that is not used."""
        return 1 - self.active * self.filled * self.busy

    def words(self) -> str:
        """Say which axis and which loop leave most PEs idle; empty where nearly all work."""
        axis = min(self.rows, self.columns, key=lambda axis: axis.share)
        parts = [axis.words()] if axis.share < 1 - COUNTED else []
        if self.rounded:
            share = f"{100 * (1 - self.filled):.0f} %"
            parts.append(f"uneven passes over {self.rounded} leave {share} of the slots empty")
        return " and ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self) | {"idle": self.idle, "words": self.words()}


def array_use(
    machine: Accelerator, shape: Shape, bits: OperandBits, mapping: Mapping, score: Score
) -> ArrayUse:
    """Return how a mapping uses the array of a machine."""
    rate = rates(machine, shape, bits)
    slots = mapping.active_pes * rate.lanes * score.compute_cycles / rate.step_cycles
    filled = shape.macs / slots
    return ArrayUse(
        rows=Axis("rows", machine.array.rows.value, _factors(mapping.rows)),
        columns=Axis("columns", machine.array.cols.value, _factors(mapping.cols)),
        active=mapping.active_pes / machine.pes,
        filled=filled,
        busy=score.compute_cycles / score.cycles,
        rounded=_rounded(shape, mapping) if filled < 1 - COUNTED else None,
    )


def _factors(spread: tuple[int, ...]) -> dict[str, int]:
    return {loop: factor for loop, factor in zip(DIMS, spread, strict=True) if factor > 1}


def _rounded(shape: Shape, mapping: Mapping) -> str | None:
    """Return the loop that the PEs divide worst; None where only the engine's lanes round."""
    waste = {
        loop: ceil(d / s) * s / d
        for loop, d, s in zip(DIMS, shape.dims, mapping.spread, strict=True)
    }
    loop = max(waste, key=lambda name: waste[name])
    return loop if waste[loop] > 1 else None
