"""The chip as a level: convolutions under row-stationary passes, other layers by the fine level.

``cycles`` are those of processing; ``latency_s`` adds the wait for DRAM, estimated from the bytes
at the machine's rate. Energy is the chip's and that of DRAM. Words are the chip's at any bit width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from hwflow.cost import Bits, Costs
from hwflow.costs.arrays import Arrays
from hwflow.costs.chip.hardware import Chip
from hwflow.costs.chip.passes import Passes
from hwflow.costs.chip.replay import ChipCost, replay
from hwflow.costs.chip.search import Objective, search
from hwflow.costs.fine import Fine
from hwflow.costs.fine.rates import digest_of
from hwflow.costs.layerwise import BOUNDS, LayerLevel, Report, Row
from hwflow.design import Design
from hwflow.errors import HwflowError, unknown_name
from hwflow.machine import Accelerator
from hwflow.workload import Layer

KNOWN = frozenset({"conv", "conv_transpose"})
"""Operators that the pass model was made for; the chip's own layers are convolutions."""


@dataclass(frozen=True)
class ChipReport:
    """One layer on the chip."""

    name: str
    cost: ChipCost
    gap: float | None = None
    """0 for parameters that were searched (every legal one was compared); None for given ones."""
    total_s: float | None = None
    """Measured time with the wait for DRAM, over which constant power is drawn; None: estimated."""

    @property
    def energy_by_part(self) -> dict[str, float]:
        """Joules by part; all but ``dram`` are the chip's."""
        parts, pads = self.cost.energy_by_part(self.total_s), self.cost.pads_share
        return {
            "mac": parts["MACs"] * (1 - pads),
            "scratchpads": parts["MACs"] * pads,
            "array": 0.0,
            "buffer": parts["GLB"],
            "dram": self.cost.dram_j,
            "idle": parts["base"],
        }

    @property
    def bound_by(self) -> str:
        """What takes longest: compute, port or dram."""
        if self.cost.dram_s > self.cost.processing_s:
            return "dram"
        return "port" if self.cost.bound_by == "global buffer port" else "compute"

    def row(self) -> Row:
        """Return the part that every level gives."""
        energy, moved = sum(self.energy_by_part.values()), sum(self.cost.dram_bytes.values())
        return Row(self.cost.total_s, energy, moved, BOUNDS.index(self.bound_by))

    def to_json(self) -> dict[str, Any]:
        """Return plain data, as ``hwflow cost --json`` gives it per layer."""
        cost = self.cost
        return {
            "name": self.name,
            "cycles": cost.cycles,
            "processing_s": cost.processing_s,
            "total_s": cost.total_s if self.total_s is None else self.total_s,
            "active_pes": cost.active_pes,
            "utilization": cost.utilization,
            "bound_by": self.bound_by,
            "gap": self.gap,
            "mapping": ", ".join(f"{key} {value}" for key, value in cost.passes.as_dict().items()),
            "passes": cost.passes.as_dict(),
            "pass_count": cost.pass_count,
            "bytes_by_memory": {"dram": dict(cost.dram_bytes), "buffer": dict(cost.buffer_bytes)},
            "energy_by_part": self.energy_by_part,
        }


def replayed(
    machine: Accelerator, layer: Layer, passes: Passes, total_s: float | None = None
) -> ChipReport:
    """Return a layer under given parameters, at its own densities; see `chip.replay` for errors."""
    cost = replay(
        layer, passes, Chip.of(machine), density=layer.input_density,
        output_density=layer.output_density,
    )  # fmt: skip
    return ChipReport(layer.name, cost, total_s=total_s)


class ChipLevel(LayerLevel):
    """The row-stationary chip: the best (m, n, e, p, q, r, t) of every convolution."""

    level = "chip"
    ungated = "only compress what leaves the chip"

    def __init__(self, objective: Objective = "chip", *, fine: Fine | None = None) -> None:
        """Seek parameters of least `objective`: "latency", "energy", or as the chip's own are.

        "chip" is the planning rule that gives the chip's own parameters on AlexNet. `fine` costs
        the layers that are no convolutions.
        """
        if objective not in get_args(Objective):
            raise HwflowError(unknown_name("objective", objective, get_args(Objective)))
        self.objective = objective
        self.fine = fine or Fine()
        self._found: dict[tuple[str, Layer], ChipReport] = {}

    def digest(self) -> str:
        """Return the model's name, version and settings."""
        return f"{self.level}-{self.version}-{self.objective}-{self.fine.digest()}"

    def row(self, machine: Accelerator, layer: Layer, bits: tuple[int, int, int]) -> Row:
        """Return the cost of a layer; bits count only for those that the fine level costs."""
        if layer.op in KNOWN:
            return self._best(machine, layer).row()
        return self.fine.row(machine, layer, bits)

    def reported(self, machine: Accelerator, layer: Layer) -> Report:
        """Return the layer's best parameters and where its cycles, bytes and energy go."""
        if layer.op in KNOWN:
            return self._best(machine, layer)
        return self.fine.reported(machine, layer)

    def _best(self, machine: Accelerator, layer: Layer) -> ChipReport:
        key = (digest_of(machine), layer)
        if key not in self._found:
            found = search(
                layer, Chip.of(machine), self.objective, density=layer.input_density,
                output_density=layer.output_density,
            )  # fmt: skip
            self._found[key] = ChipReport(layer.name, found.cost, gap=0.0)
        return self._found[key]

    def over_bits(self, design: Design, bits: Bits) -> Costs:
        """Cost one design at n bit assignments; MachineError for another kind of machine."""
        Chip.of(design.machine)
        return super().over_bits(design, bits)

    def notes(self, const: Arrays, machine: Accelerator, bits: Bits) -> tuple[str, ...]:
        """Return what a reader of the costs must know."""
        layers = const.workload.mac_layers
        others = [la.name for la in layers if la.op not in KNOWN]
        found = list(super().notes(const, machine, bits))
        if len(others) < len(layers):
            found.append(words_note(machine))
        if others:
            found.append(
                f"{counted_names(others)}: no convolution, so costed by the fine level instead of "
                "the chip model."
            )
        return tuple(found)

    def certificate(self, machine: Accelerator, reports: Sequence[Report]) -> str:
        """Return what is proven of the reported parameters, and of the others' mappings."""
        chips = [report for report in reports if isinstance(report, ChipReport)]
        others = [report for report in reports if not isinstance(report, ChipReport)]
        said = self.fine.certificate(machine, others)
        if not any(report.gap == 0 for report in chips):
            return said
        goal = "fewest words off chip" if self.objective == "chip" else f"least {self.objective}"
        own = f"Parameters (m,n,e,p,q,r,t) of {goal}: best of all legal ones on {machine.name}."
        return f"{own} {said}".strip()


def words_note(machine: Accelerator) -> str:
    """Return the note on what the chip model leaves out."""
    return (
        "Row-stationary passes are costed by the chip model (docs/eyeriss.md): words of "
        f"{machine.native_bits} bits whatever the operands have, constant power fitted to Eyeriss."
    )


def counted_names(names: Sequence[str], limit: int = 3) -> str:
    """Write "2 layers (a, b)", at most `limit` of the names."""
    shown = ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
    return f"{len(names)} layer{'s' if len(names) > 1 else ''} ({shown})"
