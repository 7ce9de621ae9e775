"""What mending a pruned network is worth before any training: rankings x mends x shares kept.

    python benchmarks/papers/mending.py --network resnet56 --weights WEIGHTS --data DATA

Every group keeps the same share of its channels. Accuracy of 2,000 validation images (the test
split is not read), CPU seconds of making the network, one thread, 256 calibration images. Writes
mending_NETWORK.json beside this script.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any, get_args

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from hwflow.data import load_data
from hwflow.edits.prune import prune
from hwflow.edits.prune_edit import Mend
from hwflow.edits.ranking import Ranking
from hwflow.models import load
from hwflow.quality.accuracy import evaluate

SHARES = (0.5, 0.75)
CALIBRATION, IMAGES = 256, 2000


def rows(network: str, weights: str, folder: str) -> list[dict[str, Any]]:
    """Measure every combination."""
    net = load(f"cifar:{network}", weights=weights)
    data = load_data(folder, net)
    net = net.calibrated(data.calibration(CALIBRATION))
    found: list[dict[str, Any]] = [
        {"ranking": "", "mend": "", "share": 1.0, "accuracy": evaluate(net, data.val, limit=IMAGES)}
    ]
    for ranking in get_args(Ranking):
        for mend in get_args(Mend):
            space = prune(net, SHARES, ranking=ranking, mend=mend)
            for share in SHARES:
                values = {c.name: share for c in space.choices if share in c.options}
                start = time.process_time()
                small = space.apply(space.plan(values))
                spent = time.process_time() - start
                row = {"ranking": ranking, "mend": mend, "share": share, "seconds": round(spent, 2)}
                found.append({**row, "accuracy": evaluate(small, data.val, limit=IMAGES)})
                print(found[-1], flush=True)
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", default="resnet56")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = rows(given.network, given.weights, given.data)
    out = Path(__file__).parent / f"mending_{given.network}.json"
    settings = {"network": given.network, "calibration": CALIBRATION, "images": IMAGES}
    out.write_text(json.dumps({**settings, "rows": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
