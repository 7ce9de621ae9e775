"""A study: the run folder that keeps every trial of a search, which may be killed at any moment.

    with Study.start("runs/r20", settings) as study:      # makes it, or goes on with it
        study.add(trial)                                   # committed when it returns
    Study.read("runs/r20").front().pick("knee")

The settings that decide what the trials mean are recorded once; going on with others is refused
with the reason. The evaluation budget and the number of workers are no part of them.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import platform
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from hwflow.cost import METRICS
from hwflow.errors import HwflowError, StudyError
from hwflow.front import Front, Trial
from hwflow.problem import QUALITY
from hwflow.space import Plan, Space
from hwflow.study import file as files
from hwflow.study.file import STUDY_FILE

__all__ = ["STUDY_FILE", "Study", "trial_seed", "write_csv"]

UNNUMBERED = -1
"""Number of trials that were not feasible: they were costed, not evaluated."""

FLUSH_EVERY = 1.0
"""Seconds of trials that a loss of power may take; the end of the process takes none."""


def trial_seed(seed: int, plan: Plan) -> int:
    """Return a trial's seed: the first 8 bytes of SHA-256 of study seed and plan, without sign."""
    digest = hashlib.sha256(json.dumps([seed, list(plan)]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Study:
    """All trials of one search, and what they were made with. Make one with `start` or `read`."""

    def __init__(
        self, db: sqlite3.Connection, folder: Path | None, lock: sqlite3.Connection | None = None
    ) -> None:
        self.folder = folder
        self._db: sqlite3.Connection | None = db
        self._lock = lock
        self.settings: dict[str, Any] = {
            key: json.loads(value) for key, value in files.rows_of(db, "settings")
        }
        """What the trials were made with."""
        self._flushed, self._flushing = -FLUSH_EVERY, False
        self._sessions = files.rows_of(db, "sessions")
        self._answers: dict[str, str] = dict(files.rows_of(db, "answers"))
        rows = files.rows_of(db, "trials")
        self._trials = {trial.plan: trial for trial in map(_trial, rows)}
        self._numbers = {t.number for t in self._trials.values() if t.quality is not None}
        self.elapsed: float = max((row[8] for row in rows), default=0.0)
        """Seconds that searching took, up to the last trial, breaks left out."""

    @classmethod
    def start(
        cls,
        out: Path | str | None,
        settings: Mapping[str, Any],
        provenance: Mapping[str, Any] | None = None,
    ) -> Study:
        """Make the study of a run folder, or go on with the one that is there, as its only writer.

        Without `out` it is kept in memory. StudyError when the folder is a file, read-only or
        another's, when the study is damaged, of a newer hwflow or of other settings, and when
        another process is writing to it; then nothing was changed.
        """
        wanted = json.loads(json.dumps(dict(settings)))
        rows = [(key, json.dumps(value)) for key, value in wanted.items()]
        if out is None:
            db = files.in_memory()
            files.make_tables(db, rows)
            study = cls(db, None)
        else:
            study = cls._start_in(Path(out), wanted, rows)
        study._open_session(provenance or {})
        return study

    @classmethod
    def _start_in(cls, folder: Path, wanted: dict[str, Any], rows: Sequence[files.Row]) -> Study:
        files.check_folder(folder)
        path = folder / STUDY_FILE
        if path.exists():
            _refuse_changes(cls.read(folder).settings, wanted, folder)
        lock = files.lock(folder, lambda: _holder(folder))
        try:
            if not path.exists():
                files.create(folder, rows)
            study = cls(files.connect(path), folder, lock)
            _refuse_changes(study.settings, wanted, folder)
        except BaseException:
            lock.close()
            raise
        return study

    @classmethod
    def read(cls, folder: Path | str) -> Study:
        """Read a study as it is now, also while a search is writing to it."""
        place = Path(folder)
        if not place.is_dir():
            raise StudyError(f"There is no run folder {place}.")
        db = files.check_file(place / STUDY_FILE)
        try:
            study = cls(db, place)
        finally:
            db.close()
        study._db = None
        return study

    def __enter__(self) -> Study:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._trials)

    def __contains__(self, plan: object) -> bool:
        return plan in self._trials

    def __getitem__(self, plan: Plan) -> Trial:
        return self._trials[plan]

    def get(self, plan: Plan) -> Trial | None:
        """Return the trial of a plan, None where there is none."""
        return self._trials.get(plan)

    def close(self) -> None:
        """Let go of the files; trials can still be read from memory."""
        if self._db is not None:
            files.close(self._db)
        if self._lock is not None:
            self._lock.close()
        self._db = self._lock = None

    def add(self, trial: Trial, *, started: float = 0.0, elapsed: float | None = None) -> None:
        """Commit one trial: when this returns, the end of the process does not lose it.

        `started` is in seconds since 1970, `elapsed` in seconds of searching (see `elapsed`).
        """
        self.add_all([trial], started=started, elapsed=elapsed)

    def add_all(
        self, trials: Sequence[Trial], *, started: float = 0.0, elapsed: float | None = None
    ) -> None:
        """Commit trials together: all of them or none.

        A plan is recorded once; one that was only costed again when it is evaluated after all.
        """
        for trial in trials:
            self._check_new(trial)
        spent = self.elapsed if elapsed is None else elapsed
        self._flush_in_time()
        rows = [_row(trial, started, spent) for trial in trials]
        files.insert(self._writable(), "trials", rows, "REPLACE")
        self.elapsed = max(self.elapsed, spent)
        for trial in trials:
            self._trials[trial.plan] = trial if trial.space is None else replace(trial, space=None)
            if trial.quality is not None:
                self._numbers.add(trial.number)

    def _flush_in_time(self) -> None:
        now = time.monotonic()
        due = now - self._flushed >= FLUSH_EVERY
        if due != self._flushing:
            files.flush(self._writable(), due)
        self._flushing = due
        self._flushed = now if due else self._flushed

    def _check_new(self, trial: Trial) -> None:
        known, evaluated = self._trials.get(trial.plan), trial.quality is not None
        again = known is not None and (known.quality is not None or not evaluated)
        if again or (evaluated and trial.number in self._numbers):
            raise StudyError(f"Trial #{trial.number} {list(trial.plan)} was recorded before.")
        if trial.quality is not None and not math.isfinite(trial.quality):
            raise StudyError(f"Trial #{trial.number} has the quality {trial.quality}.")

    def remember(self, key: str, value: Any) -> None:
        """Journal an answer (plain data) that is expensive to find again, under a key."""
        text = json.dumps(value)
        files.insert(self._writable(), "answers", [(key, text)], "REPLACE")
        self._answers[key] = text

    def recall(self, key: str) -> Any:
        """Return what was remembered under this key, None if nothing was."""
        return json.loads(self._answers.get(key, "null"))

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives of the search: "accuracy" and metric names."""
        return tuple(self.settings["objectives"])

    @property
    def provenance(self) -> dict[str, Any]:
        """What the first session said of itself: informational, never compared."""
        return dict(json.loads(self._sessions[0][3])) if self._sessions else {}

    @property
    def evaluated(self) -> int:
        """How many plans had their quality evaluated."""
        return len(self._numbers)

    @property
    def infeasible(self) -> int:
        """How many plans were found to be beyond the limits, and not evaluated."""
        return len(self._trials) - len(self._numbers)

    def free_number(self, wanted: int) -> int:
        """Return `wanted`, or if a trial has it, the number after all others."""
        return wanted if wanted not in self._numbers else max(self._numbers) + 1

    def trials(self) -> list[Trial]:
        """Return all trials: those evaluated by number, then the infeasible ones."""
        return sorted(self._trials.values(), key=lambda t: (t.quality is None, t.number))

    def front(self, space: Space | None = None) -> Front:
        """Return the front of the trials so far; with its `space` they can be built."""
        trials = [replace(t, space=space) for t in self.trials() if t.quality is not None]
        return Front.of(trials, self.objectives)

    def export_csv(self, path: Path | str) -> None:
        """Write the front as a table: trial, accuracy, every metric, every choice's value."""
        write_csv(self.front(), self.settings["space"], Path(path))

    def _writable(self) -> sqlite3.Connection:
        if self._db is None:
            raise StudyError("This study was opened for reading, or closed: use Study.start.")
        return self._db

    def _open_session(self, provenance: Mapping[str, Any]) -> None:
        text = json.dumps(dict(provenance), default=str)
        row = (time.time(), os.getpid(), platform.node(), text)
        files.insert(self._writable(), "sessions", [row])
        self._sessions.append(row)


def _row(trial: Trial, started: float, elapsed: float) -> files.Row:
    number = None if trial.quality is None else trial.number
    quality = None if trial.quality is None else float(trial.quality)
    return (
        json.dumps(list(trial.plan)), number, json.dumps(dict(trial.total)), quality,
        json.dumps(list(trial.infeasible)), trial.seed, float(trial.seconds), float(started),
        float(elapsed),
    )  # fmt: skip


def _trial(row: files.Row) -> Trial:
    plan, number, total, quality, infeasible, seed, seconds, *_ = row
    return Trial(
        number=UNNUMBERED if number is None else number,
        plan=tuple(json.loads(plan)),
        total=json.loads(total),
        quality=quality,
        seed=seed,
        seconds=seconds,
        infeasible=tuple(json.loads(infeasible)),
    )


def _holder(folder: Path) -> str:
    """Say who writes to a study, where that can be read."""
    with suppress(HwflowError):
        sessions = Study.read(folder)._sessions
        return f" (process {sessions[-1][1]} on {sessions[-1][2]})" if sessions else ""
    return ""


_MEANING = {
    "machine": "the machine's figures",
    "cost": "the cost model or its settings",
    "quality": "the quality measure or its data",
    "workload": "the network's layers",
    "network": "the network's weights or calibration inputs",
    "space": "the choices",
    "edits": "the edits",
    "solver": "the solver's settings",
    "seed": "the seed",
    "threads": "threads per evaluation",
    "versions": "an installed version",
}


def _refuse_changes(stored: dict[str, Any], given: dict[str, Any], folder: Path) -> None:
    for key in dict.fromkeys((*stored, *given)):
        change = next(_changes(key, stored.get(key), given.get(key)), None)
        if change is not None:
            name, old, new = change
            raise StudyError(
                f"{folder} holds a run with other settings ({_MEANING.get(key, key)}): "
                f"{name} was {old}, now it is {new}. Trials of both must not be mixed: "
                "go on with the old settings, or give another folder."
            )


def _changes(name: str, old: Any, new: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the innermost differences of plain data as (name, old, new)."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _changes(f"{name}.{key}", old.get(key), new.get(key))
    elif _named(old) and _named(new):
        yield from _changes(name, {c["name"]: c for c in old}, {c["name"]: c for c in new})
    elif old != new:
        yield name, json.dumps(old), json.dumps(new)


def _named(data: Any) -> bool:
    return isinstance(data, list) and all(isinstance(x, dict) and "name" in x for x in data)


def write_csv(front: Front, choices: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a front as a table, a row per trial; `choices` as Space.describe() gives them.

    The file is replaced when the new one is whole. SI units, as the metrics' names have them.
    """
    metrics = [name for name in METRICS if any(name in trial.total for trial in front)]
    names = [choice["name"] for choice in choices]
    scratch = path.with_name(f"{path.name}.new")
    with files.guarded(path):
        with scratch.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["trial", QUALITY, *metrics, *names])
            for trial in front:
                values = [c["options"][i] for c, i in zip(choices, trial.plan, strict=True)]
                costs = [trial.total.get(name, "") for name in metrics]
                table.writerow([trial.number, trial.quality, *costs, *values])
        scratch.replace(path)
