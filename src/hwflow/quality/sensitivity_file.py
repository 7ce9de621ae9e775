"""A measurement of sensitivities that can be stopped: what is known so far, in a JSON file."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwflow.errors import HwflowError
from hwflow.quality.replay import Replay, Sums
from hwflow.quality.sensitivity_table import Sensitivity, Spent, read_json, write_json
from hwflow.space import Plan

Change = tuple[int, int]
"""A place of a plan, and the option it gets."""


class Journal:
    """What was measured so far, in a file if there is one."""

    def __init__(self, file: Path | str | None, identity: dict[str, str]) -> None:
        self._path = None if file is None else Path(file)
        self._held: dict[str, Any] = {"identity": identity, "sums": {}, "work": [0, 0, 0, 0.0]}
        if self._path is not None and self._path.exists():
            before = read_json(self._path)
            self._check(before.get("identity", {}), identity)
            self._held = before
        self._began = time.process_time()

    @property
    def finished(self) -> bool:
        """Whether everything was measured."""
        return "sensitivity" in self._held

    def measured(self, part: int, change: Change | None, plan: Plan, replay: Replay) -> Sums:
        """Return the sums of a change, measured now unless they are known."""
        key = f"{part} base" if change is None else f"{part} {change[0]} {change[1]}"
        if key not in self._held["sums"]:
            done = (replay.work.image_layers, replay.work.macs)
            self._held["sums"][key] = replay.sums(part, plan)
            layers, macs = replay.work.image_layers - done[0], replay.work.macs - done[1]
            now = time.process_time()
            spent = (1, layers, macs, now - self._began)
            self._began = now
            self._held["work"] = [a + b for a, b in zip(self._held["work"], spent, strict=True)]
            self._write()
        loss, divergence, right, images = self._held["sums"][key]
        return Sums(float(loss), float(divergence), int(right), int(images))

    def spent(self, replay: Replay) -> Spent:
        """Return the work of all, what was lost when it was stopped left out."""
        evaluations, layers, macs, seconds = self._held["work"]
        whole = replay.whole
        return Spent(evaluations // replay.parts, layers, macs, whole.image_layers, whole.macs,
                     seconds)  # fmt: skip

    def close(self, found: Sensitivity) -> None:
        """Keep the table; the sums it was made from are no longer needed."""
        self._held = {"identity": self._held["identity"], "sensitivity": asdict(found)}
        self._write()

    def _write(self) -> None:
        if self._path is not None:
            write_json(self._path, self._held)

    def _check(self, before: dict[str, str], now: dict[str, str]) -> None:
        for name, digest in now.items():
            if before.get(name) != digest:
                raise HwflowError(
                    f"{self._path} holds sensitivities of another {name} "
                    f"({before.get(name)} there, {digest} here). Give another file, or the "
                    "arguments that began this one."
                )
