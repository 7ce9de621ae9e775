"""torchvision's networks with random weights, and their ONNX files."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn
from torchvision import models

from hwflow.extract.exported import unfused_attention

NATIVE = {
    "alexnet": 224, "vgg11": 224, "vgg16_bn": 224, "squeezenet1_0": 224, "squeezenet1_1": 224,
    "resnet18": 224, "resnet50": 224, "resnext50_32x4d": 224, "wide_resnet50_2": 224,
    "mobilenet_v2": 224, "mobilenet_v3_small": 224, "mobilenet_v3_large": 224,
    "efficientnet_b0": 224, "efficientnet_b4": 380, "efficientnet_v2_s": 384,
    "densenet121": 224, "densenet201": 224, "googlenet": 224, "inception_v3": 299,
    "shufflenet_v2_x0_5": 224, "shufflenet_v2_x1_0": 224, "regnet_x_400mf": 224,
    "regnet_y_400mf": 224, "convnext_tiny": 224, "mnasnet0_5": 224, "mnasnet1_0": 224,
    "fcn_resnet50": 520, "deeplabv3_resnet50": 520, "deeplabv3_mobilenet_v3_large": 520,
    "lraspp_mobilenet_v3_large": 520, "vit_b_16": 224, "vit_l_32": 224, "swin_t": 224,
    "swin_s": 224, "maxvit_t": 224,
}  # fmt: skip
"""Networks of every family by the size of image they were trained on."""

ONNX = {
    "resnet18": 64, "resnet50": 64, "mobilenet_v3_small": 64, "efficientnet_b0": 64,
    "densenet121": 64, "googlenet": 64, "inception_v3": 96, "shufflenet_v2_x1_0": 64,
    "regnet_y_400mf": 64, "convnext_tiny": 64, "mnasnet1_0": 64, "squeezenet1_1": 64,
    "vgg16_bn": 224, "deeplabv3_resnet50": 64, "lraspp_mobilenet_v3_large": 64, "vit_b_16": 224,
    "swin_t": 64,
}  # fmt: skip
"""Networks to write as ONNX files, by a size of image that keeps that quick."""


def network(name: str) -> nn.Module:
    """Return a torchvision network without its published weights, in eval mode."""
    more: dict[str, object] = {}
    if name in {"googlenet", "inception_v3"}:
        more["init_weights"] = False
    if name.startswith(("fcn", "deeplab", "lraspp")):
        more["weights_backbone"] = None
    return models.get_model(name, weights=None, **more).eval()


def small_vit() -> nn.Module:
    return models.VisionTransformer(32, 8, 2, 2, 16, 32).eval()


def small_swin() -> nn.Module:
    return models.SwinTransformer([2, 2], 8, [2, 2], [2, 2], [4, 4]).eval()


def write_onnx(module: nn.Module, x: torch.Tensor, path: Path, *, dynamo: bool, **more) -> Path:  # type: ignore[no-untyped-def]
    """Write a module with one of torch's two exporters."""
    with warnings.catch_warnings(), unfused_attention():
        warnings.simplefilter("ignore")  # what exporters say is not what is tested
        torch.onnx.export(
            module, (x,), str(path), dynamo=dynamo, verbose=False, external_data=False, **more
        )
    return path
