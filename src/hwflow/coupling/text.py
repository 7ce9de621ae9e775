"""The groups as text."""

from __future__ import annotations

from collections.abc import Iterable

from hwflow.coupling.groups import ChannelGroup, Coupling, Member


def describe(coupling: Coupling) -> str:
    """Return the groups, what goes with each unit, and why other channels stay."""
    parts = [_group(group) for group in coupling.groups]
    if coupling.why:
        rows = [f"  {layer}: {why}" for layer, why in coupling.why.items()]
        parts.append("\n".join(["Channels that stay", *rows]))
    return "\n".join(parts)


def _group(group: ChannelGroup) -> str:
    lines = [f"{group.name}: {group.size} units"]
    width = max((len(member.layer) for member in group.members), default=0)
    for member in group.members:
        what = "filters" if member.side == "out" else "inputs "
        lines.append(f"  {member.layer:<{width}}  {what}  {_places(member)}")
    return "\n".join(lines)


def _places(member: Member) -> str:
    """Return the channels of a member in short, such as "0 - 63" or "2 of 128 for each unit"."""
    flat = sorted(channel for row in member.channels for channel in row)
    each = len(member.channels[0])
    text = ", ".join(_runs(flat))
    return text if each == 1 else f"{text} ({each} for each unit)"


def _runs(numbers: Iterable[int]) -> list[str]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [str(a) if a == b else f"{a} - {b}" for a, b in runs]
    return shown if len(shown) <= 4 else [*shown[:2], "...", shown[-1]]
