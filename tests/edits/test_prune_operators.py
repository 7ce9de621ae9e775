"""Channels through operators that count, cut, move or scale them."""

import random

import pytest
import torch
from masked_twins import differs, lively, masked_twin, random_kept, relative_error
from torch import Tensor, nn
from torch.nn import functional as F

from hwflow.coupling import couple
from hwflow.design import Design
from hwflow.edits.fuse import read
from hwflow.edits.prune import Prune, prune
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.machine import load_machine
from hwflow.network import Network
from hwflow.testing import difference

C, SIZE = 8, 6


class Call(nn.Module):
    """A function of maps, perhaps with parameters of its own."""

    def __init__(self, function, **parameters: Tensor) -> None:
        super().__init__()
        self.function = function
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.parameters())


class Joined(nn.Module):
    """Two convolutions whose outputs a function brings together."""

    def __init__(self, join, wide: int = C) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(C, wide, 1), nn.Conv2d(C, wide, 1)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.left(x), self.right(x))


class Tokens(nn.Module):
    """A perceptron over the channels at each place, as transformers have them."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(C, 2 * C), nn.Linear(2 * C, C)

    def forward(self, x: Tensor) -> Tensor:
        y = x.flatten(2).transpose(1, 2)
        y = self.down(F.gelu(self.up(y)))
        return y.transpose(1, 2).reshape(x.shape)


class Products(nn.Module):
    """Products with constants, one of which is no parameter of a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = (nn.Parameter(torch.randn(C, C) / 3) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(x.permute(0, 2, 3, 1) @ self.up)
        return torch.matmul(y, self.down).permute(0, 3, 1, 2)


def halves(x: Tensor) -> Tensor:
    left, right = x.chunk(2, 1)
    return torch.cat([right, left], 1)


def pieces(x: Tensor) -> Tensor:
    a, b, c = torch.split(x, [2, 3, 3], dim=1)
    return torch.cat([a, b * 2, c], 1)


def tail(x: Tensor) -> Tensor:
    return torch.cat([x[:, -3:], x.narrow(1, 0, 5)], 1)


def shuffled(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def blown_up(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.interpolate(x, scale_factor=2, mode="bilinear"), 2)


OPERATORS = {
    "chunk": lambda: Call(halves),
    "split": lambda: Call(pieces),
    "slice": lambda: Call(tail),
    "shuffle": lambda: Call(shuffled),
    "pad": lambda: Call(lambda x: F.pad(x, (0, 0, 0, 0, 1, 3))),
    "prelu": lambda: nn.PReLU(C),
    "one prelu": lambda: nn.PReLU(),
    "scale": lambda: Call(lambda x, s: x * s, s=torch.rand(C, 1, 1)),
    "scale and shift": lambda: Call(
        lambda x, a, b: a * x + b, a=torch.rand(1, C, 1, 1), b=torch.randn(1, C, 1, 1)
    ),
    "one scale": lambda: Call(lambda x, s: x * s, s=torch.rand(1)),
    "group norm": lambda: nn.GroupNorm(4, C),
    "instance norm": lambda: nn.InstanceNorm2d(C, affine=True),
    "norm": lambda: nn.BatchNorm2d(C),
    "interpolate": lambda: Call(blown_up),
    "maximum": lambda: Joined(torch.maximum),
    "difference": lambda: Joined(torch.sub),
    "stacked": lambda: Joined(lambda a, b: torch.stack([a, b]).sum(0)),
    "gate": lambda: Joined(lambda a, b: a * torch.sigmoid(b)),
    "side by side": lambda: nn.Sequential(Joined(lambda a, b: torch.cat([a, b], 1), 4)),
    "tokens": Tokens,
    "products": Products,
    "narrow groups": lambda: nn.Conv2d(C, C, 3, padding=1, groups=4),
    "wide groups": lambda: nn.Conv2d(C, C, 3, padding=1, groups=2),
    "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(C, C, 2, 2, groups=2), nn.MaxPool2d(2)),
    "transposed in depth": lambda: nn.Sequential(
        nn.ConvTranspose2d(C, C, 2, 2, groups=C), nn.MaxPool2d(2)
    ),
}  # fmt: skip

STAYING = {
    "layer norm": lambda: Call(lambda x: F.layer_norm(x, x.shape[1:])),
    "one group": lambda: nn.GroupNorm(1, C),
    "softmax": lambda: nn.Softmax2d(),
    "turned": lambda: Call(lambda x: x.flip(1)),
    "mean": lambda: Call(lambda x: x - x.mean(1, keepdim=True)),
    "places": lambda: Call(lambda x: x[:, torch.tensor([1, 0, 2, 3, 4, 5, 6, 7])]),
    "products": lambda: Joined(torch.matmul),
}
"""Operators through which a channel changes others: what they read stays."""


HIDDEN = {
    "channel shuffle": lambda: nn.ChannelShuffle(4),
    "pixel shuffle": lambda: nn.Sequential(
        nn.Conv2d(C, 4 * C, 1), nn.PixelShuffle(2), nn.MaxPool2d(2)
    ),
    "pixel unshuffle": lambda: nn.Sequential(
        nn.PixelUnshuffle(2), nn.Conv2d(4 * C, C, 1), nn.Upsample(scale_factor=2)
    ),
}
"""Operators of torch that are several layers in one: what they shuffle cannot be cut."""


def net_of(*operators: nn.Module) -> Network:
    """Return a convolution, the operators with one after each, and a head."""
    torch.manual_seed(0)
    parts: list[nn.Module] = [nn.Conv2d(3, C, 1)]
    for operator in operators:
        with torch.no_grad():
            channels = operator(torch.zeros(2, C, SIZE, SIZE)).shape[1]
        parts += [operator, nn.Conv2d(channels, C, 1), nn.BatchNorm2d(C)]
    module = nn.Sequential(*parts, nn.ReLU(), nn.Conv2d(C, 2, 1)).eval()
    return lively(Network("odd", module, torch.randn(1, 3, SIZE, SIZE)))


def assert_pruned_right(net: Network, seeds=(0, 1), exclude=frozenset()) -> None:
    workload = read(net).workload
    for seed in seeds:
        edit = Prune(
            random_kept(couple(workload, exclude), random.Random(seed), fewest=0.5), exclude
        )
        pruned = edit.in_network(net)
        paper = edit.on_paper(Design(workload, load_machine("eyeriss"))).workload
        assert extract(pruned) == paper, difference(extract(pruned), paper)
        images = torch.randn(3, 3, SIZE, SIZE)
        with torch.no_grad():
            expected = masked_twin(net, edit.kept, exclude)(images)
            assert differs(expected) > 1e-3  # else an error would not be seen
            assert relative_error(pruned.module(images), expected) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_channels_go_through(name):
    net = net_of(OPERATORS[name]())
    assert "0" in couple(read(net).workload).names
    assert_pruned_right(net)


def test_channels_go_through_all_of_them_in_a_row():
    net = net_of(*(OPERATORS[name]() for name in sorted(OPERATORS)))
    assert_pruned_right(net, seeds=(0,))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(STAYING))
def test_channels_that_change_one_another_stay(name):
    net = net_of(STAYING[name]())
    coupling = couple(read(net).workload)
    assert "0" in coupling.why or "1.left" in coupling.why
    assert_pruned_right(net, seeds=(0,))


def test_channels_stay_before_all_of_them_in_a_row():
    net = net_of(*(STAYING[name]() for name in sorted(STAYING)))
    assert_pruned_right(net, seeds=(0,))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(HIDDEN))
def test_channels_of_operators_that_hide_them_stay_by_name(name):
    net = net_of(HIDDEN[name]())
    operator = name.replace(" ", "_")
    with pytest.raises(HwflowError, match=f"{operator} mixes channels in a way that is not follow"):
        Prune().in_network(net)
    part = prune(net).parts[0]
    assert part.exclude
    assert_pruned_right(net, seeds=(0,), exclude=part.exclude)
