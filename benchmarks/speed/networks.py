"""Networks as plain layers, extracted in a process of their own and kept as JSON.

    python networks.py torchvision:resnet50 resnet50.json [SIZE]

Torch and the export take seconds and hundreds of megabytes, which belong to neither the search's
time nor its memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hwflow.workload import Input, Layer, Workload

NETWORKS = {
    "ResNet-50": ("torchvision:resnet50", None),
    "DeepLabv3-ResNet50, 513 x 513": ("torchvision:deeplabv3_resnet50", 513),
    "MobileNetV2": ("torchvision:mobilenet_v2", None),
    "EfficientNet-B0": ("torchvision:efficientnet_b0", None),
    "ResNet-56": ("cifar:resnet56", None),
}
BIG = tuple(NETWORKS)[:4]


def network(name: str, folder: Path) -> Workload:
    """Return a network by its name here, from a file of the folder when it is there."""
    spec, size = NETWORKS[name]
    path = folder / f"{spec.replace(':', '-')}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        words = [spec, str(path), *([str(size)] if size else [])]
        subprocess.run([sys.executable, __file__, *words], check=True)
    return from_plain(json.loads(path.read_text()))


def from_plain(plain: dict[str, Any]) -> Workload:
    """Read what `dataclasses.asdict` made of a workload."""
    layers = tuple(Layer(**_tuples(layer)) for layer in plain["layers"])
    inputs = tuple(Input(**_tuples(entry)) for entry in plain["inputs"])
    return Workload(
        plain["name"], layers, inputs, tuple(plain["outputs"]), plain["loose_params"]
    )  # fmt: skip


def _tuples(plain: dict[str, Any]) -> dict[str, Any]:
    return {key: _tuple(value) for key, value in plain.items()}


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


def main() -> None:
    """Extract one network."""
    from hwflow.extract import extract
    from hwflow.models import load

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("file", type=Path)
    parser.add_argument("size", type=int, nargs="?", help="rows and columns of the image")
    asked = parser.parse_args()
    shape = (3, asked.size, asked.size) if asked.size else None
    workload = extract(load(asked.model, input_shape=shape))
    asked.file.write_text(json.dumps(dataclasses.asdict(workload)))


if __name__ == "__main__":
    main()
