"""Options that mix positions by what is there: self-attention and involution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import sqrt

import torch
from torch import Tensor, nn

from hwflow.edits.operations.layers import Size, activation, fits_kernel, projection
from hwflow.edits.operations.option import Option
from hwflow.edits.sites import Site

MOST_TOKENS = 1024
"""Positions above which attention, whose products grow with their square, is no option."""


class SelfAttention(nn.Module):
    """Multi-head self-attention of an image's positions, keys and values pooled."""

    def __init__(self, channels: int, heads: int, pool: int, size: Size) -> None:
        """Make the four pointwise layers; `size` is that of the image."""
        super().__init__()
        self.scale = 1 / sqrt(channels // heads)
        self.pool = nn.AvgPool2d(pool, ceil_mode=True) if pool > 1 else None
        self.query, self.key, self.value, self.out = (
            nn.Conv2d(channels, channels, 1) for _ in range(4)
        )
        self.tokens, self.heads = nn.Flatten(2), nn.Unflatten(1, (heads, channels // heads))
        self.softmax = nn.Softmax(-1)
        self.joined, self.image = nn.Flatten(1, 2), nn.Unflatten(2, size)

    def forward(self, x: Tensor) -> Tensor:
        """Return what each position gathers, shape (N, C, H, W)."""
        read = x if self.pool is None else self.pool(x)
        query = self.heads(self.tokens(self.query(x)))
        key = self.heads(self.tokens(self.key(read)))
        value = self.heads(self.tokens(self.value(read)))
        weights = self.softmax((query.transpose(2, 3) @ key) * self.scale)
        mixed = value @ weights.transpose(2, 3)
        found: Tensor = self.out(self.image(self.joined(mixed)))
        return found


class Transformer(nn.Module):
    """A pre-norm transformer layer on the positions of an image."""

    def __init__(self, project: nn.Module | None, attention: nn.Module, channels: int,
                 inner: int, act: str) -> None:  # fmt: skip
        """Take the projection to the right shape, and the attention."""
        super().__init__()
        self.project = project
        self.norm1, self.norm2 = nn.GroupNorm(1, channels), nn.GroupNorm(1, channels)
        self.attention = attention
        self.expand, self.contract = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)
        self.gelu = nn.GELU()
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """Return the image after attention and the two pointwise layers, each added."""
        x = x if self.project is None else self.project(x)
        x = x + self.attention(self.norm1(x))
        x = x + self.contract(self.gelu(self.expand(self.norm2(x))))
        return x if self.act is None else self.act(x)


@dataclass(frozen=True)
class Attention(Option):
    """A transformer layer: keys and values pooled by `pool`, the inner width `mlp` times."""

    heads: int
    pool: int
    mlp: int
    family = "attention"

    @property
    def name(self) -> str:
        """Its unique name."""
        return f"attention_h{self.heads}_p{self.pool}_m{self.mlp}"

    def fits(self, site: Site) -> bool:
        """Whether it can stand at a site: few positions, channels that divide into heads."""
        channels, height, width = site.out_shape
        fits = site.shrinks and channels % self.heads == 0 and height * width <= MOST_TOKENS
        return fits and min(height, width) >= self.pool

    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        """Return the layer, after a 1x1 projection where the shape changes."""
        channels, project = site.out_shape[0], projection(site)
        attention = SelfAttention(channels, self.heads, self.pool, site.out_shape[1:])
        return Transformer(project, attention, channels, channels * self.mlp, site.act)


class Involve(nn.Module):
    """Involution: each position's own kernel, computed from it, shared by groups of channels."""

    def __init__(self, channels: int, kernel: int, groups: int, size: Size) -> None:
        """Make the two layers that compute the kernels (Li et al., CVPR 2021, reduction 4)."""
        super().__init__()
        self.size, self.kernel = size, kernel
        inner = max(1, channels // 4)
        self.reduce = nn.Conv2d(channels, inner, 1, bias=False)
        self.norm = nn.BatchNorm2d(inner)
        self.act = nn.ReLU()
        self.span = nn.Conv2d(inner, kernel**2 * groups, 1)
        self.pad = nn.ZeroPad2d(kernel // 2)
        self.grouped = nn.Unflatten(1, (groups, channels // groups))
        self.kernels = nn.Unflatten(1, (groups, 1, kernel**2))
        self.joined = nn.Flatten(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sums over each position's neighbours, shape (N, C, H, W)."""
        kernels = self.kernels(self.span(self.act(self.norm(self.reduce(x)))))
        padded, (height, width) = self.pad(x), self.size
        # slices in place of unfold, which neither the workload nor every runtime knows
        near = torch.stack(
            [
                padded[:, :, row : row + height, column : column + width]
                for row in range(self.kernel)
                for column in range(self.kernel)
            ],
            2,
        )
        found: Tensor = self.joined((self.grouped(near) * kernels).sum([3]))
        return found


class InvolutionBlock(nn.Module):
    """An involution with batch normalisation and perhaps an activation."""

    def __init__(self, project: nn.Module | None, involve: nn.Module, outputs: int, act: str):
        """Take the projection to the right shape, and the involution."""
        super().__init__()
        self.project = project
        self.involve = involve
        self.norm = nn.BatchNorm2d(outputs)
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """Return the image after the involution."""
        x = self.norm(self.involve(x if self.project is None else self.project(x)))
        return x if self.act is None else self.act(x)


@dataclass(frozen=True)
class Involution(Option):
    """Kernels computed at each position, one for each of `groups` groups of channels."""

    kernel: int
    groups: int
    family = "involution"

    @property
    def name(self) -> str:
        """Its unique name."""
        return f"involution_k{self.kernel}_g{self.groups}"

    def fits(self, site: Site) -> bool:
        """Whether it can stand at a site: channels that divide into groups."""
        size: Size = site.out_shape[1:]
        divides = site.out_shape[0] % self.groups == 0
        return site.shrinks and divides and fits_kernel(self.kernel, size)

    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        """Return the block, after a 1x1 projection where the shape changes."""
        outputs, project = site.out_shape[0], projection(site)
        involve = Involve(outputs, self.kernel, self.groups, site.out_shape[1:])
        return InvolutionBlock(project, involve, outputs, site.act)


def attentions() -> Iterator[Option]:
    """Yield the 12 transformer layers."""
    yield from (Attention(*values) for values in product((4, 8), (1, 2), (1, 2, 4)))


def involutions() -> Iterator[Option]:
    """Yield the 4 involutions."""
    yield from (Involution(*values) for values in product((3, 7), (8, 16)))
