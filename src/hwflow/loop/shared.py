"""Qualities that several searches share: a network is scored once, whatever it is costed on.

A quality depends on the network, the space, the data and the metric; not on the machine, the level
of the cost model, the limits or the solver. Searches that agree in the former (levels refined one
after the other, solvers compared, one network on several machines) may share a file. What a search
takes from it counts in its budget as if it had been evaluated there.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwflow.errors import StudyError
from hwflow.loop.evaluate import Evaluator, Job, Outcome

if TYPE_CHECKING:
    from hwflow.quality import Quality

SAME = ("network", "workload", "edits", "space", "quality", "threads", "versions")
"""The settings of a run that decide what a plan is worth."""

WAIT = 60.0
"""Seconds to wait for another process that writes."""

_TABLE = "CREATE TABLE IF NOT EXISTS qualities (key TEXT PRIMARY KEY, quality REAL, cpu REAL)"


class Shared:
    """An evaluator that looks up what is known in a file, and adds what it finds."""

    def __init__(
        self, inner: Evaluator, path: Path | str, settings: Mapping[str, Any], quality: Quality
    ) -> None:
        """`settings` are those of the run. Raises StudyError when `path` is no such file."""
        self._inner = inner
        self._what = json.dumps([settings[key] for key in SAME], sort_keys=True)
        self._by_plan = bool(getattr(quality, "repeatable", False))
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(target, timeout=WAIT, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise StudyError(
                f"{target} cannot keep shared qualities: {error}. Name another file."
            ) from error

    def run(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield jobs as they are done, known ones at once."""
        known: list[tuple[Job, Outcome]] = []
        for job, outcome in self._inner.run(self._unknown(jobs, known)):
            yield from _drained(known)
            self._put(job, outcome)
            yield job, outcome
        yield from _drained(known)

    def close(self) -> None:
        """Stop what is running and close the file."""
        self._inner.close()
        self._db.close()

    def _unknown(self, jobs: Iterator[Job], known: list[tuple[Job, Outcome]]) -> Iterator[Job]:
        for job in jobs:
            row = self._db.execute(
                "SELECT quality, cpu FROM qualities WHERE key = ?", (self._key(job),)
            ).fetchone()
            if row is None:
                yield job
            else:
                known.append((job, Outcome(row[0], row[1], time.time())))

    def _put(self, job: Job, outcome: Outcome) -> None:
        row = (self._key(job), outcome.quality, outcome.cpu_seconds)
        self._db.execute("INSERT OR REPLACE INTO qualities VALUES (?, ?, ?)", row)

    def _key(self, job: Job) -> str:
        """A score that is no function of the plan alone is known for its seed only."""
        seed = "" if self._by_plan else str(job.seed)
        return hashlib.sha256(f"{self._what} {list(job.plan)} {seed}".encode()).hexdigest()


def _drained(known: list[tuple[Job, Outcome]]) -> Iterator[tuple[Job, Outcome]]:
    while known:
        yield known.pop(0)
