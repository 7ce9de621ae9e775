"""The edit: channels and residual branches taken out of a network, on paper and in the network.

Which units of a group go is part of the edit. Where a network gives normalisation over channels,
attention or anything else in which a channel that is missing is not a channel of zeros, the
channels stay: every pruned network computes what the original computes with the removed channels
set to zero. A branch that is left out adds exactly zero: not what its last layer's bias or
normalisation would add if its channels were zero.

Statistics of batch normalisation belong to the channels they were taken with: `mend` takes them
anew on the network's calibration inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, cast, get_args

from torch import Tensor

from hwflow.coupling import Branch, Coupling, couple, shrink, without
from hwflow.coupling.groups import Mask
from hwflow.design import Design
from hwflow.edits.branch_graph import Removal, removal
from hwflow.edits.prune_graph import pruned
from hwflow.edits.quantizers import Prepared, prepared_in_floats
from hwflow.edits.reconstruct import Wanted, images_of, reconstruct, wanted
from hwflow.edits.remember import Remembered
from hwflow.edits.survey import Survey
from hwflow.edits.trainable import TrainableGraph
from hwflow.errors import HwflowError, unknown_name
from hwflow.network import Network
from hwflow.running import fast_format
from hwflow.train import restate

Mend = Literal["none", "statistics", "least_squares"]
"""What is done to what is left, from calibration inputs and without labels or gradients."""


@dataclass(frozen=True)
class Prune:
    """Keep these units of these groups; groups that are not named stay whole.

    Nothing kept of a group inside a residual branch leaves the branch out.
    """

    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Units to keep, by group."""
    exclude: frozenset[str] = frozenset()
    """Layers whose output channels stay: with them the groups are others."""
    mend: Mend = "none"
    """"statistics": batch normalisation is re-estimated on the network's calibration inputs.

    "least_squares": weights are fitted before, see :mod:`hwflow.edits.reconstruct`."""

    def __post_init__(self) -> None:
        check_mend(self.mend)
        kept = {name: tuple(sorted(set(units))) for name, units in sorted(self.kept.items())}
        object.__setattr__(self, "kept", kept)

    def __hash__(self) -> int:
        return hash((tuple(self.kept.items()), self.exclude, self.mend))

    def on_paper(self, design: Design) -> Design:
        """Return the design with the layers, channels, shapes and parameters that are left.

        Raises HwflowError for groups or units that the workload does not have.
        """
        mask, dropped = self._left(coupling := couple(design.workload, self.exclude))
        small = without(shrink(coupling, mask), dropped)
        # equal workloads share a coupling, whatever they are called
        if small.name != design.workload.name:
            small = replace(small, name=design.workload.name)
        return design.with_workload(small)

    def in_network(self, network: Network) -> Network:
        """Return a network without the channels: an exported graph, in eval mode, that trains.

        It shares no parameter with `network`. Raises HwflowError for unknown groups or units, for
        a network that is quantised, and where the channels cannot be followed.
        """
        ready = prunable(network)
        found = ready.survey(self.exclude)
        if found.faults:
            raise HwflowError(_not_followed(network.name, found.faults))
        mask, dropped = self._left(found.coupling)
        removals = [ready.removal(self.exclude, branch) for branch in dropped]
        small = pruned(ready.prepared.graph, found, mask, removals)
        if dropped or not mask.all():
            self._mend(network, small, mask)
        return network.with_module(small)

    def _mend(self, network: Network, small: TrainableGraph, mask: Mask) -> None:
        inputs = network.calibration
        if self.mend == "least_squares":
            check_inputs(network)
            ready = prunable(network)
            images, wants = ready.wanted
            reconstruct(small, ready.survey(self.exclude), mask, wants, images)
            inputs = None if inputs is None or len(images) == len(inputs) else inputs
        if self.mend != "none" and inputs is not None:
            restate(small, fast_format(inputs))

    def _left(self, coupling: Coupling) -> tuple[Mask, tuple[Branch, ...]]:
        """Return which units are left, and the branches that are left out."""
        dropped = coupling.branches_of([name for name, units in self.kept.items() if not units])
        inside = {name for branch in dropped for name in branch.groups}
        kept = {name: units for name, units in self.kept.items() if name not in inside}
        return coupling.mask(kept), dropped


def check_mend(name: str) -> None:
    """Raise HwflowError for a way of mending that does not exist."""
    if name not in get_args(Mend):
        raise HwflowError(unknown_name("mend", name, get_args(Mend)))


def check_inputs(network: Network) -> None:
    """Raise HwflowError for a network without the inputs that least squares need."""
    if network.calibration is None:
        raise HwflowError(
            f"Network {network.name!r} has no calibration inputs, which weights are fitted to. "
            "Give some, better 100 or more of the training data: network.calibrated(inputs)."
        )


@dataclass(eq=False)
class Prunable:
    """What pruning a network needs and no plan changes."""

    prepared: Prepared
    _surveys: dict[frozenset[str], Survey] = field(default_factory=dict)
    _removals: dict[tuple[frozenset[str], str], Removal | None] = field(default_factory=dict)

    def survey(self, exclude: frozenset[str]) -> Survey:
        """Return where the channels are in the exported graph."""
        if exclude not in self._surveys:
            coupling = couple(self.prepared.workload, exclude)
            self._surveys[exclude] = Survey(self.prepared.found, coupling).run()
        return self._surveys[exclude]

    @cached_property
    def wanted(self) -> tuple[Tensor, Mapping[str, Wanted]]:
        """Some calibration inputs, and what the network's layers make of them."""
        calibration = self.prepared.calibration
        assert calibration is not None  # checked by the caller
        found = self.survey(frozenset())
        images = fast_format(images_of(found, calibration))
        return images, wanted(found, images)

    def holds(self, exclude: frozenset[str], branch: Branch) -> bool:
        """Whether the graph can do without a branch."""
        key = (exclude, branch.add)
        if key not in self._removals:
            self._removals[key] = removal(self.survey(exclude), branch)
        return self._removals[key] is not None

    def removal(self, exclude: frozenset[str], branch: Branch) -> Removal:
        """Return what goes from the graph with a branch; HwflowError where it cannot go."""
        if not self.holds(exclude, branch):
            raise HwflowError(
                f"The branch that ends in {branch.end!r} shares parameters with the rest of the "
                f"graph. Keep some units of its groups, {', '.join(branch.groups)}."
            )
        return cast(Removal, self._removals[exclude, branch.add])


@Remembered
def prunable(network: Network) -> Prunable:
    """Export the network; raises HwflowError when it is quantised already."""
    why = (
        "scales belong to the channels they were computed with. Prune it first and quantise the "
        "result."
    )
    return Prunable(prepared_in_floats(network, why))


def _not_followed(name: str, faults: Mapping[str, str]) -> str:
    rows = "".join(f"\n  {layer}: {why}" for layer, why in faults.items())
    return f"The channels of some layers of {name!r} are not followed. Exclude these layers:{rows}"
