"""The file of a study: making, checking, locking and opening it. Used by :mod:`hwflow.study` only.

What holds after SIGKILL at any moment:

* a study is made in a scratch file and moved to its name when whole, so a `study.db` that cannot be
  read is damage, never the trace of an early death;
* write-ahead log: a commit belongs to the operating system when it returns, a torn one is rolled
  back when the file is next opened. The log is put on the disk once a second, so that even a loss
  of power takes no more than the last second's trials, and never the study;
* the lock is SQLite's own on `study.lock`, held by the operating system: it ends with its holder;
* at rest (closed normally) the study is one file, in rollback mode, that can be read or copied
  without its folder being writable.

Every row carries a check sum, as SQLite notices damaged pages but not a changed digit.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hwflow.errors import StudyError

STUDY_FILE = "study.db"
LOCK_FILE = "study.lock"
SCRATCH_FILE = "study.db.new"
SCHEMA = 1
APPLICATION = 0x68776677
"""What SQLite's application_id says of our files: "hwfw"."""

OWN_FILES = frozenset(
    {STUDY_FILE, f"{STUDY_FILE}-wal", f"{STUDY_FILE}-shm", f"{STUDY_FILE}-journal"}
    | {SCRATCH_FILE, f"{SCRATCH_FILE}-journal", LOCK_FILE, f"{LOCK_FILE}-journal"}
    | {"run.toml", "front.csv", "report.html"}
)
"""What a folder may hold that is to become a run folder: traces of an earlier start."""

TABLES = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT, checksum TEXT);
CREATE TABLE sessions (started REAL, pid INTEGER, host TEXT, provenance TEXT,
                       checksum TEXT);
CREATE TABLE answers (key TEXT PRIMARY KEY, value TEXT, checksum TEXT);
CREATE TABLE trials (plan TEXT PRIMARY KEY, number INTEGER UNIQUE, total TEXT, quality REAL,
                     infeasible TEXT, seed INTEGER, cpu_seconds REAL, started REAL, elapsed REAL,
                     checksum TEXT);
"""

Row = tuple[Any, ...]
_HEAD = 100
"""Bytes of an SQLite file before its first page."""


def sealed(row: Sequence[Any]) -> Row:
    """Return the row with its check sum as the last entry."""
    return (*row, _checksum(row))


def _checksum(row: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(list(row)).encode()).hexdigest()[:16]


def insert(db: sqlite3.Connection, table: str, rows: Sequence[Row], how: str = "INSERT") -> None:
    """Write rows in one transaction; `how` may be "REPLACE", for rows whose key is known."""
    marks = ", ".join("?" * (len(rows[0]) + 1)) if rows else ""
    with guarded(db), transaction(db):
        db.executemany(f"{how} INTO {table} VALUES ({marks})", map(sealed, rows))


def rows_of(db: sqlite3.Connection, table: str) -> list[Row]:
    """Read a table in the order of writing, without its check sums, which must agree."""
    with guarded(db):
        rows = db.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()
    for *row, checksum in rows:
        if _checksum(row) != checksum:
            raise damaged(_name(db), f"a row of its table {table} was changed")
    return [row[:-1] for row in rows]


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit at the end, roll back on an error."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _name(place: str | Path | sqlite3.Connection) -> str:
    if isinstance(place, sqlite3.Connection):
        return str(place.execute("PRAGMA database_list").fetchone()[2]) or "the study in memory"
    return str(place)


@contextmanager
def guarded(where: str | Path | sqlite3.Connection) -> Iterator[None]:
    """Turn SQLite's errors and those of the file system into a StudyError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StudyError(
            f"Cannot read or write {_name(where)}: {error}. "
            "Check that the folder may be written to and the disk has space."
        ) from error
    except sqlite3.DatabaseError as error:
        raise damaged(_name(where), str(error)) from error
    except OSError as error:
        raise StudyError(
            f"Cannot read or write {_name(where)}: {error.strerror}. "
            "Give a folder that may be written to (--out)."
        ) from error


def damaged(where: str | Path, why: str) -> StudyError:
    """Return the error for a file that cannot be trusted."""
    return StudyError(
        f"{where} is damaged: {why}. Nothing was changed. "
        "Put back a copy of it, or start again in another folder."
    )


def check_folder(folder: Path) -> None:
    """Raise StudyError unless `folder` is absent, empty or a run folder. Touches nothing."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise StudyError(f"{folder} is a file. Give the name of a folder for the run.")
    with guarded(folder):
        foreign = sorted(entry.name for entry in folder.iterdir() if entry.name not in OWN_FILES)
    if foreign and not (folder / STUDY_FILE).exists():
        shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise StudyError(
            f"{folder} is no run folder: it holds {shown} and no {STUDY_FILE}. "
            "Nothing was touched. Give an empty or a new folder."
        )


def check_file(path: Path) -> sqlite3.Connection:
    """Open a study for reading only, after checking that it is one, whole and of our schema."""
    _check_head(path)
    torn = path.with_name(f"{STUDY_FILE}-journal").exists()  # closing was cut short: undo it
    db = _open(path, "rw" if torn else "ro")
    try:
        with guarded(path):
            _check_kind(db, path)
            problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise damaged(path, problem.splitlines()[-1])
    except BaseException:
        db.close()
        raise
    return db


def _check_head(path: Path) -> None:
    """See without SQLite whether this is one of its files: it would take an empty one as new."""
    if not path.is_file():
        raise StudyError(f"{path.parent} is no run folder: it has no {STUDY_FILE}.")
    with guarded(path), path.open("rb") as file:
        head = file.read(_HEAD)
    if len(head) < _HEAD:
        raise damaged(path, f"it has only {len(head)} bytes")
    if not head.startswith(b"SQLite format 3\0"):
        raise damaged(path, "it is no SQLite file")


def _check_kind(db: sqlite3.Connection, path: Path) -> None:
    application = db.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION:
        raise StudyError(
            f"{path} was not made by hwflow. Nothing was touched. Give another folder."
        )
    schema = db.execute("PRAGMA user_version").fetchone()[0]
    if schema > SCHEMA:
        raise StudyError(
            f"{path} was made by a newer hwflow (schema {schema}, this one reads up to {SCHEMA}). "
            "Update hwflow, or start again in another folder."
        )


def connect(path: Path) -> sqlite3.Connection:
    """Open an existing study for writing, with the write-ahead log."""
    db = _open(path, "rw")
    with guarded(path):
        db.execute("PRAGMA journal_mode=WAL")
    return db


def flush(db: sqlite3.Connection, at_once: bool) -> None:
    """Say whether commits put the log, and all before them in it, on the disk."""
    with guarded(db):
        db.execute(f"PRAGMA synchronous={'FULL' if at_once else 'NORMAL'}")


def _open(path: Path, mode: str) -> sqlite3.Connection:
    with guarded(path):
        name = f"file:{quote(str(path.absolute()))}?mode={mode}"
        return sqlite3.connect(name, uri=True, isolation_level=None)


def lock(folder: Path, holder: Callable[[], str]) -> sqlite3.Connection:
    """Become the only writer of the folder; StudyError with `holder()` when there is another."""
    path = folder / LOCK_FILE
    with guarded(folder):
        folder.mkdir(parents=True, exist_ok=True)
        taken = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        taken.execute("PRAGMA journal_mode=OFF")
        taken.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        taken.close()
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            raise StudyError(
                f"Another search is writing to {folder}{holder()}. "
                "Wait until it ends, or give another folder."
            ) from None
        raise StudyError(
            f"Cannot write to {folder}: {error}. Give a folder that may be written to."
        ) from error
    return taken


def create(folder: Path, settings: Sequence[Row]) -> None:
    """Make the study of a locked folder, with its settings, in one step."""
    scratch = folder / SCRATCH_FILE
    with guarded(folder):
        scratch.unlink(missing_ok=True)
        db = sqlite3.connect(scratch, isolation_level=None)
    try:
        make_tables(db, settings)
    finally:
        db.close()
    with guarded(folder):
        scratch.replace(folder / STUDY_FILE)


def make_tables(db: sqlite3.Connection, settings: Sequence[Row]) -> None:
    """Make the tables of a new study in an empty database."""
    with guarded(db):
        db.executescript(
            f"BEGIN; {TABLES} PRAGMA application_id={APPLICATION}; "
            f"PRAGMA user_version={SCHEMA}; COMMIT;"
        )
    insert(db, "settings", settings)


def close(db: sqlite3.Connection) -> None:
    """Close a study; where nobody else reads it, everything is put back into its one file."""
    with suppress(sqlite3.OperationalError):  # a reader is there: the log stays for now
        db.execute("PRAGMA busy_timeout=0")
        db.execute("PRAGMA journal_mode=DELETE")
    db.close()


def in_memory() -> sqlite3.Connection:
    """Make a database that ends with its connection."""
    return sqlite3.connect(":memory:", isolation_level=None)
