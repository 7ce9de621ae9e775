"""Sensitivities of a CIFAR ResNet for 2 to 8 bits, their cost, and the error of adding them.

Example:
    python benchmarks/papers/hw_flowq/sensitivity.py resnet20 --weights resnet20.safetensors
        --data cifar10.npz --out sensitivity-resnet20.json

The table goes to --out, which a stopped run goes on from; the figures to OUT with "-pairs" before
the suffix. One thread; the time is CPU time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from scipy.stats import spearmanr

import hwflow as hf
from hwflow.quality.sensitivity import pair_error, sensitivities


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("net", choices=("resnet20", "resnet32", "resnet44", "resnet56"))
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bits", default="2,3,4,5,6,7,8")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)

    net = hf.load(f"cifar:{given.net}", weights=given.weights)
    data = hf.load_data(given.data, net)
    net = net.calibrated(data.calibration(256))
    space = hf.quantize(net, bits=tuple(map(int, given.bits.split(","))))

    def say(done: int, total: int) -> None:
        if done % 50 == 0 or done == total:
            print(f"{done} of {total}, {time.process_time():.0f} CPU-s", flush=True)

    found = sensitivities(space, data.val, images=given.images, file=given.out, progress=say)
    spent = found.spent
    print(f"loss {found.base_loss:.4f}, accuracy {found.base_accuracy:.4f} at the base plan")
    print(
        f"{spent.evaluations} evaluations in {spent.cpu_s / 60:.1f} CPU-minutes: the work of "
        f"{spent.whole_evaluations:.1f} whole ones by layers, "
        f"{spent.macs / spent.whole_macs:.1f} by multiplications"
    )
    for name, value, apart in found.ranking()[:10]:
        print(f"  {name:40} {value} {apart:.4f}")

    began = time.process_time()
    both = pair_error(found, space, data.val, pairs=given.pairs, seed=given.seed, progress=say)
    apart = both.divergence, both.summed_divergence
    figures = {
        "pairs": len(both.pairs),
        "seed": given.seed,
        "mean": both.mean,
        "median": both.median,
        "relative": both.relative,
        "spearman": float(spearmanr(both.measured, both.summed).statistic),
        "mean_divergence": error(*apart),
        "spearman_divergence": float(spearmanr(*apart).statistic),
        "mean_accuracy": error(both.accuracy, both.summed_accuracy),
        "cpu_s": time.process_time() - began,
    }
    print(json.dumps(figures, indent=2))
    path = given.out.with_name(f"{given.out.stem}-pairs.json")
    path.write_text(json.dumps({"figures": figures, **asdict(both)}))


def error(measured: Sequence[float], summed: Sequence[float]) -> float:
    """Return the mean error of adding."""
    return sum(abs(a - b) for a, b in zip(measured, summed, strict=True)) / len(measured)


if __name__ == "__main__":
    main()
