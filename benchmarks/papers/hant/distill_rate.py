"""CPU seconds that 40 options per site of ResNet-56 take to distill, from a few steps of each.

    python distill_rate.py [--json FILE]

No data: random activations of the right shapes, five steps of batch 32 on one thread, scaled to the
250 steps of two passes over 4,000 images, and 5 % for statistics and errors. One site of each stage
stands for the others of its size.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean

import torch

import hwflow as hf
from hwflow.distill.tasks import made_option
from hwflow.edits.operations import find, teacher_of
from hwflow.edits.operations.compressed import INPUTS
from hwflow.edits.sites import Site, sites
from hwflow.extract import extract
from hwflow.quality.fitting import Fitting, _Pupil

STEPS, WHOLE, REST = 5, 250, 1.05
NAMES = [
    *(f"conv_bn_act_k{k}_g{g}" for k in (1, 3, 5) for g in (1, 2, 4, 8)),
    *(f"depthwise_separable_k{k}_{act}" for k in (3, 5, 7) for act in ("relu", "silu")),
    *(f"bottleneck_k{k}_r{r}_g1" for k in (1, 3, 5) for r in (2, 4)),
    *(f"basic_residual_k3_w{w}" for w in (0.25, 0.5)),
    *(f"inverted_residual_k{k}_e{e}_se0_relu" for k in (1, 3, 5) for e in (1, 3)),
    *(f"pruned_{keep}_l1" for keep in (0.25, 0.375, 0.5, 0.625, 0.75, 0.875)),
    "low_rank_svd_0.25", "low_rank_svd_0.5",
]  # fmt: skip
STAND_FOR = {"layer1.4": 10, "layer2.4": 9, "layer3.4": 9}
"""Measured site -> sites of its stage; the stem counts as one of the first."""


class Images:
    """What a training reads of its task."""

    images = 4000


def seconds(net: hf.Network, site: Site) -> dict[str, float]:
    teacher = teacher_of(net, site)
    shapes = [(32, *site.in_shape), (32, *site.out_shape)]
    x, y = (torch.randn(s).relu().contiguous(memory_format=torch.channels_last) for s in shapes)
    teacher.meta[INPUTS] = x
    found = {}
    for option in find(NAMES)[1:]:
        pupil = _Pupil(made_option(option, site, teacher, 0), Fitting(), Images, 1.0, False)
        pupil.learn(x, y, 0)
        before = pupil.seconds
        for step in range(STEPS):
            pupil.learn(x, y, step + 1)
        found[option.name] = (pupil.seconds - before) / STEPS * WHOLE * REST
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    net = hf.load("cifar:resnet56")
    found = {s.name: seconds(net, s) for s in sites(extract(net)) if s.name in STAND_FOR}
    per_option = {name: round(mean(rows.values()), 2) for name, rows in found.items()}
    total = sum(STAND_FOR[name] * sum(rows.values()) for name, rows in found.items())
    report = {
        "options": len(NAMES),
        "seconds_per_option": per_option,
        "all_sites_cpu_s": round(total),
        "minutes_on_2_cores": round(total / 2 / 60, 1),
    }
    print(json.dumps(report, indent=1))
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
