"""How many channels of a group may be kept, and which go first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import gcd

from hwflow.coupling import ChannelGroup
from hwflow.errors import HwflowError, unknown_name
from hwflow.machine import Accelerator, Device
from hwflow.space import Value

CHANNELS = "channels:"
"""How the names of choices begin; the name of a group follows."""

KEEP = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
"""Shares of the channels that are kept, the options of a choice."""

Scores = Mapping[str, Sequence[float]]
"""For each group, how much each unit matters."""


def channel_step(machine: Accelerator) -> int:
    """Return the number of output channels at whose multiples the machine's costs step.

    It is the width of the axis of its array along which nothing but output channels (and groups)
    is unrolled: there 17 channels on 16 columns cost as much as 32. 1 where other loops may take
    their place, as on row-stationary arrays; on a device where its latency was seen to step.
    """
    if isinstance(machine, Device):
        return machine.channel_step
    array = machine.array
    axes = ((array.rows, array.unroll_rows), (array.cols, array.unroll_cols))
    return max(
        (pes.value for pes, loops in axes if "K" in loops and {*loops} <= {"K", "G"}), default=1
    )


def order(group: ChannelGroup, scores: Scores | None) -> list[int]:
    """Return the units of a group, what matters most first; of equals the first."""
    given = scores[group.name] if scores is not None else [0.0] * group.size
    return sorted(range(group.size), key=lambda unit: (-given[unit], unit))


def counts(group: ChannelGroup, keep: Sequence[float], step: int, least: int) -> dict[Value, int]:
    """Return the shares that are options, each with its number of units, ascending."""
    unit_step = step // gcd(step, group.width)
    fewest = max(group.least, -(-least // group.width))
    found: dict[int, float] = {}
    for share in sorted(set(keep), reverse=True):
        count = max(round(share * group.size / unit_step), 1) * unit_step
        if fewest <= count < group.size and _off(share, count, group) < _off(
            found.get(count, 2.0), count, group
        ):
            found[count] = float(share)
    options: dict[Value, int] = {found[count]: count for count in sorted(found)}
    return options | {1.0: group.size}


def _off(share: float, count: int, group: ChannelGroup) -> float:
    """Return how far a share is from what is really kept."""
    return abs(share - count / group.size)


def check_counts(keep: Sequence[float], step: int, min_channels: int) -> None:
    """Raise HwflowError for shares and counts that cannot be."""
    for share in keep:
        if not 0 < share <= 1:
            raise HwflowError(f"The share of channels to keep must be in (0, 1], not {share}.")
    for name, value in (("step", step), ("min_channels", min_channels)):
        if value < 1:
            raise HwflowError(f"{name} must be at least 1, not {value}.")


def check_scores(scores: Scores | None, groups: Collection[ChannelGroup]) -> None:
    """Raise HwflowError where scores are given, but not for every unit of every group."""
    for group in groups if scores is not None else ():
        assert scores is not None
        if group.name not in scores:
            raise HwflowError(unknown_name("group with scores", group.name, scores))
        if len(scores[group.name]) != group.size:
            raise HwflowError(
                f"Group {group.name!r} has {group.size} units, but {len(scores[group.name])} "
                "scores. Give one for each unit."
            )
