"""The program of :mod:`hwflow.solvers.program` as rows and columns, solved by HiGHS."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csr_array

from hwflow.cost import Floats
from hwflow.errors import HwflowError

EXACT = 1e-9
"""Share of a budget by which a sum may exceed it: rounding."""

TOLERANCE = 1e-6
"""Share of a budget by which HiGHS may exceed it: its rows are scaled to a budget of 1."""

SPREAD = 1e4
"""Sum of the sites' spreads of score as the solver sees it; it ends at a difference of 1e-6."""

INFEASIBLE = 2
"""SciPy's status of a program without a solution."""


@dataclass(frozen=True)
class Effort:
    """When a search may end before the best is proven."""

    gap: float = 0.0
    """Share of the score by which the answer may lie above the best."""
    time_limit: float | None = None
    """Seconds; answers then depend on the speed of the machine."""
    nodes: int | None = None
    """Nodes of the search tree."""


class Found(NamedTuple):
    """A solution: the position of each site's option, a bound on the score, and what ended it."""

    options: tuple[int, ...]
    bound: float
    status: str


@dataclass(frozen=True, eq=False)
class Rows:
    """A program: columns are the options of each site in turn, then the entries of joint tables."""

    sites: tuple[int, ...]
    """Number of options of each site."""
    joint: tuple[tuple[int, ...], ...]
    """Sites of each joint table; its entries are in C order."""
    score: Floats
    """Of every column."""
    costs: Sequence[Floats]
    """Of every column, one array for each budget."""
    budgets: Sequence[float]
    earlier: Sequence[Sequence[Sequence[int]]]
    """Earlier answers: for each site the position of the chosen option, empty if it is not kept."""
    shared: int
    """Sites in which an answer may equal an earlier one."""

    @property
    def starts(self) -> list[int]:
        """First column of each site, then of the joint tables."""
        return [sum(self.sites[:site]) for site in range(len(self.sites) + 1)]


def solved(rows: Rows, effort: Effort) -> Found | None:
    """Return the best solution, None where there is none.

    Raises HwflowError when a limit ends the search before anything is found.
    """
    column, offset, factor = _scaled_score(rows)
    limits = {"time_limit": effort.time_limit, "node_limit": effort.nodes}
    options = {"mip_rel_gap": effort.gap, **{k: v for k, v in limits.items() if v is not None}}
    whole = np.arange(len(column)) < sum(rows.sites)
    with _quiet():
        result = milp(
            column, integrality=whole, bounds=Bounds(0, 1), constraints=list(_constraints(rows)),
            options=options,
        )  # fmt: skip
    if result.status == INFEASIBLE:
        return None
    if result.x is None:
        raise HwflowError(
            f"The integer program ended with nothing found: {result.message} Raise its limits."
        )
    parts = _segments(rows, result.x)[: len(rows.sites)]
    bound = offset + float(result.mip_dual_bound) / factor
    status = _ended(result.status, result.message)
    return Found(tuple(int(np.argmax(part)) for part in parts), bound, status)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep off the screen what HiGHS prints past its own switch when it repairs a solution.

    It writes to the C library's standard output, which Python cannot redirect but by descriptor.
    """
    try:
        kept = os.dup(1)
    except OSError:  # there is no standard output
        yield
        return
    try:
        _flush()
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)


def _flush() -> None:
    """Write out what Python and the C library hold back of standard output."""
    if sys.stdout is not None:
        sys.stdout.flush()
    with suppress(OSError, AttributeError, TypeError):  # no C library under that name
        ctypes.CDLL(None).fflush(None)


def _segments(rows: Rows, column: Floats) -> list[Floats]:
    """Return the parts of which just one entry is chosen: the sites, then the joint tables."""
    sizes = [*rows.sites, *(prod(rows.sites[site] for site in sites) for sites in rows.joint)]
    return np.split(column, np.cumsum(sizes)[:-1])


def _from_zero(rows: Rows, column: Floats) -> tuple[Floats, float]:
    """Return a column with the least of each segment taken off, and the sum of these."""
    parts = _segments(rows, column)
    least = [float(part.min()) for part in parts]
    shifted = [part - low for part, low in zip(parts, least, strict=True)]
    return np.concatenate(shifted), float(sum(least))


def _scaled_score(rows: Rows) -> tuple[Floats, float, float]:
    """Return the scores as the solver sees them, with the offset and the factor."""
    column, offset = _from_zero(rows, rows.score)
    spread = sum(float(part.max()) for part in _segments(rows, column))
    factor = SPREAD / spread if spread > 0 else 1.0
    return column * factor, offset, factor


def _constraints(rows: Rows) -> Iterator[LinearConstraint]:
    yield LinearConstraint(_one_of_each(rows), 1, 1)
    for sites, start in zip(rows.joint, _joint_starts(rows), strict=True):
        yield LinearConstraint(_linked(rows, sites, start), 0, 0)
    for cost, budget in zip(rows.costs, rows.budgets, strict=True):
        column, offset = _from_zero(rows, cost)
        factor = 1 / (abs(budget) or float(column.max()) or 1.0)
        yield LinearConstraint(
            csr_array(column[None] * factor), -np.inf, (budget - offset) * factor
        )
    if rows.earlier:
        yield LinearConstraint(_overlaps(rows), -np.inf, rows.shared)


def _one_of_each(rows: Rows) -> Any:
    site_of = np.repeat(np.arange(len(rows.sites)), rows.sites)
    return _sparse(rows, site_of, np.arange(len(site_of)), len(rows.sites))


def _joint_starts(rows: Rows) -> list[int]:
    sizes = [prod(rows.sites[site] for site in sites) for sites in rows.joint]
    return [sum(rows.sites) + sum(sizes[:number]) for number in range(len(sizes))]


def _linked(rows: Rows, sites: Sequence[int], start: int) -> Any:
    """Return the rows sum of y over the entries with option j at site i, less x_ij."""
    shape = [rows.sites[site] for site in sites]
    entries = np.indices(shape).reshape(len(shape), -1)
    first_row = np.cumsum([0, *shape])
    taken = np.concatenate([first_row[axis] + entries[axis] for axis in range(len(shape))])
    columns = np.tile(start + np.arange(entries.shape[1]), len(shape))
    own = np.concatenate([rows.starts[site] + np.arange(rows.sites[site]) for site in sites])
    count = int(first_row[-1])
    return _sparse(rows, taken, columns, count) - _sparse(rows, np.arange(count), own, count)


def _overlaps(rows: Rows) -> Any:
    """Return a row for each earlier answer: the options that are chosen again."""
    pairs = [
        (number, start + position)
        for number, answer in enumerate(rows.earlier)
        for start, chosen in zip(rows.starts, answer, strict=False)
        for position in chosen
    ]
    taken, columns = np.array(pairs, int).reshape(-1, 2).T
    return _sparse(rows, taken, columns, len(rows.earlier))


def _sparse(rows: Rows, taken: Any, columns: Any, count: int) -> Any:
    """Return a matrix of ones at these rows and columns."""
    shape = (count, len(rows.score))
    return csr_array(coo_array((np.ones(len(taken)), (taken, columns)), shape=shape))


def _ended(status: int, message: str) -> str:
    if status == 0:
        return "optimal"
    return "time limit" if "time" in message.lower() else "node limit"
