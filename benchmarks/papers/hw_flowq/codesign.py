"""Co-design of a CIFAR network: every mode, then the presets beside what was found.

python benchmarks/papers/hw_flowq/codesign.py --weights DIR --data DIR --out runs/codesign \
        --network resnet20 --modes nested joint sequential
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hwflow.reproduce import codesign
from hwflow.reproduce.stages import Settings

FIGURES = ("evaluations", "refused", "costed", "quality_cpu_s", "search_cpu_s")


def main() -> None:
    """Run what is asked for; what was done before is not done again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--modes", nargs="+", default=list(codesign.MODES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluations", type=int)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.evaluations:
        codesign.EVALUATIONS = {given.network: given.evaluations}
    settings = Settings(given.out, given.weights, given.data, given.quick, print)
    for mode in given.modes:
        found = codesign.codesign_result(settings, mode, given.seed, given.network, make=True)
        figures = {key: found[key] for key in FIGURES}
        print(mode, figures, f"hypervolume {found['hypervolumes'][-1]:.4f}", flush=True)
    held = codesign.presets_stage(settings, given.modes, given.seed, given.network)
    file = given.out / f"codesign-{given.network}-presets.json"
    file.write_text(json.dumps(held, indent=1) + "\n")
    for row in held["presets"]:
        print({key: value for key, value in row.items() if key not in ("front", "latency_ratios")})


if __name__ == "__main__":
    main()
