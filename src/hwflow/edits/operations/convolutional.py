"""Blocks of convolutions: inverted residual, fused, bottleneck, basic, depthwise separable.

Strides lie where these blocks have them: in the convolution that is wider than 1x1. A block adds
its input where the shape stays (inverted residuals) or a 1x1 projection of it too (the others). It
ends in the activation that its site ends in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from torch import nn

from hwflow.edits.operations.layers import Gate, Residual, fits_kernel, projection, unit
from hwflow.edits.operations.option import Option
from hwflow.edits.sites import Site


class Block(Option):
    """An option that stands wherever no image grows and its kernel meets the image."""

    kernel: int

    def fits(self, site: Site) -> bool:
        """Whether it can stand at a site."""
        return site.shrinks and fits_kernel(self.kernel, site.in_shape[1:])


def _chain(parts: dict[str, nn.Module | None]) -> nn.Sequential:
    return nn.Sequential(OrderedDict({name: part for name, part in parts.items() if part}))


@dataclass(frozen=True)
class InvertedResidual(Block):
    """Pointwise to `expansion` times the channels, depthwise, perhaps a gate, pointwise back."""

    kernel: int
    expansion: int
    gated: bool
    act: str
    family = "inverted_residual"

    @property
    def name(self) -> str:
        """Its unique name."""
        return f"inverted_residual_k{self.kernel}_e{self.expansion}_se{int(self.gated)}_{self.act}"

    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        """Return the block; its input is added where the shape stays."""
        (channels, *_), (outputs, *_) = site.in_shape, site.out_shape
        before, after = site.in_shape[1:], site.out_shape[1:]
        inner, adds = channels * self.expansion, site.keeps_shape
        widen = unit(channels, inner, 1, before, before, self.act) if self.expansion > 1 else None
        branch = _chain({
            "expand": widen,
            "depthwise": unit(inner, inner, self.kernel, before, after, self.act, inner),
            "gate": Gate(inner, max(1, inner // 4), self.act) if self.gated else None,
            "project": unit(inner, outputs, 1, after, after, "" if adds else site.act),
        })  # fmt: skip
        return Residual(branch, None, site.act) if adds else branch


@dataclass(frozen=True)
class FusedInvertedResidual(Block):
    """A full convolution in place of an inverted residual's first two; of expansion 1, of all."""

    kernel: int
    expansion: int
    gated: bool
    family = "fused_inverted_residual"

    @property
    def name(self) -> str:
        """Its unique name."""
        return f"fused_inverted_residual_k{self.kernel}_e{self.expansion}_se{int(self.gated)}"

    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        """Return the block; its input is added where the shape stays."""
        (channels, *_), (outputs, *_) = site.in_shape, site.out_shape
        before, after = site.in_shape[1:], site.out_shape[1:]
        one, adds = self.expansion == 1, site.keeps_shape
        inner = outputs if one else channels * self.expansion
        end = "" if adds else site.act
        branch = _chain({
            "fused": unit(channels, inner, self.kernel, before, after, "relu"),
            "gate": Gate(inner, max(1, inner // 4), "relu") if self.gated else None,
            "project": None if one else unit(inner, outputs, 1, after, after, end),
        })  # fmt: skip
        return Residual(branch, None, site.act) if adds else branch


@dataclass(frozen=True)
class Bottleneck(Block):
    """Pointwise to a part of the channels, a convolution there, pointwise back; a shortcut."""

    kernel: int
    reduction: int
    groups: int
    family = "bottleneck"

    @property
    def name(self) -> str:
        """Its unique name."""
        return f"bottleneck_k{self.kernel}_r{self.reduction}_g{self.groups}"

    def fits(self, site: Site) -> bool:
        """Whether it can stand at a site: the groups must divide the channels inside."""
        inner = site.out_shape[0] // self.reduction
        return super().fits(site) and inner > 0 and inner % self.groups == 0

    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        """Return the block."""
        (channels, *_), (outputs, *_) = site.in_shape, site.out_shape
        before, after = site.in_shape[1:], site.out_shape[1:]
        inner = outputs // self.reduction
        branch = _chain({
            "reduce": unit(channels, inner, 1, before, before, "relu"),
            "conv": unit(inner, inner, self.kernel, before, after, "relu", self.groups),
            "expand": unit(inner, outputs, 1, after, after),
        })  # fmt: skip
        return Residual(branch, projection(site), site.act)


@dataclass(frozen=True)
class BasicResidual(Block):
    """Two convolutions, the channels between them a share of those after them; a shortcut."""

    kernel: int
    width: float
    family = "basic_residual"

    @property
    def name(self) -> str:
        """Its unique name."""
        return f"basic_residual_k{self.kernel}_w{self.width:g}"

    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        """Return the block."""
        (channels, *_), (outputs, *_) = site.in_shape, site.out_shape
        before, after = site.in_shape[1:], site.out_shape[1:]
        inner = max(1, round(outputs * self.width))
        branch = _chain({
            "first": unit(channels, inner, self.kernel, before, after, "relu"),
            "second": unit(inner, outputs, self.kernel, after, after),
        })  # fmt: skip
        return Residual(branch, projection(site), site.act)


@dataclass(frozen=True)
class DepthwiseSeparable(Block):
    """A depthwise convolution and a pointwise one."""

    kernel: int
    act: str
    family = "depthwise_separable"

    @property
    def name(self) -> str:
        """Its unique name."""
        return f"depthwise_separable_k{self.kernel}_{self.act}"

    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        """Return the block."""
        (channels, *_), (outputs, *_) = site.in_shape, site.out_shape
        before, after = site.in_shape[1:], site.out_shape[1:]
        return _chain({
            "depthwise": unit(channels, channels, self.kernel, before, after, self.act, channels),
            "pointwise": unit(channels, outputs, 1, after, after, site.act),
        })  # fmt: skip


def inverted_residuals() -> Iterator[Option]:
    """Yield the 72 inverted residual blocks."""
    grid = product((1, 3, 5, 7, 9, 11), (1, 3, 6), (False, True), ("relu", "silu"))
    yield from (InvertedResidual(*values) for values in grid)


def fused_inverted_residuals() -> Iterator[Option]:
    """Yield the 24 fused inverted residual blocks."""
    grid = product((1, 3, 5), (1, 2, 3, 6), (False, True))
    yield from (FusedInvertedResidual(*values) for values in grid)


def bottlenecks() -> Iterator[Option]:
    """Yield the 16 bottlenecks."""
    yield from (Bottleneck(*values) for values in product((1, 3, 5, 7), (2, 4), (1, 8)))


def basic_residuals() -> Iterator[Option]:
    """Yield the 6 basic residual blocks."""
    yield from (BasicResidual(*values) for values in product((3, 5), (0.25, 0.5, 1.0)))


def depthwise_separables() -> Iterator[Option]:
    """Yield the 6 depthwise separable convolutions."""
    yield from (DepthwiseSeparable(*values) for values in product((3, 5, 7), ("relu", "silu")))
