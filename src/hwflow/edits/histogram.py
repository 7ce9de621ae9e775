"""Ranges of activations by the divergence of histograms, TensorRT's idea.

Migacz, "8-bit inference with TensorRT", GTC 2017: of all clipping ranges take the one whose grid
changes the distribution of the values least: P is the histogram with what is clipped added to its
last bins, Q the same counts inside the range summed over the bins of each level and spread evenly
over those that are not empty; the range is that of least KL(P || Q). Here for any bits and for
grids with a zero point. Exact zeros do not count: every grid has them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hwflow.fake_quantize import grid

SAMPLES = 2**18
"""How many values of a tensor the histograms are made of: fewer leave more noise than clipping."""

_BINS, _RANGES = 2048, 100
_EMPTY = 1e-4
"""Share of a value's bin in P that Q is given where it has nothing."""

Make = Callable[[float], tuple[float, int]]
"""Factor of the full range -> step and zero point of the grid."""


def least_divergence(
    values: Tensor, low: float, high: float, bits: int, make: Make, smallest: float
) -> float:
    """Return the factor of the full range, from 1 to `smallest`, of the least divergence."""
    values = values[values != 0]
    if len(values) == 0 or high <= low:
        return 1.0
    counts = torch.histc(values, _BINS, low, high).double()
    edges = torch.linspace(low, high, _BINS + 1, dtype=torch.float64)
    centres = (edges[1:] + edges[:-1]) / 2
    factors = torch.logspace(0, float(torch.tensor(smallest).log10()), _RANGES).tolist()
    found = [_divergence(counts, centres, bits, *make(factor)) for factor in factors]
    return float(factors[found.index(min(found))])


def _divergence(counts: Tensor, centres: Tensor, bits: int, step: float, zero: int) -> float:
    """Return KL(P || Q) of one grid."""
    top = grid(bits, signed=False)[1]
    level = torch.round(centres / step) + zero
    inside = (level >= 0) & (level <= top)
    first, last = int(inside.int().argmax()), len(centres) - 1 - int(inside.int().flip(0).argmax())
    if not bool(inside.any()):
        return float("inf")
    own = counts[first : last + 1]
    wanted = own.clone()
    wanted[0] += counts[:first].sum()
    wanted[-1] += counts[last + 1 :].sum()
    groups = level[first : last + 1].long()
    filled = (own > 0).double()
    sums = torch.zeros(top + 1, dtype=torch.float64).index_add_(0, groups, own)
    bins = torch.zeros(top + 1, dtype=torch.float64).index_add_(0, groups, filled)
    spread = (sums / bins.clamp(min=1))[groups] * filled
    p = wanted / wanted.sum()
    q = spread / spread.sum().clamp(min=1e-12)
    seen = p > 0
    p, q = p[seen], torch.maximum(q[seen], _EMPTY * p[seen])
    return float((p * (p / q).log()).sum())
