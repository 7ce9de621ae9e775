"""How a check fails."""

from __future__ import annotations


class CheckError(AssertionError):
    """Something does not do what its protocol promises."""


def require(holds: bool, message: str) -> None:
    """Raise CheckError with `message` unless `holds`."""
    if not holds:
        raise CheckError(message)
