"""Operations replaced in torchvision's networks: sites, one random plan, both faces, ONNX Runtime.

    python benchmarks/papers/hant/any_graph.py [--out any_graph.json] [--size 64] [NAME ...]

For each network (random weights): how many sites there are and what they hold; how many options are
valid at them; one random plan (`--seed`) on paper and in the network, the workloads compared; the
network exported, and what ONNX Runtime makes of images compared with torch. So that random networks
make something of images, statistics of normalisations are taken from the images first; the spread
of the outputs over images is given beside the difference. Images are small by default, so that it
runs in minutes. Networks that the JSON file has already are not run again.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import torch

import hwflow as hf
from hwflow.design import Design
from hwflow.edits.operations import fitting
from hwflow.edits.replace import replace
from hwflow.errors import HwflowError
from hwflow.export.onnx_file import to_onnx
from hwflow.extract import extract
from hwflow.machine import load_machine
from hwflow.testing.edits import difference
from hwflow.train.batchnorm import restated

IMAGES = 8

HERE = Path(__file__).parent

NAMES = (
    "resnet18", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x1_0", "mobilenet_v2",
    "mnasnet1_0", "regnet_y_400mf", "googlenet", "efficientnet_b0", "resnet50", "densenet121",
    "convnext_tiny", "vgg11_bn", "resnext50_32x4d",
)  # fmt: skip


def measured(name: str, size: int, seed: int, device: str) -> dict[str, object]:
    network = hf.load(f"torchvision:{name}", input_shape=(3, size, size))
    network = network.calibrated(torch.randn(IMAGES, 3, size, size, generator=_random(seed)))
    started = time.perf_counter()
    space = replace(network)
    found = time.perf_counter() - started
    part = space.parts[0]
    workload = space.workload
    inside = sum(workload[n].is_mac for s in part.options for n in s.layers)
    valid = {site.name: len(fitting(site)) for site in part.options}
    plan = space.sample(random.Random(seed))
    design = Design(workload, load_machine(device))
    space.on_paper(plan, design)
    started = time.perf_counter()
    paper = space.on_paper(plan, design).workload
    costed = time.perf_counter() - started
    edited = restated(space.apply(plan), network.calibration)
    apart = difference(extract(edited), paper)
    with torch.no_grad():
        outputs = edited.module(network.calibration)
    with tempfile.TemporaryDirectory() as folder:
        report = to_onnx(edited, Path(folder) / f"{name}.onnx")
    return {
        "network": name, "image": size, "seed": seed, "layers": len(workload),
        "sites": len(part.options), "blocks": sum(len(s.layers) > 1 for s in part.options),
        "multiplying_layers": len(workload.mac_layers), "inside_sites": inside,
        "options_least": min(valid.values()), "options_most": max(valid.values()),
        "plan": {k: v for k, v in space.values(plan).items() if v != "keep"},
        "square": apart == "", "difference": apart, "unknown": len(paper.unknown),
        "output_spread": float(outputs.std(0).mean()), "onnx_inputs": report.inputs,
        "onnx_max_difference": report.max_difference, "onnx_agreement": report.agreement,
        "find_seconds": round(found, 2), "paper_ms": round(1e3 * costed, 2),
    }  # fmt: skip


def _random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--out", type=Path, default=HERE / "any_graph.json")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--on", default="eyeriss")
    given = parser.parse_args()
    rows: list[dict[str, object]] = []
    if given.out.is_file():
        rows = [row for row in json.loads(given.out.read_text()) if "error" not in row]
    for name in given.names:
        if any(row["network"] == name and row["seed"] == given.seed for row in rows):
            continue
        try:
            row = measured(name, given.size, given.seed, given.on)
        except (HwflowError, RuntimeError) as error:
            kind = type(error).__name__
            row = {"network": name, "seed": given.seed, "error": f"{kind}: {str(error)[:600]}"}
        rows.append(row)
        print({key: value for key, value in row.items() if key != "plan"}, flush=True)
        given.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
