"""Whole ONNX files timed side by side, and whether one is really faster than another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwflow.costs.measured.fill import Measuring
from hwflow.costs.measured.timing import SPREAD, Clock, Ratio, Sample, interleaved, speedup
from hwflow.errors import HwflowError
from hwflow.machine import Device
from hwflow.units import show


@dataclass(frozen=True)
class FileTimes:
    """One file's times: quartiles of CPU and of wall time over the rounds, seconds."""

    name: str
    cpu_s: tuple[float, float, float]
    """Lower quartile, median, upper quartile."""
    wall_s: tuple[float, float, float]
    rounds: int
    clock: Clock

    @classmethod
    def of(cls, name: str, sample: Sample, clock: Clock) -> FileTimes:
        """Return the quartiles of a sample."""
        cpu, wall = sample.quartiles("cpu"), sample.quartiles("wall")
        return cls(name, cpu, wall, len(sample.cpu_s), clock)

    @property
    def quartiles_s(self) -> tuple[float, float, float]:
        """The quartiles by the clock that counts."""
        return self.cpu_s if self.clock == "cpu" else self.wall_s

    @property
    def latency_s(self) -> float:
        """The median."""
        return self.quartiles_s[1]

    @property
    def spread(self) -> float:
        """Interquartile range over the median."""
        low, middle, high = self.quartiles_s
        return (high - low) / middle if middle > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "file": self.name, "latency_s": self.latency_s, "clock": self.clock,
            "cpu_s": list(self.cpu_s), "wall_s": list(self.wall_s), "rounds": self.rounds,
            "spread": self.spread,
        }  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A file's times, and those of the file that it is held against."""

    file: FileTimes
    against: FileTimes | None
    speedup: Ratio | None
    """How many times faster the file is than `against`, with a 95 % interval."""
    device: Mapping[str, str]
    """What was measured on."""

    @property
    def faster(self) -> bool | None:
        """Whether it is faster beyond doubt; None where it is held against nothing."""
        return None if self.speedup is None else self.speedup.low > 1

    def sentences(self) -> list[str]:
        """Return what a reader must know: the speed-up, a wide spread, no gain."""
        found = []
        if self.speedup is not None and self.against is not None:
            found.append(self._verdict(self.speedup, self.against))
        for times in (self.file, self.against):
            if times is not None and times.spread > SPREAD:
                found.append(
                    f"The times of {times.name} spread by {100 * times.spread:.0f} % between their "
                    "quartiles: measure again with more --rounds, or with less else running."
                )
        return found

    def _verdict(self, ratio: Ratio, against: FileTimes) -> str:
        times = f"{ratio.value:.2f} times (95 % interval {ratio.low:.2f} to {ratio.high:.2f})"
        if ratio.low > 1:
            return f"{self.file.name} is {times} as fast as {against.name}."
        how = "slower than" if ratio.high < 1 else "not measurably faster than"
        return (
            f"NO SPEED-UP: {self.file.name} is {how} {against.name} on this device: {times} as "
            f"fast, {show(self.file.latency_s, 's')} against {show(against.latency_s, 's')}."
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        ratio = self.speedup
        return {
            "file": self.file.to_json(),
            "against": self.against.to_json() if self.against else None,
            "speedup": vars(ratio) if ratio else None,
            "faster": self.faster,
            "device": dict(self.device),
            "notes": self.sentences(),
        }


def measure(
    path: Path, against: Path | None, device: Device, measuring: Measuring | None = None
) -> Measured:
    """Time a file, side by side with another one where that is given.

    Raises HwflowError for a file that is missing or that the runtime refuses.
    """
    measuring = measuring or Measuring()
    paths = [path] if against is None else [path, against]
    _check(paths)
    engine = measuring.of(device)
    runs = {str(index): engine.loaded(each) for index, each in enumerate(paths)}
    samples = interleaved(runs, measuring.how, measuring.ticks)
    times = [FileTimes.of(p.name, samples[str(i)], device.clock) for i, p in enumerate(paths)]
    if against is None:
        return Measured(times[0], None, None, dict(device.rows()))
    before, after = (samples[key].times(device.clock).tolist() for key in ("1", "0"))
    return Measured(times[0], times[1], speedup(before, after), dict(device.rows()))


def _check(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.suffix != ".onnx" or not path.is_file():
            raise HwflowError(f"{path} is no ONNX file that exists. Give a path to net.onnx.")
