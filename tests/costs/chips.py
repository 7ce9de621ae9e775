"""Machines for tests of the levels: a preset with a few figures changed."""

from __future__ import annotations

from typing import Any

from hwflow.machine import Accelerator, load_machine

NAMES = ("eyeriss", "simd-16", "bitfusion", "bismo", "systolic-8x8")
CHIPS = {name: load_machine(name) for name in NAMES}


def figure(value: object) -> dict[str, object]:
    return {"value": value, "source": "test"}


def tiny(buffer: str = "64 B", **changes: Any) -> Accelerator:
    """One fixed 8-bit multiplier at 1 Hz, a buffer, 1 byte/s; 1 J per MAC, 2 J per DRAM bit."""
    store = {"word": figure(16), "read": figure("2 J/b"), "write": figure("2 J/b")}
    plain = {
        "name": "tiny",
        "description": "for tests",
        "clock": figure("1 Hz"),
        "native_bits": figure(8),
        "engine": {"kind": "bit-parallel", "word": figure(8)},
        "mac_energy": {"kind": "per-cycle", "energy": figure("1 J")},
        "memory": [
            {"name": "DRAM", "size": "unlimited", "bandwidth": figure("1 B/s"), **store},
            {"name": "GLB", "size": figure(buffer), **store},
        ],
        "array": {
            "between": ["GLB", "PE"],
            "rows": figure(1),
            "cols": figure(1),
            "unroll_rows": [],
            "unroll_cols": [],
        },
        "dataflow": "free",
    }
    return Accelerator.model_validate({**plain, **changes})
