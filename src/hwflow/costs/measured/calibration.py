"""From the sum of a network's layers to the network: an affine map fitted on whole networks.

A layer measured alone is called, reads and writes by itself, and a runtime lays tensors out anew
for it; in a network some of this falls away, and fused layers share what is left. So

    T = launch + run + Σ over layers (slope of its kind × (t - launch) + per layer)

with slopes and `run` not negative, by non-negative least squares on relative errors. A weak pull
to slopes of 1 and nothing per layer decides what the networks do not show.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hwflow.cost import Floats
from hwflow.costs.measured.networks import BYTE, FREE
from hwflow.costs.measured.operators import is_integer
from hwflow.errors import HwflowError
from hwflow.workload import Layer, Workload

PULL = 1e-4
"""Weight of one pull against that of one network."""

UNIT_S = 1e-6
"""What is added per layer and per run is fitted in these."""

FOLDS = 5
LEAST = 4
"""Networks from which a calibration is made."""


def kind_of(layer: Layer) -> str:
    """Return the kind of a layer, which has a slope of its own."""
    kind = layer.op
    if layer.op == "conv":
        alone = layer.groups > 1 and layer.groups == layer.in_channels
        kind = "depthwise" if alone else "pointwise" if layer.kernel == (1, 1) else "conv"
    elif not layer.is_mac and layer.op not in ("add", "mul"):
        kind = "pool" if layer.op.endswith("_pool") else "other"
    whole = {*layer.input_bits, layer.output_bits} == {BYTE}
    in_bytes = is_integer(layer) if layer.is_mac else whole
    return f"{kind}-int8" if in_bytes else kind


def kinds_of(workload: Workload) -> frozenset[str]:
    """Return the kinds of a workload's layers, without those that take no time."""
    return frozenset(kind_of(layer) for layer in workload if layer.op not in FREE)


@dataclass(frozen=True)
class Parts:
    """The sum of a network's layers, by kind."""

    seconds: Mapping[str, float]
    """Without the launch of each layer."""
    layers: int
    launch_s: float

    @classmethod
    def of(cls, workload: Workload, latency: Mapping[Layer, float], launch_s: float) -> Parts:
        """Add up the measured latencies of a workload's layers."""
        sums: dict[str, float] = defaultdict(float)
        counted = [layer for layer in workload if layer.op not in FREE]
        for layer in counted:
            sums[kind_of(layer)] += max(0.0, latency[layer] - launch_s)
        return cls(dict(sums), len(counted), launch_s)

    @property
    def plain_s(self) -> float:
        """The sum of the parts as they were measured."""
        return sum(self.seconds.values()) + self.layers * self.launch_s


@dataclass(frozen=True)
class Calibration:
    """A fitted map, and how far it was off on networks that it had not seen."""

    slopes: Mapping[str, float]
    per_layer_s: float
    run_s: float
    networks: int = 0
    median_error: float | None = None
    """Median of the relative errors over the folds of the cross-validation."""
    worst_error: float | None = None
    within_10: float | None = None
    """Share of the networks within 10 %."""
    plain_error: float | None = None
    """Median relative error of the plain sum of parts."""

    def layer_s(self, layer: Layer, latency_s: float, launch_s: float) -> float:
        """Return what a layer takes within a network."""
        slope = self.slopes.get(kind_of(layer), 1.0)
        return max(0.0, slope * max(0.0, latency_s - launch_s) + self.per_layer_s)

    def predict(self, parts: Parts) -> float:
        """Return what a network takes."""
        sums = sum(self.slopes.get(kind, 1.0) * s for kind, s in parts.seconds.items())
        return sums + parts.layers * self.per_layer_s + self.run_s + parts.launch_s

    def to_json(self) -> dict[str, Any]:
        """Return plain data, which :meth:`from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Calibration:
        """Return a calibration from plain data."""
        return cls(**plain)


def fit(parts: Sequence[Parts], measured_s: Sequence[float]) -> Calibration:
    """Fit a calibration to whole networks and cross-validate it.

    Raises HwflowError for too few networks.
    """
    if len(parts) < LEAST:
        raise HwflowError(f"A calibration needs at least {LEAST} whole networks, not {len(parts)}.")
    whole = np.asarray(measured_s, float)
    errors = _unseen_errors(parts, whole)
    plain = np.array([p.plain_s for p in parts]) / whole - 1
    found = _solved(parts, whole)
    return Calibration(
        found.slopes, found.per_layer_s, found.run_s, len(parts),
        float(np.median(errors)), float(errors.max()), float((errors <= 0.10).mean()),
        float(np.median(np.abs(plain))),
    )  # fmt: skip


def _unseen_errors(parts: Sequence[Parts], whole: Floats) -> Floats:
    """Return the relative error of each network under the fit to the other folds."""
    folds = np.random.default_rng(0).permutation(len(parts)) % min(FOLDS, len(parts))
    errors = np.zeros(len(parts))
    for fold in np.unique(folds):
        seen = np.flatnonzero(folds != fold).tolist()
        found = _solved([parts[i] for i in seen], whole[seen])
        for i in np.flatnonzero(folds == fold).tolist():
            errors[i] = abs(found.predict(parts[i]) / whole[i] - 1)
    return errors


def _solved(parts: Sequence[Parts], whole: Floats) -> Calibration:
    from scipy.optimize import (
        nnls,  # a quarter of a second, which only a calibration should wait for
    )

    kinds = sorted({kind for p in parts for kind in p.seconds})
    rest = whole - np.array([p.launch_s for p in parts])
    sums = np.array([[p.seconds.get(kind, 0.0) for kind in kinds] for p in parts])
    counts = np.array([p.layers for p in parts])[:, None] * UNIT_S
    runs = np.full((len(parts), 1), UNIT_S)
    rows = np.hstack([sums, counts, -counts, runs]) / whole[:, None]
    pull = np.sqrt(PULL * len(parts)) * np.eye(rows.shape[1])
    wanted = np.concatenate([np.ones(len(kinds)), np.zeros(3)])
    found, _ = nnls(np.vstack([rows, pull]), np.concatenate([rest / whole, pull @ wanted]))
    more, less, run = (float(value) * UNIT_S for value in found[len(kinds) :])
    slopes = dict(zip(kinds, map(float, found), strict=False))
    return Calibration(slopes, more - less, run)
