"""Coupled channel groups: which channels of a network can only be removed together.

A pure function of the workload, so that an ONNX file has groups too. Plain data, no torch.
"""

from __future__ import annotations

from hwflow.coupling.branches import Branch
from hwflow.coupling.grouping import channel_groups, couple
from hwflow.coupling.groups import ChannelGroup, Coupling, Member
from hwflow.coupling.shrink import shrink
from hwflow.coupling.text import describe
from hwflow.coupling.without import without

__all__ = [
    "Branch",
    "ChannelGroup",
    "Coupling",
    "Member",
    "channel_groups",
    "couple",
    "describe",
    "shrink",
    "without",
]
