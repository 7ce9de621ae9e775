"""Map one layer with zigzag-dse, inside its own environment; JSON on stdout.

    python zigzag_layer.py FOLDER OBJECTIVE

FOLDER holds workload.yaml, accelerator.yaml and mapping.yaml as inputs.py writes them. The
clock starts after the imports.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from zigzag.api import get_hardware_performance_zigzag

logging.disable(logging.CRITICAL)
FACTORS = 6
"""Loop prime factors that zigzag permutes: its default."""


def mapped(folder: Path, objective: str) -> Any:
    """Return zigzag's evaluation of the best mapping that it finds."""
    files = (str(folder / f"{name}.yaml") for name in ("workload", "accelerator", "mapping"))
    with tempfile.TemporaryDirectory() as dump, contextlib.redirect_stdout(io.StringIO()):
        _, _, found = get_hardware_performance_zigzag(
            *files,
            opt=objective,
            lpf_limit=FACTORS,
            dump_folder=dump,
            loma_show_progress_bar=False,
        )
    return found[0][1][0][0]


def dram_bits(best: Any) -> float:
    """Return the bits that cross the DRAM's port, from counts of accesses of the port's width."""
    total = 0.0
    for operand, levels in best.memory_word_access.items():
        memory = best.memory_operand_links.layer_to_mem_op(operand)
        level = best.accelerator.get_memory_level(memory, len(levels) - 1)
        for direction, count in levels[-1].data.items():
            total += count * (level.get_max_bandwidth(memory, direction) or 0)
    return total


def main() -> None:
    folder, objective = Path(sys.argv[1]), sys.argv[2]
    start = time.process_time()
    best = mapped(folder, objective)
    seconds = time.process_time() - start
    result = {
        "cpu_ms": seconds * 1e3,
        "macs": int(best.layer.total_mac_count),
        "steps": float(best.ideal_temporal_cycle),
        "cycles": float(best.latency_total2),
        "energy_pj": float(best.energy_total),
        "dram_bytes": dram_bits(best) / 8,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
