"""CPU time of whole `hwflow cost` commands, from the shell's point of view.

    python benchmarks/speed/start_up.py

Targets, with a warm page cache: torchvision:resnet50 at the coarse level 8 CPU-s (torch,
torchvision and the export alone take most of it); a layer list or an ONNX file 2 CPU-s, as they do
not import torch. Prints JSON: the median and all repetitions after one warm-up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def cpu_seconds(*words: str) -> float:
    """Run `hwflow WORDS` on one thread and return its user and system time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "hwflow", *words],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_resnet50(path: Path) -> None:
    """Export ResNet-50 as an ONNX file, in a process of its own."""
    script = (
        "import sys; from hwflow.models import load; from hwflow.export import to_onnx\n"
        "to_onnx(load('torchvision:resnet50'), sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)


def main() -> None:
    """Measure the three commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "resnet50.onnx"
        write_resnet50(file)
        commands = {
            "torchvision:resnet50, coarse": ("torchvision:resnet50", "coarse", 8.0),
            "layer list, mid": (str(ROOT / "examples" / "layers.yaml"), "mid", 2.0),
            "ONNX file of ResNet-50, mid": (str(file), "mid", 2.0),
        }
        for name, (model, level, target) in commands.items():
            words = ("cost", model, "--on", "eyeriss", "--level", level, "--json")
            cpu_seconds(*words)
            times = [round(cpu_seconds(*words), 2) for _ in range(repeat)]
            found[name] = {
                "median_cpu_s": statistics.median(times), "all": times, "target_cpu_s": target
            }  # fmt: skip
    host = {"cores": os.cpu_count(), "cpu": platform.machine(), "python": platform.python_version()}
    print(json.dumps({"host": host, "commands": found}, indent=2))


if __name__ == "__main__":
    main()
