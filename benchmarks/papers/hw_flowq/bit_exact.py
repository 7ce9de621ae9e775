"""Is the integer program bit for bit the simulation, and what does ONNX Runtime make of the file?

    python benchmarks/papers/hw_flowq/bit_exact.py --weights WEIGHTS --data DATA --images IMAGES

WEIGHTS is the folder of the weight files, DATA CIFAR-10 as benchmarks/unpack_cifar10_jpeg.py
unpacks it, IMAGES the folder imagenet-samples. Random plans (seed 0) of ResNet-20 and of
EfficientNet-Lite0, bits 1 to 8, 12 and 16 per weight and tensor, first and last layer 8. Writes
bit_exact.json beside this script after every plan; started again, it goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from PIL import Image

import hwflow as hf
from hwflow.edits.fuse import Fuse
from hwflow.integer import agreement, integer_network
from hwflow.network import Network

OUT = Path(__file__).with_suffix(".json")
BITS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16)
WIDTHS = (48, 31, 24, 16)
"""Bits of multipliers whose codes are compared."""
CHUNK = 500


def main() -> None:
    """Run what is missing; write the figures after each step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("weights", "data", "images"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--plans", type=int, default=20)
    parser.add_argument("--lite-plans", type=int, default=20)
    parser.add_argument("--part", choices=("all", "resnet20", "eight", "lite"), default="all")
    given = parser.parse_args()
    done = json.loads(OUT.read_text()) if OUT.exists() else {}
    cifar = hf.load("cifar:resnet20", weights=given.weights / "cifar10jpeg_resnet20.safetensors")
    data = hf.load_data(given.data, cifar)
    if {"all", "resnet20", "eight"} & {given.part}:
        cifar = cifar.calibrated(data.calibration())
    if given.part in {"all", "resnet20"}:
        plans(done, "resnet20", cifar, data.test.head(4), given.plans)
    if given.part in {"all", "eight"}:
        eight_bits(done, cifar, data)
    if given.part not in {"all", "lite"}:
        return
    lite = hf.load(
        "efficientnet_lite0", weights=given.weights / "imagenet_efficientnet_lite0.safetensors"
    )
    images = samples(lite, given.images)
    plans(done, "efficientnet_lite0", lite.calibrated(images[2:6]), images[:2], given.lite_plans)


def plans(done: dict[str, Any], name: str, net: Network, images: torch.Tensor, many: int) -> None:
    """Compare the codes of random plans."""
    rows = done.setdefault(name, [])
    if len(rows) >= many:
        return
    space = hf.quantize(Fuse().in_network(net), bits=BITS)
    for seed in range(len(rows), many):
        start = time.process_time()
        made = space.apply(space.sample(random.Random(seed)))
        program = integer_network(made)
        found = agreement(made, program, images)
        rows.append({
            "seed": seed, "images": found.images, "codes": found.codes, "exact": found.exact,
            "float32": found.float32, "float32_alone": found.float32_alone,
            "output_difference": found.output_difference, "predictions": found.predictions,
            "widest_accumulator": max(program.accumulators.values()),
        })  # fmt: skip
        if name == "resnet20":
            rows[-1]["multipliers"] = narrow(made, images)
        rows[-1]["cpu_s"] = round(time.process_time() - start, 1)
        save(done)
        print(name, rows[-1], flush=True)


def narrow(made: Network, images: torch.Tensor) -> dict[str, int]:
    """Return how many codes differ from those of the widest multipliers, by bits."""
    every = [integer_network(made, multiplier_bits=bits).codes(images.numpy()) for bits in WIDTHS]
    return {
        str(bits): sum(int((codes[k] != every[0][k]).sum()) for k in codes)
        for bits, codes in zip(WIDTHS[1:], every[1:], strict=True)
    }


def eight_bits(done: dict[str, Any], net: Network, data: Any) -> None:
    """Compare the 8-bit file on ONNX Runtime with the simulation on the whole test split.

    The integer program, the slowest, runs on the first CHUNK images.
    """
    found = done.setdefault("eight_bits", {"images": 0, "simulation": 0, "onnxruntime": 0,
                                           "other_class": 0, "integer_images": 0,
                                           "integer_other_class": 0, "cpu_s": 0.0})  # fmt: skip
    inputs, targets = data.test.inputs, data.test.targets.numpy()
    if found["images"] == len(targets):
        return
    space = hf.quantize(net, bits=(8,))
    made = space.apply(space.default)
    path = OUT.with_name("resnet20-8bit.onnx")
    report = hf.to_onnx(made, path, inputs=inputs[:200])
    found |= {
        "settings": dict(report.settings or {}), "version": onnxruntime.__version__,
        "integer_layers": report.integer_layers,
    }  # fmt: skip
    session = opened(path, found["settings"])
    path.unlink()
    feed = session.get_inputs()[0].name
    for first in range(found["images"], len(targets), CHUNK):
        start = time.process_time()
        chunk, wanted = inputs[first : first + CHUNK], targets[first : first + CHUNK]
        with torch.no_grad():
            ours = made.module(chunk).numpy().argmax(1)
        theirs = session.run(None, {feed: chunk.numpy()})[0].argmax(1)
        found["simulation"] += int((ours == wanted).sum())
        found["onnxruntime"] += int((theirs == wanted).sum())
        found["other_class"] += int((ours != theirs).sum())
        if first == 0:
            integers = integer_network(made).run(chunk.numpy())[0].argmax(1)
            found["integer_images"] = len(chunk)
            found["integer_other_class"] = int((integers != ours).sum())
        found["images"] += len(chunk)
        found["cpu_s"] = round(found["cpu_s"] + time.process_time() - start, 1)
        save(done)
        print(found, flush=True)


def opened(path: Path, settings: dict[str, str]) -> onnxruntime.InferenceSession:
    """Return a session on one thread with the settings that the export found good."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for key, value in settings.items():
        options.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def samples(net: Network, folder: Path) -> torch.Tensor:
    """Return the first 6 sample images as the network takes them."""
    paths = sorted(p for p in (folder / "images").rglob("*") if p.suffix.lower() != ".md")[:6]
    return torch.stack([prepared(net, Image.open(path).convert("RGB")) for path in paths])


def prepared(net: Network, image: Image.Image) -> torch.Tensor:
    """Return one image resized, centre-cropped and scaled as the network's preprocessing says."""
    how = net.preprocess
    size = (how.size or (224, 224))[0]
    scale = size / how.crop / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC)
    left, top = ((side - size) // 2 for side in image.size)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.float32)
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (how.mean, how.std))
    return (torch.from_numpy(pixels).permute(2, 0, 1) / how.scale - mean) / std


def save(done: dict[str, Any]) -> None:
    """Write the figures."""
    OUT.write_text(json.dumps(done, indent=1) + "\n")


if __name__ == "__main__":
    main()
