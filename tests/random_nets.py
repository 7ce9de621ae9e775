"""Small random networks for property tests, drawn by hypothesis as a list of blocks."""

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from hwflow.network import Network

CHANNELS = 8


class Plain(nn.Module):
    """Convolution, perhaps a normalisation, perhaps an activation."""

    def __init__(self, kernel=3, groups=1, bias=False, norm=True, act="relu"):
        super().__init__()
        self.conv = nn.Conv2d(
            CHANNELS, CHANNELS, kernel, padding=kernel // 2, groups=groups, bias=bias
        )
        self.norm = nn.BatchNorm2d(CHANNELS) if norm else nn.Identity()
        self.act = {"relu": nn.ReLU(inplace=True), "silu": nn.SiLU(), "none": nn.Identity()}[act]

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class Residual(nn.Module):
    def __init__(self, after_add=True):
        super().__init__()
        self.first, self.second = Plain(), Plain(act="none")
        self.after_add = after_add

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        y += x
        return F.relu(y) if self.after_add else y


class Concat(nn.Module):
    """Two branches side by side, then back to the common width."""

    def __init__(self):
        super().__init__()
        self.left, self.right = Plain(kernel=1), Plain(norm=False, bias=True)
        self.join = nn.Conv2d(2 * CHANNELS, CHANNELS, 1, bias=False)
        self.norm = nn.BatchNorm2d(CHANNELS, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.join(torch.cat([self.left(x), self.right(x)], 1)))


class Excite(nn.Module):
    """Squeeze and excitation: a product of a tensor with a vector made from it."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(CHANNELS, 4, 1), nn.Conv2d(4, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        s = F.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.up(F.relu(self.down(s))))


class PreActivation(nn.Module):
    """A normalisation before its convolution, which nobody can fold."""

    def __init__(self):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(CHANNELS), nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.norm(x)))


class ReadTwice(nn.Module):
    """A convolution whose unnormalised output is read twice, so that its norm cannot fold."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(CHANNELS, CHANNELS, 1), nn.BatchNorm2d(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y


class Twice(nn.Module):
    """One convolution and one norm, called twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.norm = nn.BatchNorm2d(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.norm(self.conv(x))))


class UpDown(nn.Module):
    """A transposed convolution and a pool, which keep the size together."""

    def __init__(self, groups=1):
        super().__init__()
        self.up = nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, stride=2, groups=groups, bias=False)
        self.norm, self.pool = nn.BatchNorm2d(CHANNELS), nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(F.hardtanh(self.norm(self.up(x))))


class Statless(nn.Module):
    """A normalisation without running statistics."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.norm = nn.BatchNorm2d(CHANNELS, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


BLOCKS = {
    "plain": Plain,
    "biased": lambda: Plain(bias=True, act="silu"),
    "bare": lambda: Plain(norm=False, bias=True, act="none"),
    "grouped": lambda: Plain(groups=2),
    "depthwise": lambda: Plain(groups=CHANNELS, act="silu"),
    "residual": Residual,
    "linear residual": lambda: Residual(after_add=False),
    "concat": Concat,
    "excite": Excite,
    "pre-activation": PreActivation,
    "read twice": ReadTwice,
    "twice": Twice,
    "up and down": UpDown,
    "grouped up and down": lambda: UpDown(groups=2),
    "depthwise up and down": lambda: UpDown(groups=CHANNELS),
    "statless": Statless,
    "dropout": lambda: nn.Dropout(0.5),
    "max pool": lambda: nn.MaxPool2d(3, stride=1, padding=1),
}

HEADS = ("linear", "two linear", "map")


class RandomNet(nn.Module):
    """A stem, some blocks and a head."""

    def __init__(self, blocks: tuple[str, ...], head: str):
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.blocks = nn.Sequential(*(BLOCKS[name]() for name in blocks))
        self.head = _head(head)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(F.relu(self.norm(self.stem(x)))))


def _head(kind: str) -> nn.Module:
    if kind == "map":
        return nn.Conv2d(CHANNELS, 5, 1)
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if kind == "linear":
        return nn.Sequential(*pooled, nn.Linear(CHANNELS, 5))
    hidden = [nn.Linear(CHANNELS, 12), nn.BatchNorm1d(12), nn.ReLU()]
    return nn.Sequential(*pooled, *hidden, nn.Linear(12, 5))


def network(*blocks: str, head: str = "linear", size: int = 8, calibrate: bool = True) -> Network:
    """Return a network of these blocks with the statistics of a trained one."""
    torch.manual_seed(len(blocks))
    module = RandomNet(blocks, head)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            _settle(part)
    module.eval()
    made = Network("random", module, torch.randn(1, 3, size, size))
    return made.calibrated(torch.randn(6, 3, size, size)) if calibrate else made


def _settle(norm: nn.BatchNorm2d) -> None:
    """Give a normalisation the statistics and the parameters of a trained one."""
    if norm.running_mean is not None:
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.5, 2)
    if norm.affine:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.3)


def block_lists(most: int = 4) -> st.SearchStrategy[tuple[str, ...]]:
    """Draw the blocks of a network."""
    return st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=most).map(tuple)
