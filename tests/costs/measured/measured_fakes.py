"""A runtime and a clock that do not depend on the computer."""

from __future__ import annotations

from pathlib import Path

from hwflow.costs.measured.fill import Measuring
from hwflow.costs.measured.timing import Repetitions
from hwflow.machine import Device


class Ticks:
    """Time that passes only when a fake network runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def cpu(self) -> float:
        return self.now

    def wall(self) -> float:
        return 2 * self.now


class FakeRuntime:
    """Runs a network in 1 µs, and 1 ns more for each byte of the file; remembers what it loaded."""

    def __init__(self, ticks: Ticks, dies_after: int | None = None) -> None:
        self.loads: list[str] = []
        self._ticks, self._dies_after = ticks, dies_after

    def loaded(self, model):
        if self._dies_after is not None and len(self.loads) >= self._dies_after:
            raise KeyboardInterrupt
        self.loads.append(model.name if isinstance(model, Path) else model.graph.name)
        size = model.stat().st_size if isinstance(model, Path) else model.ByteSize()

        def run() -> None:
            self._ticks.now += 1e-6 + size * 1e-9

        return run


def fake_measuring(dies_after: int | None = None) -> Measuring:
    ticks = Ticks()
    return Measuring(Repetitions(rounds=3), FakeRuntime(ticks, dies_after), ticks)


def fake_device(folder: Path, name: str = "table.sqlite", **fields) -> Device:
    return Device(name="fake", table=folder / name, **fields)
