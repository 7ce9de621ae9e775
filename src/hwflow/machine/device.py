"""A device: a machine whose latencies are measured through a runtime, not modelled.

    kind: device
    description: This computer's processor through ONNX Runtime
    runtime: onnxruntime
    threads: 1

Its table of latencies is this user's, or the file named by `table`; that file may be a CSV that
came back from a phone. Nothing else is known of a device: neither its energy nor its array.
"""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from hwflow.errors import MachineError
from hwflow.machine.figures import Sealed
from hwflow.machine.latencies import LatencyTable, read_csv, user_table

MEASURING = ("onnxruntime", "torch", "openvino")
"""Runtimes that hwflow itself can measure on."""

Clock = Literal["cpu", "wall"]

MODELLED = frozenset(
    [
        "array",
        "area_parts",
        "area_um2",
        "dataflow",
        "dram",
        "dram_bytes_per_s",
        "dram_j_per_bit",
        "engine",
        "fpga_resources",
        "idle_power",
        "idle_w",
        "mac_energy",
        "mac_energy_j",
        "macs_per_cycle",
        "memory",
        "native",
        "onchip_bits",
        "packing",
        "partial_sum_bits",
        "pe_area",
        "peak_macs_per_s",
        "pes",
        "psum_bits",
        "scratchpads",
        "stored_bits",
        "view",
        "clock_hz",
    ]
)
"""What a modelled machine has and a device has not."""


class NotModelledError(MachineError, AttributeError):
    """Something that only a modelled machine has was asked of a device."""


class Device(Sealed):
    """A measured machine; see the module."""

    kind: Literal["device"] = "device"
    name: str
    description: str = ""
    runtime: str = "onnxruntime"
    """A runtime that hwflow measures on, or what was used elsewhere."""
    runtime_version: str | None = None
    """None: of the one that is installed here."""
    provider: str = "CPUExecutionProvider"
    threads: int = Field(default=1, ge=1)
    processor: str | None = None
    """None: this computer's."""
    table: Path | None = None
    """Latencies, .sqlite or .csv; None: this user's."""
    read_only: bool = False
    """Whether the table is all there is, because the device is elsewhere."""

    native_bits: Literal[32] = 32
    """Of operands that nobody quantised, which are float32."""
    relative: Literal[False] = False
    zero_gating: Literal[False] = False

    def __getattr__(self, item: str) -> Any:
        """Say so where a modelled level asks for what a device does not have."""
        if item in MODELLED:
            raise NotModelledError(
                f"{self.name} is a measured device: it has no {item.replace('_', ' ')}. "
                "Use --level measured there, or name a modelled machine (hwflow list machines)."
            )
        return super().__getattr__(item)  # type: ignore[misc]  # pydantic has one at run time

    @property
    def clock(self) -> Clock:
        """CPU time where one thread of a CPU does the work, else wall time."""
        return "cpu" if self.threads == 1 and self.provider.startswith("CPU") else "wall"

    @property
    def measurable(self) -> bool:
        """Whether latencies that are missing can be measured on this computer."""
        here = self.processor is None or self.processor == this_processor()
        return here and not self.read_only and self.runtime in MEASURING

    @property
    def setting(self) -> str:
        """What latencies hold for, as JSON."""
        plain = {
            "runtime": self.runtime,
            "version": self.runtime_version or _version(self.runtime),
            "provider": self.provider,
            "threads": self.threads,
            "processor": self.processor or this_processor(),
        }
        return json.dumps(plain, sort_keys=True)

    @cached_property
    def latencies(self) -> LatencyTable:
        """The table of latencies, opened; a CSV is read into one in memory."""
        path = self.table or user_table()
        if path.suffix != ".csv":
            if self.read_only and not path.exists():
                raise MachineError(f"{self.name}: there is no table of latencies {path}.")
            return LatencyTable(path, self.setting)
        table = LatencyTable(Path(":memory:"), self.setting)
        table.add(read_csv(path))
        table.keep("id", hashlib.sha256(path.read_bytes()).hexdigest())
        return table

    @property
    def channel_step(self) -> int:
        """Multiples of channels at which latency was seen to step; MachineError if not sought."""
        found = self.latencies.fact("channel_step")
        if found is None:
            raise MachineError(
                f"At how many channels the latency of {self.name} steps is not known. Find it: "
                f"hwflow profile --staircase conv:64 --on {self.name}; or give a number."
            )
        return int(found)

    def width(self, bits: ArrayLike) -> Any:
        """Return the bits that an operand is counted at: its own."""
        return np.asarray(bits, np.int64)

    def figures(self) -> list[tuple[str, Any]]:
        """Return nothing: a device has no figures, it is measured."""
        return []

    def rows(self) -> list[tuple[str, str]]:
        """Return what latencies were measured with, as (name, text)."""
        found = json.loads(self.setting)
        return [
            ("runtime", f"{found['runtime']} {found['version']}"),
            ("provider", str(found["provider"])),
            ("threads", str(found["threads"])),
            ("processor", str(found["processor"])),
            ("time", "CPU time of the calling thread" if self.clock == "cpu" else "wall time"),
        ]

    def summary(self) -> dict[str, Any]:
        """Return what tells machines apart; what is not known of a device is None."""
        unknown = dict.fromkeys(("pes", "peak_macs_per_s", "onchip_bytes", "area_um2"))
        return {
            "name": self.name,
            "description": self.description,
            "engine": "device",
            **unknown,
            **dict(self.rows()),
        }

    def digest(self) -> str:
        """Return the SHA-256 of the setting and of what decides the table's latencies."""
        text = json.dumps([self.setting, self.latencies.stamp()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@cache
def this_processor() -> str:
    """Return the name of this computer's processor and how many cores may be used."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(_field(line) for line in reversed(lines) if ":" in line)
    name = fields.get("model name") or platform.machine()
    family = "/".join(fields[key] for key in ("cpu family", "model", "stepping") if key in fields)
    wide = [flag for flag in ("avx2", "avx512f", "avx512_vnni") if flag in fields.get("flags", "")]
    return f"{name} ({', '.join([family, *wide])})"


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


@cache
def _version(runtime: str) -> str:
    try:
        return version(runtime)
    except PackageNotFoundError:
        return "unknown"
