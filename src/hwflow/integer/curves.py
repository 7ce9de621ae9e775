"""Nonlinear functions without floating point: a table over the codes, or thresholds over a sum.

A function of at most 2^16 different integers is a table. After a convolution, where the integers
are many and every channel has a scale of its own, the code is a staircase over the accumulator: it
changes by one at integers that are found once, by bisection, with the float64 function that the
simulation computes. The program then counts how many of them an accumulator has reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hwflow.integer.values import Array, Curve, Grid, Term

TABLE = 1 << 16
"""Entries of the largest table."""

STEPS = 1 << 24
"""Thresholds of the largest staircase, all channels together."""

Function = Callable[[Array], Array]
"""Accumulators -> codes."""


@dataclass(frozen=True, eq=False)
class Table:
    """code = entries[acc - low]."""

    low: int
    entries: Array

    def __call__(self, acc: Array) -> Array:
        """Return the codes."""
        return np.asarray(self.entries[acc - self.low])


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of accumulators in which the code only rises, or only falls."""

    thresholds: Array
    """(C, K) int64, rows ascending: the first accumulator after each step; unused ones are beyond
    every accumulator."""
    direction: Array
    """(C,): 1, 0 or -1."""


@dataclass(frozen=True, eq=False)
class Staircase:
    """code = start + sum over pieces of direction * how many thresholds are <= acc, by channel."""

    start: Array
    pieces: tuple[Piece, ...]
    axis: int
    """Axis of the channels, counted from the end."""

    def __call__(self, acc: Array) -> Array:
        """Return the codes of accumulators."""
        if len(self.start) == 1:
            return self._count(0, acc)
        moved = np.moveaxis(acc, self.axis, 0)
        found = np.stack([self._count(row, values) for row, values in enumerate(moved)])
        return np.moveaxis(found, 0, self.axis)

    def _count(self, row: int, acc: Array) -> Array:
        found = np.full(acc.shape, self.start[row], dtype=np.int64)
        for piece in self.pieces:
            reached = np.searchsorted(piece.thresholds[row], acc, side="right")
            found += piece.direction[row] * reached
        return found


def function(term: Term, offset: Array, curves: Sequence[Curve], grid: Grid) -> Function:
    """Return what computes the codes of curves(factor * acc + offset) from accumulators."""

    def codes(acc: Array) -> Array:
        real = term.factor * acc + offset
        for curve in curves:
            real = curve.apply(real)
        return grid.codes(real)

    return codes


def table(term: Term, codes: Function) -> Table:
    """Return the table of a function of few integers that does not depend on the channel."""
    every = np.arange(term.low, term.high + 1, dtype=np.int64)
    return Table(term.low, codes(every.reshape(1, -1)).reshape(-1))


def staircase(term: Term, offset: Array, codes: Function, turns: Sequence[float]) -> Staircase:
    """Return the staircase of a function that turns at the real numbers `turns`.

    `codes` takes accumulators of shape (1, C, ...) or whatever broadcasts against the factor.
    """
    shape = np.broadcast_shapes((1,), term.factor.shape, offset.shape)
    factor, shift = (np.broadcast_to(a, shape).reshape(-1) for a in (term.factor, offset))
    axis = next((i - len(shape) for i, size in enumerate(shape) if size > 1), -1)

    def by_channel(acc: Array) -> Array:
        """Evaluate (C, K) accumulators: K tensors that have the channels where they belong."""
        return codes(acc.T.reshape(-1, *shape)).reshape(acc.T.shape).T

    with np.errstate(divide="ignore", invalid="ignore"):  # a constant channel may be cut anywhere
        places = [np.nan_to_num((turn - shift) / factor) for turn in turns]
    ends = [np.full(len(factor), end) for end in (term.low - 1, term.high)]
    cuts = np.sort(np.clip(np.floor([ends[0], *places, ends[1]]), *ends), axis=0).astype(np.int64)
    pieces = [_piece(np.minimum(a + 1, b), b, by_channel, term.high + 1) for a, b in pairwise(cuts)]
    joints = [_joint(cut, by_channel, term) for cut in cuts[1:-1]]
    start = by_channel(np.full((len(factor), 1), term.low))[:, 0]
    kept = tuple(piece for piece in (*pieces, *joints) if piece.direction.any())
    return Staircase(start, kept, axis)


def _piece(first: Array, last: Array, codes: Function, beyond: int) -> Piece:
    """Return the steps between the accumulators `first` and `last` (C,) of one monotone stretch."""
    a, b = codes(first[:, None])[:, 0], codes(last[:, None])[:, 0]
    direction, steps = np.sign(b - a), np.abs(b - a)
    wanted = np.arange(1, max(int(steps.max()), 1) + 1)[None]
    low = np.broadcast_to(first[:, None], (len(first), wanted.shape[1])).copy()
    high = np.broadcast_to(last[:, None], low.shape).copy()
    while (low < high).any():
        middle = low + (high - low) // 2
        reached = (codes(middle) - a[:, None]) * direction[:, None] >= wanted
        low, high = np.where(reached, low, middle + 1), np.where(reached, middle, high)
        low = np.minimum(low, high)
    return Piece(np.where(wanted <= steps[:, None], low, beyond), direction)


def _joint(cut: Array, codes: Function, term: Term) -> Piece:
    """Return the steps from the last accumulator of one stretch to the first of the next."""
    before, after = (np.clip(end, term.low, term.high)[:, None] for end in (cut, cut + 1))
    change = (codes(after) - codes(before))[:, 0]
    used = np.arange(1, max(int(np.abs(change).max()), 1) + 1)[None] <= np.abs(change)[:, None]
    return Piece(np.where(used, (cut + 1)[:, None], term.high + 1), np.sign(change))
