"""Replay: given mappings are scored without a search; layers without one are left to a level.

For row-stationary parameters of the Eyeriss chip::

    model = Replay(read_mappings("eyeriss_alexnet.yaml"), ChipLevel())
    model.cost(design), model.report(design)
"""

from __future__ import annotations

from collections.abc import Sequence

from hwflow.cost import Bits, Costs
from hwflow.costs.arrays import Arrays
from hwflow.costs.chip.level import KNOWN, ChipReport, counted_names, replayed, words_note
from hwflow.costs.fine import LayerReport
from hwflow.costs.fine.legal import check_mapping
from hwflow.costs.fine.level import loops_on, nest_text, row_of
from hwflow.costs.fine.rates import OperandBits, digest_of, rates
from hwflow.costs.fine.score import score
from hwflow.costs.layerwise import LayerLevel, Report, Row, costed_bits
from hwflow.costs.mappings import GivenDirectives, GivenMapping, GivenPasses, MappingFile
from hwflow.design import Design
from hwflow.errors import WorkloadError
from hwflow.machine import Accelerator
from hwflow.workload import Layer


class Replay(LayerLevel):
    """Given mappings, scored as they are; `others` costs the layers that have none."""

    def __init__(self, given: MappingFile, others: LayerLevel) -> None:
        """Score the mappings of a file; `others` is the level that searches what it lacks."""
        self.given = given
        self.others = others
        self.level = others.level
        self.ungated = others.ungated
        self._rows: dict[tuple[object, ...], Row] = {}

    def digest(self) -> str:
        """Return the model's name, version, the file's content and the level of other layers."""
        return f"replay-{self.version}-{sorted(self.given.layers.items())}-{self.others.digest()}"

    def row(self, machine: Accelerator, layer: Layer, bits: tuple[int, int, int]) -> Row:
        """Return the cost of a layer under its mapping.

        Raises MappingError or WorkloadError, with the layer and what is missing, when it does not
        fit.
        """
        key = (digest_of(machine), layer, bits)
        if key not in self._rows:
            self._rows[key] = self._row(machine, layer, bits)
        return self._rows[key]

    def _row(self, machine: Accelerator, layer: Layer, bits: tuple[int, int, int]) -> Row:
        given = self.given.of(layer.name)
        if given is None:
            return self.others.row(machine, layer, bits)
        if isinstance(given, GivenPasses):
            return replayed(machine, layer, given.passes, given.total_s).row()
        return row_of(_mapped(machine, layer, given, OperandBits(*bits)).score)

    def reported(self, machine: Accelerator, layer: Layer) -> Report:
        """Return where a layer's cycles, bytes and energy go under its mapping."""
        given = self.given.of(layer.name)
        if given is None:
            return self.others.reported(machine, layer)
        if isinstance(given, GivenPasses):
            return replayed(machine, layer, given.passes, given.total_s)
        return _mapped(machine, layer, given, OperandBits(*costed_bits(machine, layer)))

    def over_bits(self, design: Design, bits: Bits) -> Costs:
        """Cost one design at n bit assignments.

        Raises MappingFileError when the file names a layer that the workload has not.
        """
        self.given.check_names(layer.name for layer in design.workload.mac_layers)
        return super().over_bits(design, bits)

    def notes(self, const: Arrays, machine: Accelerator, bits: Bits) -> tuple[str, ...]:
        """Return what a reader of the costs must know: what was given, what was searched."""
        layers = const.workload.mac_layers
        found = list(super().notes(const, machine, bits))
        passes = [la for la in layers if isinstance(self.given.of(la.name), GivenPasses)]
        if passes:
            found.append(words_note(machine))
            found.extend(self._about_passes(passes, machine))
        found.extend(self._about_directives(layers, machine))
        found.extend(self._about_missing(layers, machine))
        return tuple(found)

    def _about_directives(self, layers: Sequence[Layer], machine: Accelerator) -> list[str]:
        """Return what Timeloop's mappings say that has no equal."""
        given = [(layer, self.given.of(layer.name)) for layer in layers]
        return [
            f"{layer.name}: {note}."
            for layer, one in given
            if isinstance(one, GivenDirectives)
            for note in one.on(machine, loops_on(machine, layer)).notes
        ]

    def _about_passes(self, layers: Sequence[Layer], machine: Accelerator) -> list[str]:
        reports = [self.reported(machine, layer) for layer in layers]
        notes = [report.cost.note for report in reports if isinstance(report, ChipReport)]
        others = [layer.name for layer in layers if layer.op not in KNOWN]
        if others:
            notes.append(
                f"{counted_names(others)}: replayed as 1x1 convolutions. The chip model is checked "
                "on convolutions only."
            )
        return [note for note in notes if note]

    def _about_missing(self, layers: Sequence[Layer], machine: Accelerator) -> list[str]:
        missing = [layer for layer in layers if self.given.of(layer.name) is None]
        by_chip = [la.name for la in missing if self.others.level == "chip" and la.op in KNOWN]
        by_fine = [la.name for la in missing if la.name not in by_chip]
        return [
            f"{counted_names(names)} not in {self.given.path.name}: searched by the {model}."
            for names, model in ((by_chip, "chip model"), (by_fine, "fine level"))
            if names
        ]

    def certificate(self, machine: Accelerator, reports: Sequence[Report]) -> str:
        """Return what is proven of the mappings that were searched."""
        return self.others.certificate(machine, [one for one in reports if one.gap is not None])


def _mapped(
    machine: Accelerator, layer: Layer, given: GivenMapping | GivenDirectives, bits: OperandBits
) -> LayerReport:
    """Return a layer under a given mapping."""
    shape = loops_on(machine, layer)
    figures = rates(machine, shape, bits)
    try:
        plan = (
            given.on(shape) if isinstance(given, GivenMapping) else given.on(machine, shape).mapping
        )
        check_mapping(machine, shape, figures, plan)
    except WorkloadError as error:
        raise WorkloadError(f"Layer {layer.name!r}: {error}") from None
    got = score(shape, figures, plan, machine.pes)
    return LayerReport(layer.name, None, got, nest_text(machine, shape, plan), plan)
