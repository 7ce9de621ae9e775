"""Small networks, and what torch itself counts of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hwflow.extract.exported import Extraction, extract_network, unfused_attention
from hwflow.network import Network
from hwflow.workload import Layer, Workload


def extraction(module: nn.Module, shape: Sequence[int] = (1, 3, 16, 16)) -> Extraction:
    """Return what extraction reads of `module` on an input of `shape`."""
    return extract_network(Network("net", module, torch.zeros(*shape)))


def workload(module: nn.Module, shape: Sequence[int] = (1, 3, 16, 16)) -> Workload:
    return extraction(module, shape).workload


def single(module: nn.Module, shape: Sequence[int] = (1, 3, 16, 16)) -> Layer:
    """Return the only layer of a network."""
    layers = workload(module, shape).layers
    assert len(layers) == 1, [layer.name for layer in layers]
    return layers[0]


def counted_macs(module: nn.Module, x: Tensor) -> float:
    """Return torch's own count of multiply-accumulates: half its floating-point operations.

    It knows attention only as the two products of the plain kernel.
    """
    module.eval()
    with (
        torch.no_grad(), unfused_attention(), sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):  # fmt: skip
        module(x)
    return counter.get_total_flops() / 2


def counted_params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


class Residual(nn.Module):
    """Two convolutions around a shortcut, as in a ResNet."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(x))
        y += x
        return self.fc(self.pool(self.relu(y)).flatten(1))


class Apply(nn.Module):
    """A network that is one function of its input, with modules and parameters it may use."""

    def __init__(self, function, **parts: nn.Module | nn.Parameter) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)
