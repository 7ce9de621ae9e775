"""A machine with some figures changed: the accelerator as part of a search.

    varied(machine, {"array.rows": 16, "GLB.size": "64 KiB", "engine": "bitfusion"})

Key paths are those of the machine's file; a memory level may be named without "memory." before it.
What depends on a changed figure changes with it:

- a memory of another size takes sqrt(new / old) times the energy per access and new / old times the
  area. Assumption: bit and word lines grow with the side of a square array;
- another engine brings its own MAC energy and PE area, from the machine whose name is the value.

Everything else stays as it was, bandwidths too, unless it is varied itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

from hwflow.errors import MachineError, unknown_name
from hwflow.machine.accelerator import Accelerator, load_machine
from hwflow.machine.file import checked
from hwflow.machine.hardware import Store

ENGINE = "engine"
"""The path whose value names the machine that the engine is taken from."""

_WITH_ENGINE = ("engine", "mac_energy", "pe_area")
_ACCESSES = ("read", "write")


def varied(machine: Accelerator, values: Mapping[str, int | float | str]) -> Accelerator:
    """Return the machine with these figures; its name tells what was varied.

    Raises MachineError for a key path that the machine does not have, with the nearest, and for a
    value that its file would refuse.
    """
    plain = machine.model_dump(mode="json", by_alias=True)
    for path, value in values.items():
        if path == ENGINE:
            _take_engine(plain, str(value))
        else:
            _set(plain, machine, path, value)
    changes = ", ".join(f"{path} {value}" for path, value in values.items())
    plain["name"] = f"{machine.name} ({changes})" if changes else machine.name
    return checked(machine.name, plain, Accelerator)


def _take_engine(plain: dict[str, Any], name: str) -> None:
    source = load_machine(name).model_dump(mode="json", by_alias=True)
    for key in _WITH_ENGINE:
        plain[key] = source.get(key)


def _set(plain: dict[str, Any], machine: Accelerator, path: str, value: int | float | str) -> None:
    holder, key = _holder(plain, machine, path)
    old = holder[key]
    source = f"varied from {_text(old)}: {old['source']}" if isinstance(old, dict) else "varied"
    holder[key] = {"value": value, "source": source}
    if key == "size" and isinstance(old, dict):
        _scale(holder, machine, path, old)


def _holder(plain: dict[str, Any], machine: Accelerator, path: str) -> tuple[dict[str, Any], str]:
    """Return the mapping that holds a figure, and its key there."""
    known = [name for name, _ in machine.figures()]
    full = path if path in known else f"memory.{path}"
    if full not in known:
        short = [name.removeprefix("memory.") for name in known]
        raise MachineError(f"{machine.name}: {unknown_name('figure', path, [*short, ENGINE])}")
    *parents, key = full.split(".")
    place: Any = plain
    for parent in parents:
        place = _named(place, parent) if isinstance(place, list) else place[parent]
    return place, key


def _named(levels: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(level for level in levels if level["name"] == name)


def _scale(holder: dict[str, Any], machine: Accelerator, path: str, old: dict[str, Any]) -> None:
    """Change energy per access and area with the size."""
    ratio = _bits(machine, holder, holder["size"], path) / _bits(machine, holder, old, path)
    for key in _ACCESSES:
        holder[key] = _times(holder[key], sqrt(ratio), "the root of the sizes' ratio")
    if holder.get("area"):
        holder["area"] = _times(holder["area"], ratio, "the sizes' ratio")


def _times(figure: dict[str, Any], factor: float, what: str) -> dict[str, Any]:
    source = f"{figure['source']}; times {factor:.4g}, {what} (assumption)"
    return {**figure, "value": figure["value"] * factor, "source": source}


def _bits(machine: Accelerator, holder: dict[str, Any], size: dict[str, Any], path: str) -> float:
    keys = ("word", "read", "write")
    plain = {"size": size, **{key: holder[key] for key in keys}}
    return checked(f"{machine.name}: {path}", plain, Store).bits


def _text(figure: object) -> str:
    if not isinstance(figure, dict):
        return str(figure)
    return f"{figure['value']:g} {figure.get('unit', '')}".strip()
