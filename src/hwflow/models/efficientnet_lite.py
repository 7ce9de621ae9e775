"""EfficientNet-Lite0: EfficientNet-B0 (Tan and Le, 2019) as Google released it for edge devices.

No squeeze-and-excitation, ReLU6 for swish, stem and head of fixed width, TensorFlow's "same"
padding, batch-norm epsilon 1e-3 (TensorFlow's momentum 0.99 is 0.01 here). Parameter names are
those of the converted TensorFlow weights (_conv_stem, _bn0, _blocks.N..., _conv_head, _bn1, _fc).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

STAGES = (
    # blocks, kernel, stride, expansion, output channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Table 1 of the EfficientNet paper without its stem and head."""


def _conv(channels: int, planes: int, kernel: int, stride: int, groups: int) -> nn.Conv2d:
    """Return a convolution to be called by `same`. Plain, so that what follows folds into it."""
    padding = kernel // 2 if stride == 1 else 0  # "same" is symmetric at stride 1
    return nn.Conv2d(channels, planes, kernel, stride, padding, groups=groups, bias=False)


def same(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Map (N, C, H, W) to (N, planes, ceil(H / stride), ceil(W / stride)).

    Pads as TensorFlow's "same": the odd pixel goes after the image.
    """
    if conv.stride[0] > 1:
        height, width = (_missing(conv, size) for size in x.shape[-2:])
        x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
    made: Tensor = conv(x)
    return made


def _missing(conv: nn.Conv2d, size: int) -> int:
    """Return how many pixels `size` lacks: (ceil(size / stride) - 1) * stride + k - size."""
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    return max((-(-size // stride) - 1) * stride + kernel - size, 0)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedBottleneck(nn.Module):
    """Expand, filter each channel, project; a shortcut where the shape stays."""

    def __init__(
        self, channels: int, planes: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = channels * expansion
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv = _conv(channels, wide, 1, 1, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _conv(wide, wide, kernel, stride, wide)
        self._bn1 = _norm(wide)
        self._project_conv = _conv(wide, planes, 1, 1, 1)
        self._bn2 = _norm(planes)
        self.has_shortcut = stride == 1 and channels == planes

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, planes, ceil(H / stride), ceil(W / stride))."""
        wide = F.relu6(self._bn0(same(self._expand_conv, x))) if self.expands else x
        wide = F.relu6(self._bn1(same(self._depthwise_conv, wide)))
        out: Tensor = self._bn2(same(self._project_conv, wide))
        return out + x if self.has_shortcut else out


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0; 4,652,008 parameters with 1000 classes and 3 input channels."""

    def __init__(self, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        self._conv_stem = _conv(in_channels, 32, 3, 2, 1)
        self._bn0 = _norm(32)
        self._blocks = nn.Sequential(*_blocks(32))
        self._conv_head = _conv(320, 1280, 1, 1, 1)
        self._bn1 = _norm(1280)
        self._avg_pooling = nn.AdaptiveAvgPool2d(1)
        self._dropout = nn.Dropout(0.2)
        self._fc = nn.Linear(1280, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to logits (N, num_classes)."""
        out = F.relu6(self._bn0(same(self._conv_stem, x)))
        out = self._blocks(out)
        out = F.relu6(self._bn1(same(self._conv_head, out)))
        logits: Tensor = self._fc(self._dropout(self._avg_pooling(out).flatten(1)))
        return logits


def _blocks(channels: int) -> list[InvertedBottleneck]:
    made = []
    for count, kernel, stride, expansion, planes in STAGES:
        for index in range(count):
            step = stride if index == 0 else 1
            made.append(InvertedBottleneck(channels, planes, kernel, step, expansion))
            channels = planes
    return made
