"""The ResNets for CIFAR.

He et al., "Deep Residual Learning for Image Recognition", 2016, section 4.2: depth 6n + 2, a 3x3
convolution and three stages of n basic blocks with 16, 32 and 64 channels. Where a stage halves the
image, the shortcut is option A: every other pixel, and zeros for the new channels, half on either
side; it has no parameters. Parameter names are those of the weights in common use (conv1, bn1,
layer{1,2,3}.{i}.{conv1,bn1,conv2,bn2}, linear).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

DEPTHS = (8, 20, 32, 44, 56, 110)
"""The depths that have a name."""


class Block(nn.Module):
    """Two 3x3 convolutions with batch-norm and a shortcut around them."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.stride = stride
        self.new_channels = planes - channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, planes, H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """Return the input, halved and padded with zero channels where the block changes shape."""
        if self.stride == 1 and self.new_channels == 0:
            return x
        before = self.new_channels // 2
        after = self.new_channels - before
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, after))


class CifarResNet(nn.Module):
    """A ResNet of depth 6 * `blocks` + 2 for small images."""

    def __init__(self, blocks: int, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)  # He et al. 2015, as in the paper

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to logits (N, num_classes)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        logits: Tensor = self.linear(self.avgpool(out).flatten(1))
        return logits


def _stage(channels: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(channels, planes, stride)
    return nn.Sequential(first, *(Block(planes, planes, 1) for _ in range(blocks - 1)))


def cifar_resnet(depth: int, num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """Return the ResNet of this `depth`, one of DEPTHS."""
    return CifarResNet((depth - 2) // 6, num_classes, in_channels)
