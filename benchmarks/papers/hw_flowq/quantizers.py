"""Quantisers side by side: accuracy after calibration, and after a very short training.

    python benchmarks/papers/hw_flowq/quantizers.py --weights WEIGHTS --data DATA

ResNet-20 on CIFAR-10, every weight and tensor at the same bits but for the first and the last layer
(8). Accuracy of 2,000 validation images (the test split is not read), 256 calibration images,
training: 100 steps of 128 images, peak rate 0.03, gradients clipped at 0.3 (the defaults of
`hwflow build`), the float network as teacher, seed 0, one thread.
Writes quantizers.json beside this script, row by row: started again, it goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from hwflow.data import load_data
from hwflow.data.loading import Data
from hwflow.edits.quantize import quantize
from hwflow.models import load
from hwflow.network import Network
from hwflow.quality.accuracy import evaluate
from hwflow.train import QUANTIZED_CLIP, QUANTIZED_RATE, finetune

CALIBRATION, IMAGES, STEPS, BATCH = 256, 2000, 100, 128
FILE = Path(__file__).with_suffix(".json")
Setting = dict[str, Any]


def settings() -> Iterator[Setting]:
    """Yield what is measured."""
    for calibration in ("mse", "kl"):
        for bits in (8, 4, 3, 2):
            yield {"quantizer": "calibrated", "calibration": calibration, "bits": bits}
    for bits in (2, 4):
        for quantizer in ("lsq", "calibrated", "pact", "dorefa"):
            yield {"quantizer": quantizer, "bits": bits, "steps": STEPS}
    for quantizer, mend in (("calibrated", "statistics"), ("dorefa", "none")):
        for bits in (4, 3, 2):
            yield {"quantizer": quantizer, "mend": mend, "bits": bits}


def measure(net: Network, data: Data, setting: Setting) -> Setting:
    """Return the setting with its accuracy, and the CPU seconds of making the network."""
    given = {name: setting[name] for name in setting if name not in ("bits", "steps")}
    start = time.process_time()
    space = quantize(net, (setting["bits"],), **given)
    made = space.apply(space.default)
    if "steps" in setting:
        made = finetune(
            made, data.train, net, lr=QUANTIZED_RATE, clip_norm=QUANTIZED_CLIP,
            steps=setting["steps"], batch_size=BATCH, augment="crop+flip", seed=0,
        )  # fmt: skip
    spent = round(time.process_time() - start, 1)
    return {**setting, "accuracy": evaluate(made, data.val, limit=IMAGES), "seconds": spent}


def main() -> None:
    """Measure what is missing, and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    net = load("cifar:resnet20", weights=given.weights)
    data = load_data(given.data, net)
    net = net.calibrated(data.calibration(CALIBRATION))
    found = json.loads(FILE.read_text()) if FILE.exists() else {"rows": []}
    if "original" not in found:
        found["original"] = evaluate(net, data.val, limit=IMAGES)
        found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    done = [{k: v for k, v in r.items() if k not in ("accuracy", "seconds")} for r in found["rows"]]
    for setting in settings():
        if setting not in done:
            found["rows"].append(measure(net, data, setting))
            FILE.write_text(json.dumps(found, indent=1) + "\n")
            print(found["rows"][-1], flush=True)


if __name__ == "__main__":
    main()
