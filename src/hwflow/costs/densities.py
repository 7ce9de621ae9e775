"""Densities of activations from a CSV file: what share of a layer's input is not zero.

layer,density,output_density        output_density may be left out; input_density is density
conv1,0.99,0.61
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hwflow.errors import WorkloadError, unknown_name
from hwflow.workload import Workload


@dataclass(frozen=True)
class Densities:
    """Shares of nonzero activations by layer name."""

    inputs: dict[str, float] = field(default_factory=dict)
    outputs: dict[str, float] = field(default_factory=dict)

    def on(self, workload: Workload) -> Workload:
        """Return the workload with these densities; layers that are not named keep theirs."""
        return workload.with_densities(self.inputs, self.outputs)


def read_densities(path: str | Path, names: Iterable[str]) -> Densities:
    """Read a file of densities for layers of these names.

    Raises WorkloadError that names the file, the line and the remedy: for an unknown or repeated
    layer, a share outside 0 to 1, a missing column.
    """
    path, known, found = Path(path), list(names), Densities()
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines, skipinitialspace=True)
            column = _column(path, rows.fieldnames or ())
            for row in rows:
                _add(found, row, column, f"{path}, line {rows.line_num}", known)
    except FileNotFoundError:
        raise WorkloadError(f"There is no file {str(path)!r}.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise WorkloadError(f"{path}: not a readable CSV file: {error}") from error
    if not found.inputs:
        raise WorkloadError(f"{path}: no layer is named. Add lines such as conv1,0.6.")
    return found


def _column(path: Path, given: Iterable[str]) -> str:
    """Return the name of the column of input densities."""
    there = [name.strip() for name in given]
    column = next((name for name in ("density", "input_density") if name in there), None)
    if "layer" not in there or column is None:
        lacks = "layer" if "layer" not in there else "density"
        raise WorkloadError(
            f"{path}, line 1: the column {lacks!r} is missing among {', '.join(there) or 'none'}. "
            "Write the header layer,density or layer,density,output_density."
        )
    return column


def _add(
    found: Densities, row: dict[str, str | None], column: str, place: str, known: list[str]
) -> None:
    row = {str(key).strip(): value for key, value in row.items()}
    name = (row["layer"] or "").strip()
    if name not in known:
        raise WorkloadError(f"{place}: {unknown_name('layer', name, known)}")
    if name in found.inputs:
        raise WorkloadError(f"{place}: layer {name!r} occurs a second time. Keep one line for it.")
    found.inputs[name] = _share(row[column], column, place)
    if (row.get("output_density") or "").strip():
        found.outputs[name] = _share(row["output_density"], "output_density", place)


def _share(text: str | None, column: str, place: str) -> float:
    try:
        share = float(text or "")
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise WorkloadError(
            f"{place}: {column} is {(text or '').strip()!r}. Write the share of nonzero "
            "activations, a number from 0 to 1 (1 - zeros)."
        )
    return share
