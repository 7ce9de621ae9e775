"""A table of measured latencies: a SQLite file, or a CSV file that came back from a device.

An entry is one layer under one *setting* (runtime and version, provider, threads, processor). What
is in the table stays as it is, so that costs do not change under a search that reads them; a
measurement that was killed goes on with what is missing.
"""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwflow.errors import MachineError
from hwflow.files import whole

VERSION = 1
COLUMNS = ("key", "latency_s", "low_s", "high_s", "wall_s", "rounds", "layer")
"""Of an exported file; the first two are needed in one that is read."""

_TABLES = """
CREATE TABLE IF NOT EXISTS entries (
    setting TEXT, key TEXT, latency_s REAL, low_s REAL, high_s REAL, wall_s REAL, rounds INTEGER,
    layer TEXT, PRIMARY KEY (setting, key));
CREATE TABLE IF NOT EXISTS facts (setting TEXT, name TEXT, value TEXT, PRIMARY KEY (setting, name));
"""


@dataclass(frozen=True)
class Latency:
    """A measured latency: median over the rounds, and their quartiles."""

    latency_s: float
    low_s: float
    high_s: float
    wall_s: float
    """Median of the wall time."""
    rounds: int
    layer: str = ""
    """The layer's description as JSON."""

    @property
    def spread(self) -> float:
        """Interquartile range over the median."""
        return (self.high_s - self.low_s) / self.latency_s if self.latency_s > 0 else 0.0


def user_table() -> Path:
    """Return the file of this user's latencies."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hwflow" / f"latencies-{VERSION}.sqlite"


class LatencyTable:
    """The latencies of one setting, kept in memory and in a file that others may write to too."""

    def __init__(self, path: Path, setting: str) -> None:
        """Open or make the file. Raises MachineError where that is not possible."""
        self.path, self.setting = path, setting
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, timeout=30)
            self._check_version()
            self._file.executescript(_TABLES)
            with self._file:
                self._set_once("id", uuid.uuid4().hex)
        except (sqlite3.Error, OSError) as error:
            raise MachineError(
                f"Cannot use {path} as a table of latencies: {error}. Delete it, or name another "
                "file with --table."
            ) from error
        self._known: dict[str, Latency] = {}
        self._load()

    def _check_version(self) -> None:
        found = self._file.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, VERSION):
            raise MachineError(
                f"{self.path} is a table of latencies of version {found}; this is {VERSION}. "
                "Measure again into another file."
            )
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute(f"PRAGMA user_version={VERSION}")

    def _load(self) -> None:
        rows = self._file.execute(
            "SELECT key, latency_s, low_s, high_s, wall_s, rounds, layer FROM entries "
            "WHERE setting = ?",
            (self.setting,),
        )
        self._known.update((key, Latency(*values)) for key, *values in rows)

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: object) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Latency:
        return self._known[key]

    def items(self) -> Iterable[tuple[str, Latency]]:
        """Return all entries by key."""
        return self._known.items()

    def add(self, entries: Mapping[str, Latency]) -> None:
        """Commit entries; those that are there stay as they are, whoever measured them."""
        rows = [
            (self.setting, key, e.latency_s, e.low_s, e.high_s, e.wall_s, e.rounds, e.layer)
            for key, e in entries.items()
        ]
        with self._file:
            self._file.executemany("INSERT OR IGNORE INTO entries VALUES (?,?,?,?,?,?,?,?)", rows)
        self._load()

    def fact(self, name: str) -> Any:
        """Return what is kept under a name beside the entries, None where nothing is."""
        row = self._file.execute(
            "SELECT value FROM facts WHERE setting = ? AND name = ?", (self.setting, name)
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def keep(self, name: str, value: Any) -> None:
        """Keep plain data under a name, such as a calibration."""
        with self._file:
            self._file.execute(
                "INSERT OR REPLACE INTO facts VALUES (?, ?, ?)",
                (self.setting, name, json.dumps(value, sort_keys=True)),
            )

    def _set_once(self, name: str, value: str) -> None:
        self._file.execute(
            "INSERT OR IGNORE INTO facts VALUES (?, ?, ?)", (self.setting, name, json.dumps(value))
        )

    def stamp(self) -> dict[str, Any]:
        """Return what changes when the costs that this table gives change."""
        return {"id": self.fact("id"), "calibration": self.fact("calibration")}

    def write_csv(self, path: Path) -> None:
        """Write all entries as a CSV file, replaced in one step."""
        with whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for key, e in sorted(self.items()):
                writer.writerow([key, e.latency_s, e.low_s, e.high_s, e.wall_s, e.rounds, e.layer])


def read_csv(path: Path) -> dict[str, Latency]:
    """Read latencies by key; MachineError names the line with a fault."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MachineError(f"Cannot read the latencies {path}: {error}.") from error
    if not rows or not {"key", "latency_s"} <= set(rows[0]):
        raise MachineError(
            f"{path} has no latencies. The first line must name the columns, key and latency_s "
            "among them, and a line for each layer must follow."
        )
    return {row["key"]: _latency(path, line, row) for line, row in enumerate(rows, 2)}


def _latency(path: Path, line: int, row: Mapping[str, str | None]) -> Latency:
    middle = _seconds(path, line, "latency_s", row["latency_s"])
    low, high, wall = (
        _seconds(path, line, name, row.get(name) or str(middle))
        for name in ("low_s", "high_s", "wall_s")
    )
    rounds = row.get("rounds") or "1"
    return Latency(middle, low, high, wall, int(rounds) if rounds.isdigit() else 1,
                   row.get("layer") or "")  # fmt: skip


def _seconds(path: Path, line: int, name: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise MachineError(
            f"{path}, line {line}: {name} is {text!r}. Give seconds, such as 0.0012."
        )
    return value
