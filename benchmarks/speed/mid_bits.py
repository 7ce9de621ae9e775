"""Mid cost of many random bit assignments of one network: CPU seconds on one core, as JSON.

    python benchmarks/speed/mid_bits.py [--model torchvision:resnet50] [--on eyeriss] [--rows 10000]

The bar is 1 s for 10,000 assignments of ResNet-50. Extraction is not part of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from hwflow.cost import Bits
from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.extract import extract
from hwflow.machine import load_machine
from hwflow.models import load
from hwflow.workload import Workload


def random_bits(workload: Workload, rows: int, seed: int) -> Bits:
    """Return assignments of 1 to 8 bits to every weight and tensor."""
    rng = np.random.default_rng(seed)
    layers, tensors = len(workload), len(workload) + len(workload.inputs)
    return Bits(rng.integers(1, 9, (rows, layers)), rng.integers(1, 9, (rows, tensors)))


def measure(design: Design, bits: Bits, repeats: int) -> list[float]:
    """Return CPU seconds of each repetition, the first on a cold cache of the network's arrays."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        Mid().over_bits(design, bits)
        seconds.append(time.process_time() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="torchvision:resnet50")
    parser.add_argument("--on", default="eyeriss")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    workload = extract(load(given.model))
    bits = random_bits(workload, given.rows, given.seed)
    seconds = measure(Design(workload, load_machine(given.on)), bits, given.repeats)
    result = {
        **vars(given),
        "layers": len(workload),
        "cpu_s_first": seconds[0],
        "cpu_s_median": statistics.median(seconds),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
