"""A machine with some figures changed: the accelerator as part of a search.

    varied(machine, {"array.rows": 16, "GLB.size": "64 KiB", "engine": "bitfusion"})

Key paths are those of the machine's file; a memory level may be named without "memory." before it.
What depends on a changed figure changes with it:

- a memory of another size takes sqrt(new / old) times the energy per access and new / old times the
  area. Assumption: bit and word lines grow with the side of a square array. The published pairs of
  scratchpad and buffer have exponents of 0.32 (ISCA 2016: 1 and 6 MACs at 0.5 and 128 kB) and 0.50
  (JSSC 2017: 1 and 15 pJ at 0.5 and 108 kB), the public line 1 + 5/99.5 (kB - 0.5) has 0.87 at
  128 kB: half lies among them;
- another engine brings its own MAC energy and PE area, from the machine whose name is the value;
  figures of the engine are then those of the new one, whatever the order they are given in;
- a multiplier of another width, or a unit with more lanes, takes as much more energy per cycle
  (where the machine states energy per cycle) and PE area (where it states one). Widths: by the
  slope of the fixed MACs at 45 nm, 0.041, 0.082, 0.203 and 0.603 pJ at 2, 4, 8 and 16 bits, and for
  the area by HCM's fit. Lanes: in proportion, an assumption.

Everything else stays as it was, bandwidths too, unless it is varied itself. Engines come from their
own presets: their energies may be of another process, which their sources say.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log2, sqrt
from typing import Any

from hwflow.errors import MachineError, unknown_name
from hwflow.machine.accelerator import Accelerator, load_machine, machine_names
from hwflow.machine.area import mac_area_um2
from hwflow.machine.device import Device
from hwflow.machine.file import checked
from hwflow.machine.hardware import Store

ENGINE = "engine"
"""The path whose value names the machine that the engine is taken from."""

_WITH_ENGINE = ("engine", "mac_energy", "pe_area")
_UNITS = {False: "joules", True: "multiples of one MAC's"}
"""Of energies, by whether the machine's are relative."""
_ACCESSES = ("read", "write")
_WIDTHS, _MAC_PJ = (2, 4, 8, 16), (0.041, 0.082, 0.203, 0.603)
"""Bits and pJ of fixed multipliers with accumulators at 45 nm (public code of Bit Fusion)."""


def varied(machine: Accelerator, values: Mapping[str, int | float | str]) -> Accelerator:
    """Return the machine with these figures; its name tells what was varied.

    Raises MachineError for a key path that the machine does not have, with the nearest, and for a
    value that its file would refuse.
    """
    plain, start = machine.model_dump(mode="json", by_alias=True), machine
    if ENGINE in values:
        _take_engine(plain, machine, str(values[ENGINE]))
        start = checked(machine.name, plain, Accelerator)
    for path, value in values.items():
        if path != ENGINE:
            _set(plain, start, path, value)
    changes = ", ".join(f"{path} {value}" for path, value in values.items())
    plain["name"] = f"{machine.name} ({changes})" if changes else machine.name
    return checked(machine.name, plain, Accelerator)


def of_engine(path: str) -> bool:
    """Tell whether a figure comes with the engine, such as "engine.word"."""
    return path.split(".")[0] in _WITH_ENGINE


def _take_engine(plain: dict[str, Any], machine: Accelerator, name: str) -> None:
    source = _machine_with(name)
    if isinstance(source, Device):
        raise MachineError(f"engine: {name} is a measured device and has none. {_engines(machine)}")
    if source.relative != machine.relative:
        units = [_UNITS[one.relative] for one in (source, machine)]
        raise MachineError(
            f"engine: energies of {name} are {units[0]}, those of {machine.name} are {units[1]}, "
            f"so they cannot be added. {_engines(machine)}"
        )
    taken = source.model_dump(mode="json", by_alias=True)
    for key in _WITH_ENGINE:
        plain[key] = taken.get(key)


def _engines(machine: Accelerator) -> str:
    """Say which engines a machine can take."""
    known = [name for name in machine_names() if name != machine.name]
    alike = [name for name in known if load_machine(name).relative == machine.relative]
    return f"Allowed: {', '.join(alike)}." if alike else "Leave engine as it is."


def _machine_with(name: str) -> Accelerator:
    """Return the machine that an engine is taken from; MachineError for a kind of engine."""
    try:
        return load_machine(name)
    except MachineError as error:
        kind = name.replace("_", "-")
        having = [m for m in machine_names() if load_machine(m).engine.kind == kind]
        if not having:
            raise
        raise MachineError(
            f"engine: {name!r} is a kind of engine. Name a machine that has one, as its MAC energy "
            f"and PE area come with it: {', '.join(having)}."
        ) from error


def _set(plain: dict[str, Any], machine: Accelerator, path: str, value: int | float | str) -> None:
    holder, key = _holder(plain, machine, path)
    old = holder[key]
    source = f"varied from {_text(old)}: {old['source']}" if isinstance(old, dict) else "varied"
    holder[key] = {"value": value, "source": source}
    if key == "size" and isinstance(old, dict):
        _scale(holder, machine, path, old)
    if path in ("engine.word", "engine.lanes") and isinstance(old, dict):
        new = dict(checked(machine.name, plain, Accelerator).figures())[path]
        _scale_pe(plain, key, float(old["value"]), float(new.value))


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
        holder[key] = _times(holder[key], sqrt(ratio), "the root of the sizes' ratio (assumption)")
    if holder.get("area"):
        holder["area"] = _times(holder["area"], ratio, "the sizes' ratio (assumption)")


def _scale_pe(plain: dict[str, Any], key: str, old: float, new: float) -> None:
    """Change energy per cycle and a given PE area with the width, or the lanes, of the engine."""
    if key == "lanes":
        energy = area = new / old
        what = "the lanes' ratio (assumption)"
    else:
        energy = _fixed_mac_pj(new) / _fixed_mac_pj(old)
        area = mac_area_um2(int(new)) / mac_area_um2(int(old))
        what = "the ratio of fixed MACs of these widths"
    spent = plain["mac_energy"]
    if spent["kind"] == "per-cycle":
        spent["energy"] = _times(spent["energy"], energy, what)
    if plain.get("pe_area"):
        plain["pe_area"] = _times(plain["pe_area"], area, what)


def _fixed_mac_pj(bits: float) -> float:
    """Return the energy of a fixed MAC at 45 nm: a power of the width between published ones."""
    low = max((b for b in _WIDTHS if b <= bits), default=_WIDTHS[0])
    place = min(_WIDTHS.index(low), len(_WIDTHS) - 2)
    (first, second), (cheap, dear) = _WIDTHS[place : place + 2], _MAC_PJ[place : place + 2]
    return float(cheap * (bits / first) ** (log2(dear / cheap) / log2(second / first)))


def _times(figure: dict[str, Any], factor: float, what: str) -> dict[str, Any]:
    source = f"{figure['source']}; times {factor:.4g}, {what}"
    return {**figure, "value": figure["value"] * factor, "source": source}


def _bits(machine: Accelerator, holder: dict[str, Any], size: dict[str, Any], path: str) -> float:
    keys = ("word", "read", "write")
    plain = {"size": size, **{key: holder[key] for key in keys}}
    return checked(f"{machine.name}: {path}", plain, Store).bits


def _text(figure: object) -> str:
    if not isinstance(figure, dict):
        return str(figure)
    return f"{figure['value']:g} {figure.get('unit', '')}".strip()
