"""Errors of hwflow: each says what is wrong, what is allowed and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HwflowError(Exception):
    """A fault in what the user gave. The command line prints it and leaves with `exit_code`."""

    exit_code = 2


class ModelError(HwflowError):
    """A network that cannot be found, loaded or exported, or weights that do not fit it."""


class MachineError(HwflowError):
    """An unknown machine, or a machine file with a fault in it."""


class WorkloadError(HwflowError):
    """A description of a network that contradicts itself or cannot be read."""


class DataError(HwflowError):
    """A data set that is missing, empty or of the wrong shape."""


class StudyError(HwflowError):
    """A run folder that cannot be used: read-only, foreign, damaged or of other settings."""


class InfeasibleError(HwflowError):
    """No plan of the space meets the limits."""

    exit_code = 3


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str = "") -> str:
    """Return the message for a `name` that is not among the `known` ones, with the nearest."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    ask = f" Did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")
    return f"Unknown {kind} {name!r}.{ask} Known: {shown}.{' ' + hint if hint else ''}"
