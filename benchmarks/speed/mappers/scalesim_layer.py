"""Simulate one layer with scalesim, inside its own environment; JSON on stdout.

    python scalesim_layer.py FOLDER

FOLDER holds machine.cfg, layer.csv and layout.csv as inputs.py writes them. No traces are written.
The clock starts after the imports.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
import tempfile
import time
from pathlib import Path

from scalesim.scale_sim import scalesim


def simulated(folder: Path, reports: Path) -> None:
    """Simulate the layers of a folder; scalesim writes its reports into another."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        scalesim(
            save_disk_space=True,
            verbose=False,
            config=str(folder / "machine.cfg"),
            topology=str(folder / "layer.csv"),
            layout=str(folder / "layout.csv"),
        ).run_scale(top_path=str(reports))


def column(reports: Path, name: str, key: str) -> float:
    """Return the sum of a column over the layers of a report."""
    (path,) = reports.rglob(name)
    with path.open() as file:
        return sum(float(row[key]) for row in csv.DictReader(file, skipinitialspace=True))


def main() -> None:
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as made:
        reports = Path(made)
        start = time.process_time()
        simulated(folder, reports)
        seconds = time.process_time() - start
        moved = sum(
            column(reports, "DETAILED_ACCESS_REPORT.csv", f"DRAM {kind}")
            for kind in ("IFMAP Reads", "Filter Reads", "OFMAP Writes")
        )
        result = {
            "cpu_ms": seconds * 1e3,
            "cycles": column(reports, "COMPUTE_REPORT.csv", "Total Cycles"),
            "stalls": column(reports, "COMPUTE_REPORT.csv", "Stall Cycles"),
            "dram_bytes": moved,
        }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
