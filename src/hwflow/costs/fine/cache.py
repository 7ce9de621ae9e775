"""Found mappings, kept in memory and, where asked for, in a SQLite file for the next process.

A key names the layer's loops, its operands' bits as costed, the machine's digest and the settings,
so an entry never goes stale; a change of the rules changes `VERSION`.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

from hwflow.costs.fine.rates import OperandBits
from hwflow.costs.fine.result import Found, Settings
from hwflow.costs.fine.shape import Shape
from hwflow.errors import HwflowError

VERSION = 2

Key = tuple[Shape, OperandBits, str, str]


def user_file() -> Path:
    """Return the cache file of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hwflow" / f"fine-{VERSION}.sqlite"


def key_of(shape: Shape, bits: OperandBits, digest: str, settings: Settings) -> Key:
    """Return the key of one search."""
    return shape, bits, digest, settings.key()


class Cache:
    """Mappings by key. With a `path` they are read from and written to a file too."""

    def __init__(self, path: Path | str | None = None) -> None:
        """Open the cache; a file that cannot be used raises HwflowError.

        A file that fails later is left alone from then on, and `fault` says why.
        """
        self.fault = ""
        self._known: dict[Key, Found] = {}
        self._path = path
        self._file = None if path is None else _opened(Path(path))

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: Key, search: Callable[[], Found]) -> Found:
        """Return what is kept under `key`, or search and keep it."""
        found = self._known.get(key)
        if found is None:
            found = self._read(key) or self._kept(key, search())
            self._known[key] = found
        return found

    def _read(self, key: Key) -> Found | None:
        if self._file is None:
            return None
        try:
            row = self._file.execute("SELECT found FROM mappings WHERE key = ?", (_text(key),))
            text = row.fetchone()
            return Found.from_json(json.loads(text[0])) if text else None
        except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
            self._give_up(error)
            return None

    def _kept(self, key: Key, found: Found) -> Found:
        if self._file is not None:
            entry = (_text(key), json.dumps(found.to_json()))
            try:
                with self._file:
                    self._file.execute("INSERT OR REPLACE INTO mappings VALUES (?, ?)", entry)
            except sqlite3.Error as error:
                self._give_up(error)
        return found

    def _give_up(self, error: Exception) -> None:
        """Go on without the file."""
        self.fault = f"The cache of mappings {self._path} failed: {error}. Delete it."
        self.close()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _text(key: Key) -> str:
    shape, bits, digest, settings = key
    return json.dumps([astuple(shape), astuple(bits), digest, settings], separators=(",", ":"))


def _opened(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = sqlite3.connect(path, timeout=10)
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA synchronous=OFF")
        file.execute("CREATE TABLE IF NOT EXISTS mappings (key TEXT PRIMARY KEY, found TEXT)")
    except (sqlite3.Error, OSError) as error:
        raise HwflowError(
            f"Cannot use {path} as a cache of mappings: {error}. Delete it, or name another file."
        ) from error
    return file
