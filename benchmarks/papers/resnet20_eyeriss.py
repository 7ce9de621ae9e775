"""The main job on real input: ResNet-20, CIFAR-10 (JPEG q75), mixed precision on Eyeriss.

    python benchmarks/unpack_cifar10_jpeg.py SHARED/data/cifar10-jpeg DATA
    python benchmarks/papers/resnet20_eyeriss.py --weights WEIGHTS --data DATA --out RUN

WEIGHTS is cifar10jpeg_resnet20.safetensors. Runs the search, the report and the build as a user
would, and writes resnet20_eyeriss.json (front, wall and CPU time, machine) beside this script and
the front as resnet20_eyeriss.csv. Killed, it goes on; its times then cover the last start only, and
the file says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PICKS = (("most-accurate", "most accurate"), ("frugal", "accuracy > 87 %, least energy"))
"""File name and wish of the networks that are built; the first must agree with torch."""


def timed(*words: str) -> tuple[dict[str, Any], dict[str, float]]:
    """Run one command of hwflow; return its JSON, and wall and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "hwflow", *words, "--json"], stdout=subprocess.PIPE, check=True
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout), {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1)}


def main() -> None:
    """Search, report, build; write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True, help="run folder")
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    resumed = (Path(given.out) / "study.db").exists()
    found, search = timed(
        "search", "cifar:resnet20", "--weights", given.weights, "--data", given.data,
        "--on", "eyeriss", "--quantize", "--level", "mid", "--seed", "0",
        "--evaluations", str(given.evaluations), "--workers", str(given.workers),
        "--out", given.out,
    )  # fmt: skip
    _, report = timed("report", given.out)
    picks = {}
    for name, wish in PICKS:
        target = str(Path(given.out) / f"{name}.onnx")
        built, spent = timed("build", given.out, "--pick", wish, "--to", target)
        picks[wish] = {key: built[key] for key in ("trial", "test", "export", "total", "original")}
        picks[wish]["time"] = spent
    figures = {
        "data": "CIFAR-10 (JPEG q75)",
        "search": found,
        "time": {"search": search, "report": report, "resumed": resumed},
        "picks": picks,
        "host": {"cpu": platform.machine(), "cores": os.cpu_count(), "system": platform.system()},
    }
    (HERE / "resnet20_eyeriss.json").write_text(json.dumps(figures, indent=2) + "\n")
    shutil.copy(Path(given.out) / "front.csv", HERE / "resnet20_eyeriss.csv")
    print(json.dumps({"time": figures["time"], "picks": picks}, indent=2))


if __name__ == "__main__":
    main()
