"""Costs: the metrics, their standing, a cost by layer and in total, and limits on it.

Cost models work on arrays: one row per bit assignment, one column per layer. :class:`Costs` keeps
those arrays, :class:`Cost` is one row of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hwflow.design import Design
from hwflow.errors import HwflowError, unknown_name
from hwflow.units import parse, show
from hwflow.workload import Workload

Standing = Literal["exact", "bound", "estimate", "measured"]
"""exact: counted; bound: never above the truth; estimate: a model; measured: on the device."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Metric:
    """A quantity to minimise or limit: field name, short name, unit and how layers add up."""

    name: str
    short: str
    unit: str
    total: Literal["sum", "max", "own"] = "sum"


METRICS: Mapping[str, Metric] = {
    m.name: m
    for m in (
        Metric("latency_s", "latency", "s"),
        Metric("energy_j", "energy", "J"),
        Metric("dram_bytes", "dram", "B"),
        Metric("macs", "macs", ""),
        Metric("params", "params", "", "own"),
        Metric("bit_ops", "bit_ops", ""),
        Metric("frac_ops", "frac_ops", ""),
        Metric("model_bytes", "model", "B", "own"),
        Metric("peak_bytes", "peak", "B", "max"),
        Metric("area_um2", "area", "um2", "max"),
        Metric("luts", "luts", "", "own"),
        Metric("brams", "brams", "", "own"),
    )
}
"""Every metric, by field name. `peak_bytes` of a layer is what is alive while it runs."""


def metric(name: str) -> Metric:
    """Return the metric called `name` (``"latency"`` or ``"latency_s"``)."""
    for known in METRICS.values():
        if name in (known.name, known.short):
            return known
    raise HwflowError(unknown_name("metric", name, [m.short for m in METRICS.values()]))


@dataclass(frozen=True)
class Bits:
    """Bit assignments of one workload: n rows.

    `weights` has shape (n, layers); `tensors` has shape (n, inputs + layers): the bits of each
    network input, then of each layer's output.
    """

    weights: Ints
    tensors: Ints

    @classmethod
    def of(cls, workloads: Sequence[Workload]) -> Bits:
        """Read the bits of workloads that differ in nothing else."""
        weights = [[layer.weight_bits for layer in w] for w in workloads]
        tensors = [
            [i.bits for i in w.inputs] + [layer.output_bits for layer in w] for w in workloads
        ]
        return cls(np.asarray(weights, np.int64), np.asarray(tensors, np.int64))

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, rows: Ints) -> Bits:
        return Bits(self.weights[rows], self.tensors[rows])


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs; `values` is keyed by metric name."""

    name: str
    op: str
    values: Mapping[str, float]
    bound_by: str

    def __getattr__(self, name: str) -> float:
        if name in METRICS:
            return self.values.get(name, 0.0)
        raise AttributeError(name)


@dataclass(frozen=True)
class Cost:
    """What a design costs, by layer and in total, each metric with its standing."""

    level: str
    total: Mapping[str, float]
    layers: tuple[LayerCost, ...]
    standing: Mapping[str, Standing]
    notes: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> float:
        if name in METRICS:
            return self.total[name]
        raise AttributeError(name)

    def to_json(self) -> dict[str, Any]:
        """Return plain data with the keys total, standing, layers and notes."""
        return {
            "total": dict(self.total),
            "standing": dict(self.standing),
            "layers": [
                {"name": c.name, "op": c.op, **c.values, "bound_by": c.bound_by}
                for c in self.layers
            ],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Costs:
    """Costs of n designs that differ in their bits: arrays by metric name.

    `layers[metric]` has shape (n, layers), `total[metric]` shape (n,).
    `bound_by` holds indices into `bounds`, shape (n, layers).
    """

    level: str
    workload: Workload
    layers: Mapping[str, Floats]
    total: Mapping[str, Floats]
    standing: Mapping[str, Standing]
    bound_by: Ints
    bounds: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.bound_by)

    def __getitem__(self, row: int) -> Cost:
        layers = tuple(
            LayerCost(
                layer.name,
                layer.op,
                {key: _number(table[row, column]) for key, table in self.layers.items()},
                self.bounds[self.bound_by[row, column]],
            )
            for column, layer in enumerate(self.workload)
        )
        total = {key: _number(values[row]) for key, values in self.total.items()}
        return Cost(self.level, total, layers, self.standing, self.notes)

    @classmethod
    def merged(cls, parts: Sequence[tuple[Ints, Costs]]) -> Costs:
        """Put costs of one workload on several machines together, each with its row numbers."""
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))
        tables = [costs for _, costs in parts]
        first = tables[0]

        def rows_of(pick: Callable[[Costs], Mapping[str, Floats]]) -> dict[str, Floats]:
            return {
                name: np.concatenate([pick(costs)[name] for costs in tables])[order]
                for name in pick(first)
            }

        return replace(
            first,
            layers=rows_of(lambda costs: costs.layers),
            total=rows_of(lambda costs: costs.total),
            bound_by=np.concatenate([costs.bound_by for costs in tables])[order],
            notes=tuple(dict.fromkeys(note for costs in tables for note in costs.notes)),
        )


def _number(value: float) -> float:
    """Write whole numbers as int, so that JSON shows counts as counts."""
    number = float(value)
    return int(number) if number.is_integer() and abs(number) >= 1 else number


class CostModel(Protocol):
    """A level of abstraction, or a table, or a device: knows no machine of its own."""

    level: str
    """Its name in the output, such as "mid"."""

    def cost(self, design: Design) -> Cost:
        """Cost one design."""
        ...

    def costs(self, designs: Sequence[Design]) -> list[Cost]:
        """Cost many designs."""
        ...

    def over_bits(self, design: Design, bits: Bits) -> Costs:
        """Cost one design at many bit assignments at once."""
        ...

    def digest(self) -> str:
        """Return what identifies the model's version and settings, for the study."""
        ...


def is_relative(text: str) -> bool:
    """Whether a limit is a share of the original network's cost, such as "latency=50%"."""
    return text.rstrip().endswith("%")


def _share(text: str, value: str, known: Metric, whole: Mapping[str, float] | None) -> float:
    if whole is None:
        raise HwflowError(
            f"The limit {text!r} is a share of the original network's {known.short}, which is not "
            f"known here. Give it in {known.unit or 'numbers'}."
        )
    if known.name not in whole:
        raise HwflowError(f"The limit {text!r} is a share of the {known.short}, which the cost "
                          "model does not give.")  # fmt: skip
    return parse(value.strip().rstrip("%"), "") / 100 * whole[known.name]


@dataclass(frozen=True)
class Limits:
    """Upper limits on total costs, in SI units. None is no limit."""

    latency_s: float | None = None
    energy_j: float | None = None
    dram_bytes: float | None = None
    macs: float | None = None
    params: float | None = None
    bit_ops: float | None = None
    frac_ops: float | None = None
    model_bytes: float | None = None
    peak_bytes: float | None = None
    area_um2: float | None = None
    luts: float | None = None
    brams: float | None = None

    @classmethod
    def read(cls, texts: Sequence[str], whole: Mapping[str, float] | None = None) -> Limits:
        """Read limits such as ``"latency=4ms"``, ``"energy < 1 mJ"`` or ``"latency=50%"``.

        `whole` is what a limit in percent is a share of: total costs of the original network.
        """
        values: dict[str, float] = {}
        for text in texts:
            name, _, value = text.replace("<=", "=").replace("<", "=").partition("=")
            if not value.strip():
                raise HwflowError(f"{text!r} is no limit. Write NAME=VALUE, such as latency=4ms.")
            known = metric(name.strip())
            share = is_relative(text)
            limit = _share(text, value, known, whole) if share else parse(value.strip(), known.unit)
            if not limit > 0:
                raise HwflowError(f"The limit {text!r} must be above zero.")
            values[known.name] = limit
        return cls(**values)

    def items(self) -> list[tuple[str, float]]:
        """Return the limits that are set, as (metric name, value)."""
        pairs = ((name, getattr(self, name)) for name in METRICS)
        return [(name, value) for name, value in pairs if value is not None]

    def texts(self) -> tuple[str, ...]:
        """Return the limits as :meth:`read` takes them, to the last bit."""
        return tuple(f"{METRICS[n].short}={v!r}{METRICS[n].unit}" for n, v in self.items())

    def excess(self, total: Mapping[str, float]) -> float:
        """Return by what share the worst limit is exceeded; 0 when all are met."""
        over = [total[name] / value - 1 for name, value in self.items()]
        return max(0.0, *over) if over else 0.0

    def broken(self, total: Mapping[str, float]) -> list[str]:
        """Return a sentence for each limit that `total` exceeds."""
        return [
            f"{METRICS[name].short} is {show(total[name], METRICS[name].unit)}, "
            f"allowed {show(value, METRICS[name].unit)}"
            for name, value in self.items()
            if total[name] > value
        ]

    def __str__(self) -> str:
        return ", ".join(
            f"{METRICS[n].short} <= {show(v, METRICS[n].unit)}" for n, v in self.items()
        )
