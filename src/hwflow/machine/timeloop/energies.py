"""Energies of an imported architecture: from an energy reference table or its own actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwflow.errors import MachineError
from hwflow.machine.timeloop.tagged import entries, number
from hwflow.machine.timeloop.tree import Part

_IDLE = ("leak", "idle", "gated")


@dataclass(frozen=True)
class Action:
    """Energy of one action, in joules, over so many bits (None: those of the part's word)."""

    joules: float
    bits: float | None
    source: str


Table = dict[str, dict[str, Action]]
"""Actions by the name of a component and their own."""


def table(plain: Mapping[str, Any], file: str) -> Table:
    """Return the energies of an energy reference table, in pJ per action.

    Of several entries for one action (of other arguments) the largest is taken.
    """
    ert = plain.get("ERT")
    if ert is None:
        return {}
    if not isinstance(ert, Mapping) or not isinstance(ert.get("tables"), list):
        raise MachineError(f"{file}: ERT has no list 'tables'; versions 0.3 and 0.4 are read.")
    listed = entries(ert["tables"], f"{file}: tables")
    return {_leaf(str(entry.get("name"))): _actions(entry, file) for entry in listed}


def _leaf(path: str) -> str:
    """Return "ifmap_spad" of "system.PE[0..167].ifmap_spad[1..168]"."""
    return path.split("[1..")[0].split("(")[0].split(".")[-1].split("[")[0]


def _actions(entry: Mapping[str, Any], file: str) -> dict[str, Action]:
    found: dict[str, Action] = {}
    for action in entries(entry.get("actions"), f"{file}: {entry.get('name')}: actions"):
        name = str(action.get("name"))
        joules = number(action.get("energy"), f"{file}: {entry.get('name')}: {name}") * 1e-12
        if name not in found or joules > found[name].joules:
            found[name] = Action(joules, None, f"{file}: {name} of {entry.get('name')}")
    return found


def own_actions(part: Part) -> dict[str, Action]:
    """Return what a part's own actions say (AccelForge: J per action, one bit unless it says)."""
    return {
        name: Action(
            number(action["energy"], f"{part.name}: {name}: energy"),
            number(action.get("bits_per_action", 1), f"{part.name}: {name}: bits_per_action"),
            f"{part.name}: action {name}",
        )
        for name, action in part.actions.items()
        if action.get("energy") is not None
    }


def access(actions: Mapping[str, Action], kind: str) -> Action | None:
    """Return the energy of reading or writing: the largest of the actions named so.

    A write is the larger of write and update, which Timeloop counts apart.
    """
    words = ("read",) if kind == "read" else ("write", "update")
    found = [
        action for name, action in actions.items()
        if any(word in name for word in words) and not _idle(name) and "metadata" not in name
    ]  # fmt: skip
    return max(found, key=lambda a: a.joules, default=None)


def compute(actions: Mapping[str, Action]) -> Action | None:
    """Return the energy of one MAC: the largest of the actions that do not idle."""
    found = [action for name, action in actions.items() if not _idle(name)]
    return max(found, key=lambda a: a.joules, default=None)


def leak(actions: Mapping[str, Action]) -> float:
    """Return the joules per cycle that one instance leaks."""
    return actions["leak"].joules if "leak" in actions else 0.0


def _idle(name: str) -> bool:
    return any(word in name for word in _IDLE)
