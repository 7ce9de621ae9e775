"""What the scripts on the fine level share: CPU time from empty caches, and rows that are kept.

Rows are JSON, one a line. Each says what was measured, under which sources of the fine level and on
which processor, so a run that was stopped goes on where it was, and a row of older sources is
measured again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import hwflow

T = TypeVar("T")
Row = dict[str, Any]


@cache
def processor() -> str:
    """Return the number of cores, the vectors that compiled code may use and the architecture."""
    try:
        words = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        words = []
    vectors = "AVX2 " if "avx2" in words else ""
    return f"{os.cpu_count()}-core {vectors}{platform.machine().replace('_', '-')}"


@cache
def sources() -> str:
    """Return a digest of what decides the figures: the fine level and the machines."""
    root = Path(hwflow.__file__).parent
    files = sorted([*root.glob("costs/fine/*.py"), *root.glob("machines/*.yaml")])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def cold() -> None:
    """Empty what the fine level remembers in this process."""
    for name, module in list(sys.modules.items()):
        if name.startswith("hwflow.costs.fine."):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
    from hwflow.costs.fine import rates

    rates._KEPT.clear()


def cpu_ms(call: Callable[[], T], repeat: int = 1, fresh: bool = True) -> tuple[float, T]:
    """Return the median CPU milliseconds of a call, each from empty caches if `fresh`, and it."""
    times = []
    for _ in range(repeat):
        if fresh:
            cold()
        start = time.process_time()
        value = call()
        times.append((time.process_time() - start) * 1e3)
    return statistics.median(times), value


class Rows:
    """Rows in a file, each known by the values of its first fields."""

    def __init__(self, path: Path, fresh: bool = False) -> None:
        """Read the rows that a file holds, none if `fresh`."""
        self.path = path
        if fresh:
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.known = {_key(row["what"], row["code"]): row for row in read(path)}

    def measure(self, what: Row, measure: Callable[[], Row], code: str | None = None) -> Row:
        """Return the row of `what`, measured and written unless it is known."""
        code = code or sources()
        key = _key(what, code)
        if key not in self.known:
            row = {"what": what, **measure(), "code": code, "processor": processor()}
            self.known[key] = row
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        return self.known[key]


def _key(what: Row, code: str) -> str:
    return json.dumps([what, code], sort_keys=True)


def read(path: Path) -> list[Row]:
    """Return the rows of a file; of equal ones the last."""
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return list({_key(row["what"], ""): row for row in rows}.values())


def progress(done: int, whole: int, words: Iterable[object]) -> None:
    """Say how far a run is, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{done}/{whole} {' '.join(map(str, words))}".ljust(78), end="", file=sys.stderr)
