"""A tiny network with two residual blocks, its sites, a few options, some images."""

import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from hwflow.distill import Distillate, Fitting, Progress, distill
from hwflow.edits.operations.plain import ConvNormAct, Keep, Skip
from hwflow.edits.sites import Site, sites
from hwflow.extract import extract
from hwflow.network import Network


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(x + self.bn2(self.conv2(inner)))


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.one = Block(8)
        self.two = Block(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.two(self.one(torch.relu(self.stem(x)))).mean((2, 3)))


def network() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network("tiny", Tiny().eval(), torch.randn(1, 3, 8, 8))


def images(count: int = 96) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return batches with their labels."""
    made = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, 3, 8, 8, generator=made)
    labels = torch.randint(4, (count,), generator=made)
    return list(zip(inputs.split(16), labels.split(16), strict=True))


OPTIONS = (Keep(), Skip(), ConvNormAct(3, 1), ConvNormAct(1, 1), ConvNormAct(3, 8))


def blocks(net: Network) -> tuple[Site, ...]:
    return tuple(site for site in sites(extract(net)) if site.name in ("one", "two"))


HOW = Fitting(epochs=2, batch=16)


def distilled(out: Path, net: Network | None = None, **options) -> Distillate:
    net = net or network()
    settings = {"images": 64, "held": 32, "how": HOW, "together": 2, "workers": 1} | options
    return distill(net, blocks(net), settings.pop("options", OPTIONS), images(), out, **settings)


def main(out: str, after: str, workers: str) -> None:
    """Die by SIGKILL when so many options are finished."""

    def tell(progress: Progress) -> None:
        if progress.stage == "options" and progress.done == int(after):
            os.kill(os.getpid(), signal.SIGKILL)

    distilled(Path(out), workers=int(workers), on_progress=tell)


if __name__ == "__main__":
    main(*sys.argv[1:])
