"""Options of one layer or none: keep, skip, convolution with normalisation and activation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from hwflow.edits.operations.layers import fits_kernel, projection, unit
from hwflow.edits.operations.option import Option
from hwflow.edits.part import part_of
from hwflow.edits.sites import Site
from hwflow.workload import Input, Workload


@dataclass(frozen=True)
class Keep(Option):
    """What stands at the site already."""

    family = "keep"
    derived = True
    learns = False
    name = "keep"

    def fits(self, site: Site) -> bool:
        """Whether it can stand at a site: always."""
        return True

    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        """Return a copy of the teacher."""
        return copy.deepcopy(self.needs(teacher))

    def piece(self, site: Site, workload: Workload) -> Workload:
        """Return what stands there."""
        return part_of(workload, site)


@dataclass(frozen=True)
class Skip(Option):
    """Nothing: the entry is passed on.

    Where rows, columns or channels change, a strided 1x1 convolution with batch normalisation makes
    the shape (the projection of residual networks, which reads only what it passes on).
    """

    family = "skip"
    name = "skip"

    def fits(self, site: Site) -> bool:
        """Whether it can stand at a site: nowhere that an image grows."""
        return site.shrinks

    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        """Return an identity or a projection."""
        return projection(site) or nn.Identity()

    def piece(self, site: Site, workload: Workload) -> Workload:
        """Return the projection, or a workload of no layers."""
        if not site.keeps_shape:
            return super().piece(site, workload)
        return Workload(self.name, (), (Input("x", (1, *site.in_shape)),), ("x",))


@dataclass(frozen=True)
class ConvNormAct(Option):
    """A convolution with batch normalisation and the activation that the site ends in."""

    kernel: int
    groups: int
    family = "conv_bn_act"

    @property
    def name(self) -> str:
        """Its unique name."""
        return f"conv_bn_act_k{self.kernel}_g{self.groups}"

    def fits(self, site: Site) -> bool:
        """Whether it can stand at a site: no image grows, channels divide into groups."""
        channels, outputs = site.in_shape[0], site.out_shape[0]
        divides = channels % self.groups == 0 == outputs % self.groups
        return site.shrinks and divides and fits_kernel(self.kernel, site.in_shape[1:])

    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        """Return the convolution with what follows it."""
        return unit(
            site.in_shape[0], site.out_shape[0], self.kernel, site.in_shape[1:],
            site.out_shape[1:], site.act, self.groups,
        )  # fmt: skip


def options() -> Iterator[Option]:
    """Yield the 16 convolutions."""
    for kernel in (1, 3, 5, 7):
        yield from (ConvNormAct(kernel, groups) for groups in (1, 2, 4, 8))


def skips() -> Iterator[Option]:
    """Yield the one option that leaves the site out."""
    yield Skip()


def keeps() -> Iterator[Option]:
    """Yield the one option that changes nothing."""
    yield Keep()
