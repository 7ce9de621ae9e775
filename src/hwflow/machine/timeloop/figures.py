"""Figures of an imported architecture, each with the place it comes from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from hwflow.errors import MachineError
from hwflow.machine.accelerator import Accelerator
from hwflow.machine.hardware import Store
from hwflow.machine.timeloop.energies import Action
from hwflow.machine.timeloop.tagged import TAG, number, whole
from hwflow.machine.timeloop.tree import Part

_WIDTH = ("datawidth", "data_width", "word_bits", "word_width")
_ACCESS = ("width", "memory_width")
_DEPTH = ("depth", "memory_depth")
_USED = {
    *_WIDTH, *_ACCESS, *_DEPTH, TAG, "entries", "sizeKB", "size", "block_size", "read_bandwidth",
    "write_bandwidth", "shared_bandwidth", "multiple_buffering", "multiplier_width", "adder_width",
    "meshX", "meshY", "name", "class", "subclass", "attributes", "spatial", "constraints",
    "tensors", "actions", "instances", "global_cycle_seconds", "cycle_seconds", "n_instances",
}  # fmt: skip


def figure(value: str, source: str) -> dict[str, str]:
    """Return a figure in the form of our files."""
    return {"value": value, "source": source}


class Given:
    """Where figures come from: the architecture's file, or a preset for what it lacks."""

    def __init__(self, file: str, preset: Accelerator | None) -> None:
        self.file, self.preset = file, preset
        self.missing: list[str] = []

    def unused(self, part: Part) -> set[str]:
        """Return the attributes of a part that say something nothing here costs."""
        return {
            str(key) for key, value in part.attributes.items()
            if key not in _USED and value not in (None, False, "", 0)
        }  # fmt: skip

    def lacks(self, what: str) -> dict[str, str]:
        """Note a missing figure; the value stands only until the fault is told."""
        self.missing.append(what)
        return figure("1", "missing")

    def clock(
        self, attributes: Mapping[str, Any], plain: Mapping[str, Any], unit: Part
    ) -> dict[str, str] | None:
        """Return the clock: from the cycle's seconds, the latency of a MAC, or the preset."""
        variables = plain.get("variables")
        for place in (attributes, variables if isinstance(variables, Mapping) else {}):
            for key in ("global_cycle_seconds", "cycle_seconds"):
                if key in place:
                    hertz = _per_second(place[key], f"{self.file}: {key}")
                    return figure(f"{hertz:.10g} Hz", f"{self.file}: {key}")
        for action in unit.actions.values():
            if action.get("latency"):
                hertz = _per_second(action["latency"], f"{unit.name}: latency")
                return figure(f"{hertz:.10g} Hz", f"{self.file}: latency of {unit.name}")
        if self.preset is None:
            self.lacks("a clock (global_cycle_seconds)")
            return None
        source = f"preset {self.preset.name}: {self.preset.clock.source}"
        return figure(f"{self.preset.clock_hz:.10g} Hz", source)

    def width(self, unit: Part, memories: Iterable[Part]) -> int:
        """Return the bits of an operand: of the multiplier, or of the innermost memory's data."""
        bits = unit.get("multiplier_width", *_WIDTH, "width")
        for part in memories:
            bits = bits or part.get(*_WIDTH)
        if not bits:
            self.lacks(f"the width of {unit.name} (multiplier_width or datawidth)")
        return whole(bits or 1, f"{unit.name}: width")

    def preset_mac(self, what: str) -> dict[str, str]:
        """Return the preset's energy of a MAC at its native bits."""
        if self.preset is None:
            return self.lacks(what)
        native = self.preset.native_bits
        joules = float(self.preset.mac_energy_j(native, native))
        return figure(f"{joules * 1e12:.10g} pJ", f"preset {self.preset.name}: mac_energy")

    def preset_store(self, index: int | None, tensor: str | None) -> tuple[str, Store] | None:
        """Return the preset's memory of the same role: DRAM, the outermost buffer, scratchpads."""
        if self.preset is None:
            return None
        if index is not None:
            level = self.preset.memory[min(index, len(self.preset.memory) - 1)]
            return (level.name, level) if bool(index) == (level is not self.preset.dram) else None
        pads = self.preset.scratchpads.pads if self.preset.scratchpads else {}
        pad = pads.get(tensor or "shared") or next(iter(pads.values()), None)
        return ("scratchpads", pad) if pad else None


def _per_second(seconds: Any, where: str) -> float:
    """Return how often a second has so many seconds."""
    found = number(seconds, where)
    if not 0 < found < math.inf:
        raise MachineError(f"{where} is {seconds!r}: it must be above zero, and finite.")
    return 1 / found


def memory(
    part: Part,
    given: Given,
    accesses: Mapping[str, Action],
    index: int | None,
    tensor: str | None = None,
) -> dict[str, Any]:
    """Return size, word, energies and bandwidths of a memory; `index` is None for a scratchpad."""
    word = _word(part, accesses)
    made: dict[str, Any] = {
        "size": _size(part, given, outermost=index == 0),
        "word": figure(f"{word} b", f"{given.file}: width of {part.name}"),
    }
    for kind in ("read", "write"):
        made[kind] = _energy(part, given, accesses.get(kind), (kind, index, tensor))
    if index is not None:
        made |= _bandwidths(part, given, accesses)
        if index == 0 and "bandwidth" not in made:
            made["bandwidth"] = _preset_bandwidth(part, given)
    return made


def _word(part: Part, accesses: Mapping[str, Action]) -> int:
    """Return the bits of one access."""
    bits = part.get(*_ACCESS)
    block, data = part.get("block_size"), part.get(*_WIDTH)
    if bits is None and block and data:
        bits = block * data
    for action in accesses.values():
        bits = bits or action.bits
    return whole(bits or data or 1, f"{part.name}: width")


def _size(part: Part, given: Given, outermost: bool) -> Any:
    """Return a capacity; what has none, or an infinite one, is unlimited."""
    bits = _capacity(part)
    if outermost or (bits is not None and math.isinf(bits)):
        return "unlimited"
    if bits is None:
        return given.lacks(f"the size of {part.name} (depth and width)")
    source = f"{given.file}: {_said(part)}"
    return figure(f"{bits / 8:.10g} B", source)


def _capacity(part: Part) -> float | None:
    depth, width = part.get(*_DEPTH), part.get(*_ACCESS)
    kilobytes, entries = part.get("sizeKB"), part.get("entries")
    if kilobytes is not None:
        return kilobytes * 1024 * 8
    if depth is not None:
        data = part.get(*_WIDTH) or 0
        return depth * (width or (part.get("block_size") or 1) * data)
    if entries is not None:
        return entries * (part.get(*_WIDTH) or 0)
    return part.get("size")


def _said(part: Part) -> str:
    keys = (*_DEPTH, *_ACCESS, "sizeKB", "entries", "size", "block_size", *_WIDTH)
    given = [f"{key} {part.attributes[key]}" for key in keys if key in part.attributes]
    return f"{part.name}: {', '.join(given)}"


def _energy(
    part: Part, given: Given, action: Action | None, role: tuple[str, int | None, str | None]
) -> dict[str, str]:
    kind, index, tensor = role
    if action is not None:
        per = "word" if action.bits is None else f"{action.bits:g}b"
        return figure(f"{action.joules * 1e12:.10g} pJ/{per}", action.source)
    stand_in = given.preset_store(index, tensor)
    if stand_in is None or given.preset is None:
        return given.lacks(f"the {kind} energy of {part.name}")
    name, store = stand_in
    joules = store.read_j_per_bit if kind == "read" else store.write_j_per_bit
    return figure(f"{joules * 1e12:.10g} pJ/bit", f"preset {given.preset.name}: {name}.{kind}")


def _bandwidths(part: Part, given: Given, accesses: Mapping[str, Action]) -> dict[str, Any]:
    """Return the ports: words per cycle, or AccelForge's actions and seconds."""
    data = part.get(*_WIDTH) or 0
    found = {}
    for key in ("shared_bandwidth", "read_bandwidth", "write_bandwidth"):
        words = part.get(key)
        if words and data and not math.isinf(words):
            source = f"{given.file}: {key} of {part.name}, {words:g} words of {data:g} bits"
            found[key] = figure(f"{words * data / 8:.10g} B/cycle", source)
    found |= _rates(part, given, accesses)
    first = found.get("shared_bandwidth") or found.get("read_bandwidth")
    second = found.get("write_bandwidth")
    made = {"bandwidth": first or second}
    if first and second and "shared_bandwidth" not in found:
        made["write_bandwidth"] = second
    return {key: value for key, value in made.items() if value}


def _rates(part: Part, given: Given, accesses: Mapping[str, Action]) -> dict[str, Any]:
    """Return AccelForge's ports: bits per action over its latency, or times its throughput."""
    found = {}
    for kind, action in accesses.items():
        plain = part.actions.get(kind, {})
        latency, rate = plain.get("latency"), plain.get("throughput")
        where = f"{part.name}: {kind}"
        if latency is not None and number(latency, where):
            per_s = 1 / number(latency, where)
        elif rate is not None and not math.isinf(number(rate, where)):
            per_s = number(rate, where)
        else:
            continue
        source = f"{given.file}: action {kind} of {part.name}"
        found[f"{kind}_bandwidth"] = figure(f"{per_s * (action.bits or 1) / 8:.10g} B/s", source)
    return found


def _preset_bandwidth(part: Part, given: Given) -> dict[str, str]:
    if given.preset is None:
        return given.lacks(f"the bandwidth of {part.name} (shared_bandwidth)")
    per_s = given.preset.dram_bytes_per_s
    return figure(
        f"{per_s:.10g} B/s", f"preset {given.preset.name}: memory.{given.preset.dram.name}"
    )
