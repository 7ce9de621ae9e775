"""Quality: how good an edited network is at its task. Higher is better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from hwflow.space import Builder, Plan

if TYPE_CHECKING:
    from torch import Tensor


class Quality(Protocol):
    """What a search maximises beside its costs."""

    @property
    def name(self) -> str:
        """What is measured, such as "accuracy"."""
        ...

    def score(self, plan: Plan, build: Builder) -> float:
        """Return the quality of a plan; `build(plan)` gives the edited network."""
        ...

    def digest(self) -> str:
        """Return what identifies the data and the settings, for the study."""
        ...


@runtime_checkable
class Metric(Protocol):
    """A figure of merit that is summed over batches; higher is better."""

    @property
    def name(self) -> str:
        """What is measured, such as "accuracy"."""
        ...

    def add(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the batch's contribution, of any one shape; contributions are added up."""
        ...

    def result(self, total: Tensor, images: int) -> float:
        """Return the figure of the summed contributions of `images` images."""
        ...
