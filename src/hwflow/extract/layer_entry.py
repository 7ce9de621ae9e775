"""One entry of a layer list: its keys are read one by one, and every fault names file and key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from hwflow.errors import WorkloadError, unknown_name
from hwflow.workload import FLOAT_BITS, Pair, Shape


class Entry:
    """A mapping of the file with the place it stands at."""

    def __init__(self, path: Path, place: str, given: Any) -> None:
        self.path = path
        self.place = place
        if not isinstance(given, Mapping):
            self.fault(f"is {given!r}, expected keys and values such as {{op: conv, kernel: 3}}.")
        self.given = {str(key): value for key, value in given.items()}
        self.read: set[str] = set()

    def fault(self, what: str) -> NoReturn:
        """Raise WorkloadError about this entry."""
        raise WorkloadError(f"{self.path}: {self.place} {what}")

    def wrong(self, key: str, allowed: str) -> NoReturn:
        """Raise WorkloadError about the value of one key."""
        self.fault(f"has {key} = {self.given[key]!r}. Allowed: {allowed}.")

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value as the file gives it."""
        self.read.add(key)
        return self.given.get(key, default)

    def has(self, *keys: str) -> bool:
        """Whether one of the keys is given."""
        return any(key in self.given for key in keys)

    def need(self, key: str) -> Any:
        """Return a value that must be given."""
        if key not in self.given:
            self.fault(f"lacks the key {key!r}.")
        return self.get(key)

    def count(self, key: str, default: int | None = None, least: int = 1) -> int:
        """Return a whole number of at least `least`; one without default must be given."""
        value = self.need(key) if default is None else self.get(key, default)
        if not _is_count(value, least):
            self.wrong(key, f"a whole number of at least {least}")
        return int(value)

    def share(self, *keys: str) -> float:
        """Return a number from 0 to 1, given under one of the keys; 1 where none is given."""
        for key in keys:
            if key in self.given:
                value = self.get(key)
                number = isinstance(value, int | float) and not isinstance(value, bool)
                if not number or not 0 <= value <= 1:
                    self.wrong(key, "a number from 0 to 1")
                return float(value)
        return 1.0

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            self.wrong(key, "true or false")
        return value

    def pair(self, key: str, default: int | None = None, least: int = 1) -> Pair:
        """Return height and width, given as two numbers or one for both."""
        value = self.need(key) if default is None else self.get(key, default)
        pair = value if isinstance(value, list) else [value, value]
        if len(pair) != 2 or not all(_is_count(item, least) for item in pair):
            self.wrong(key, f"one whole number of at least {least}, or [height, width]")
        return pair[0], pair[1]

    def shape(self, key: str) -> Shape:
        """Return a shape: whole numbers of at least 1, batch first."""
        value = self.need(key)
        if not isinstance(value, list) or not value or not all(_is_count(i, 1) for i in value):
            self.wrong(key, "a list of sizes, batch first, such as [1, 3, 32, 32]")
        return tuple(value)

    def numbers(self, key: str, length: int) -> tuple[int, ...]:
        """Return a list of `length` whole numbers from 0."""
        value = self.need(key)
        fits = isinstance(value, list) and len(value) == length
        if not fits or not all(_is_count(item, 0) for item in value):
            self.wrong(key, f"a list of {length} whole numbers from 0")
        return tuple(value)

    def names(self, key: str, default: Iterable[str]) -> tuple[str, ...]:
        """Return one name or a list of them."""
        value = self.get(key, list(default))
        items = value if isinstance(value, list) else [value]
        if not items or not all(isinstance(item, str) for item in items):
            self.wrong(key, "a name or a list of names")
        return tuple(items)

    def axis(self, key: str, default: int, rank: int) -> int:
        """Return an axis of a tensor, counted from 0."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not -rank <= value < rank:
            self.wrong(key, f"an axis from {-rank} to {rank - 1}")
        return value % rank

    def choice(self, key: str, allowed: Iterable[str], default: str | None = None) -> str:
        """Return one of the allowed words."""
        value = self.need(key) if default is None else self.get(key, default)
        allowed = sorted(allowed)
        if value not in allowed:
            self.fault(unknown_name(key, str(value), allowed))
        return str(value)

    def bits(self) -> dict[str, int]:
        """Return the bits of weight, input and output that are given."""
        given = self.get("bits", {})
        if _is_count(given, 1):
            given = {"weight": given, "input": given, "output": given}
        inner = Entry(self.path, f"{self.place}, bits,", given)
        found = {key: inner.count(key, FLOAT_BITS) for key in ("weight", "input", "output")}
        inner.finish()
        for key, bits in found.items():
            if bits > 16 and bits != FLOAT_BITS:
                inner.wrong(key, f"1 to 16, or {FLOAT_BITS} for floating point")
        return found

    def finish(self) -> None:
        """Raise WorkloadError when a key was given that nobody read."""
        for key in self.given.keys() - self.read:
            self.fault(unknown_name("key", key, self.read))


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
