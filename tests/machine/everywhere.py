"""Every place of plain data, to put something odd there."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

Place = tuple[str | int, ...]


def places(plain: Any, at: Place = ()) -> Iterator[Place]:
    """Yield the path of everything in plain data."""
    if at:
        yield at
    if isinstance(plain, dict | list):
        for key in plain if isinstance(plain, dict) else range(len(plain)):
            yield from places(plain[key], (*at, key))


def put(plain: Any, place: Place, odd: object) -> Any:
    """Return a copy of plain data with something else at a place."""
    changed = deepcopy(plain)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = odd
    return changed
