"""An option: what may stand at a site, as a module and on paper."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

from torch import nn

from hwflow.edits.sites import Site
from hwflow.errors import HwflowError
from hwflow.space import Value
from hwflow.workload import Workload


@dataclass(frozen=True)
class Option(ABC):
    """One operation with its parameters, which are its fields. Hashable, plain data.

    A family of options is a subclass; a package offers it under the entry points
    ``hwflow.operations`` as a function that returns its options.
    """

    family: ClassVar[str]
    derived: ClassVar[bool] = False
    """Whether it is made from the teacher, which it then needs, and starts out as good as that."""
    learns: ClassVar[bool] = True
    """Whether it has anything to learn; else distillation measures it as it is."""
    own_bits: ClassVar[bool] = False
    """Whether it sets bits of its own, which no later choice changes."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Its unique name, such as "inverted_residual_k3_e3_se0_relu"."""

    @property
    def parameters(self) -> Mapping[str, Value]:
        """Its parameters by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @abstractmethod
    def fits(self, site: Site) -> bool:
        """Whether it can stand at a site."""

    @abstractmethod
    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        """Return a new module that maps (N, *site.in_shape) to (N, *site.out_shape).

        `teacher` is what stands at the site now, alone
        (:func:`hwflow.edits.operations.teacher_of`); its tensors are copied, not shared. Weights
        that do not come from it are random: the caller sets the seed (:func:`seed_of`).
        """

    def piece(self, site: Site, workload: Workload) -> Workload:
        """Return what stands at the site of `workload` with this option, as a workload of its own.

        Its one input is the entry of the site, its one output what takes the place of the exit.
        By default the module is read, once for all sites of one shape.
        """
        from hwflow.edits.operations.pieces import read_piece

        return read_piece(self, site)

    def needs(self, teacher: nn.Module | None) -> nn.Module:
        """Return the teacher; raises HwflowError where there is none."""
        if teacher is None:
            raise HwflowError(
                f"The option {self.name} is made from what stands at its site: it needs the torch "
                "network. Give the teacher, or leave its family out."
            )
        return teacher


def seed_of(site: Site, option: Option) -> int:
    """Return the seed of the random weights of an option at a site."""
    return zlib.crc32(f"{site.name}/{option.name}".encode())
