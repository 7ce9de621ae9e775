"""The tables of the page: text ready to print, the same numbers as the charts."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from hwflow.errors import HwflowError
from hwflow.front import Trial
from hwflow.machine import Accelerator, Device
from hwflow.problem import QUALITY
from hwflow.report import words
from hwflow.report.data import ReportData
from hwflow.report.headline import highlight
from hwflow.report.series import product_bits, stored_bits
from hwflow.units import show

REASONS = 5
"""How many reasons for infeasible plans are listed."""


@dataclass(frozen=True)
class Row:
    """One metric of the original and of a selected network."""

    id: str
    name: str
    before: str
    after: str
    change: str
    better: bool | None
    """None where nothing changed or nothing can be compared."""
    standing: str


def totals(data: ReportData, trial: Trial) -> list[Row]:
    """Return quality and every total cost of a trial beside the original's."""
    original = data.original_quality
    gap = None if original is None or trial.quality is None else trial.quality - original
    first = Row(
        "quality", data.quality, words.quality(data, original), words.quality(data, trial.quality),
        words.difference(data, trial.quality), _sign(gap), "measured",
    )  # fmt: skip
    return [first, *(_cost_row(data, trial, name) for name in data.metrics)]


def _cost_row(data: ReportData, trial: Trial, name: str) -> Row:
    ratio = data.relative_change(trial, name)
    return Row(
        name, words.NAMES[name],
        words.cost(name, data.cost_before.total.get(name)),
        words.cost(name, trial.total.get(name)),
        words.change(ratio), _sign(None if ratio is None else -ratio),
        data.cost_before.standing.get(name, "estimate"),
    )  # fmt: skip


def _sign(gain: float | None) -> bool | None:
    return None if not gain or gain != gain else gain > 0


@dataclass(frozen=True)
class Cell:
    """Text, and the number that the column is sorted by."""

    text: str
    value: float | None
    note: str = ""
    """A second, smaller text such as the relative change."""


def front_columns(data: ReportData) -> list[str]:
    """Return the headings of the table of the front."""
    costs = [words.NAMES[name] for name in _front_metrics(data)]
    return ["network", data.quality, *costs, "bits per parameter", "bits per operand"]


def front_rows(data: ReportData) -> Iterator[tuple[Trial, list[Cell]]]:
    """Yield each trial of the front with its cells, best quality first; the number has no cell."""
    for trial in sorted(data.front, key=_worst_last):
        quality = Cell(
            words.quality(data, trial.quality),
            trial.quality,
            words.difference(data, trial.quality),
        )
        costs = [
            Cell(
                words.cost(name, trial.total.get(name)),
                trial.total.get(name),
                words.change(data.relative_change(trial, name)),
            )
            for name in _front_metrics(data)
        ]
        yield trial, [quality, *costs, *map(_bits, _mean_bits(trial))]


def _worst_last(trial: Trial) -> tuple[bool, float]:
    quality = trial.value(QUALITY)
    return not isfinite(quality), -quality if isfinite(quality) else 0.0


def _front_metrics(data: ReportData) -> list[str]:
    also = [n for n in ("dram_bytes", "model_bytes") if n in data.metrics]
    return list(dict.fromkeys([*data.cost_objectives, *also]))


def _mean_bits(trial: Trial) -> tuple[float | None, float | None]:
    return stored_bits(trial.total), product_bits(trial.total)


def _bits(value: float | None) -> Cell:
    return Cell(words.NOTHING if value is None else f"{value:.1f}", value)


def shortcuts(data: ReportData) -> list[tuple[str, int]]:
    """Return (name, trial number) of the trials that a reader asks for first."""
    chosen = highlight(data)
    if chosen is None:
        return []
    wishes = [("knee", "knee"), ("most accurate", "most accurate")]
    wishes += [(f"least {words.NAMES[n]}", f"least {n}") for n in data.cost_objectives]
    return [("in the headline", chosen.number)] + [
        (name, data.front.pick(wish).number) for name, wish in wishes
    ]


def command(data: ReportData, trial: Trial) -> str:
    """Return the command line that builds a trial."""
    return f'hwflow build {shlex.quote(data.run)} --pick "#{trial.number}" --to net.onnx'


def choices(data: ReportData) -> list[dict[str, Any]]:
    """Return the choices of the space that the trials carry; empty when they carry none."""
    space = next((trial.space for trial in data.front if trial.space is not None), None)
    return space.describe() if space is not None else []


def reasons(data: ReportData) -> list[tuple[str, int]]:
    """Return the commonest reasons why plans were not evaluated, with their number."""
    kinds = Counter(_kind(reason) for trial in data.trials for reason in trial.infeasible)
    return kinds.most_common(REASONS)


def _kind(reason: str) -> str:
    """Drop the trial's own figure: "latency is 5 ms, allowed 4 ms" is "latency above 4 ms"."""
    metric, is_, rest = reason.partition(" is ")
    _, allowed, limit = rest.partition(", allowed ")
    return f"{metric} above {limit}" if is_ and allowed else reason


def machine_summary(machine: Accelerator) -> list[tuple[str, str]]:
    """Return the figures of a machine that decide most, as (name, value with unit)."""
    if isinstance(machine, Device):
        return machine.rows()
    native = machine.native_bits
    widths = sorted({native, *(bits for bits in (8, 4) if bits < native)}, reverse=True)
    peaks = [
        (f"peak at {b} x {b} bits", show(float(machine.peak_macs_per_s(b, b)), "MAC/s"))
        for b in widths
    ]
    energies = [
        (f"energy of a MAC at {b} x {b} bits", show(float(machine.mac_energy_j(b, b)), "J"))
        for b in widths
    ]
    return [
        ("processing elements", str(machine.pes)),
        ("clock", show(machine.clock_hz, "Hz")),
        ("native width", f"{native} bits"),
        *peaks,
        ("memory on the chip", show(machine.onchip_bits / 8, "B")),
        ("off-chip bandwidth", show(machine.dram_bytes_per_s, "B/s")),
        *energies,
        ("energy of an off-chip bit", show(machine.dram_j_per_bit, "J")),
    ]


def machine_figures(machine: Accelerator) -> list[tuple[str, str, str]]:
    """Return every figure of a machine file as (key, value with unit, source)."""
    return [(path, str(figure), figure.source) for path, figure in machine.figures()]


def provenance(machine: Accelerator, given: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return what a page was made with and from, nested keys joined by dots."""
    found = [("machine digest", machine.digest()), *_flat(given)]
    return [(key, text) for key, text in found if text]


def _flat(values: Mapping[str, object], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{path}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(map(str, value))
        else:
            yield name, "" if value is None else str(value)


def check(data: ReportData) -> None:
    """Raise HwflowError when details belong to trials that are not on the front."""
    front = {trial.number for trial in data.front}
    stray = sorted((set(data.details) - front) | (set(data.reports) - set(data.details)))
    if stray:
        raise HwflowError(
            f"Details of trial #{stray[0]} were given, but it is not on the front. "
            "Give details by the numbers of the front's trials, and reports for those only."
        )
