"""A Timeloop or AccelForge architecture as a machine file of ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hwflow.errors import MachineError
from hwflow.machine.accelerator import Accelerator, load_machine, machine_names
from hwflow.machine.file import checked
from hwflow.machine.timeloop.energies import (
    Action,
    Table,
    access,
    compute,
    leak,
    own_actions,
    table,
)
from hwflow.machine.timeloop.figures import Given, figure, memory
from hwflow.machine.timeloop.tagged import read
from hwflow.machine.timeloop.tree import Part, Tree, tree

_ORDER = "NKCPQRSG"


class _Spelled(yaml.SafeDumper):
    """YAML's safe dumper without anchors: what occurs twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return that nothing is to be written as an alias."""
        return True


@dataclass(frozen=True)
class Imported:
    """A machine read from another tool's files."""

    machine: Accelerator
    plain: dict[str, Any]
    """The machine in the form of our files."""
    notes: tuple[str, ...]
    """What the files say that has no equal here, and what was taken for what."""

    def text(self) -> str:
        """Return a machine file with the notes as comments above it."""
        heads = [f"# {line}" for note in self.notes for line in note.splitlines()]
        body = yaml.dump(
            self.plain,
            Dumper=_Spelled,
            sort_keys=False,
            allow_unicode=True,
            width=100,
            default_flow_style=None,
        )
        return "\n".join([*heads, body])

    def write(self, path: Path) -> None:
        """Write the machine file. Raises MachineError where that is not possible."""
        if path.suffix not in (".yaml", ".yml"):
            raise MachineError(f"{str(path)!r} is no machine file: its name must end in .yaml.")
        try:
            path.write_text(self.text(), encoding="utf-8")
        except OSError as error:
            raise MachineError(f"Cannot write {path}: {error}.") from error


def read_timeloop(
    *paths: str | Path, missing_from: str | None = None, name: str | None = None
) -> Imported:
    """Read an architecture, and energies where a file with an ERT is among `paths`.

    Figures that the files lack (energies, clock, off-chip bandwidth) are taken from the preset
    `missing_from`, with a source that says so. Raises MachineError for files that cannot be read,
    figures that are missing, and structures that have no equal here.
    """
    plain: dict[str, Any] = {}
    energies: Table = {}
    for path in map(Path, paths):
        one = read(path)
        energies |= table(one, path.name)
        plain |= one
    file = Path(paths[0]).name if paths else "no file"
    preset = load_machine(missing_from) if missing_from else None
    made = _Conversion(tree(plain), energies, Given(file, preset), plain)
    machine_plain = made.machine(name or Path(paths[0]).stem)
    if made.given.missing:
        raise MachineError(_asked(file, made.given.missing))
    machine = checked(f"{file}, converted", machine_plain, Accelerator)
    return Imported(machine, machine_plain, tuple(dict.fromkeys(made.notes)))


def _asked(file: str, missing: Iterable[str]) -> str:
    return (
        f"{file} lacks {', '.join(missing)}. Give the energy reference table (ERT) that Accelergy "
        "wrote as a further file, or take what is missing from a preset with --missing-from: "
        f"{', '.join(machine_names())}."
    )


class _Conversion:
    """The parts of an architecture in their roles; figures are collected in `given`."""

    def __init__(self, found: Tree, energies: Table, given: Given, plain: dict[str, Any]) -> None:
        self.tree, self.energies, self.given, self.plain = found, energies, given, plain
        self.notes = list(found.notes)
        self.unit = self._unit()
        self.levels, self.pads = self._memories()

    def machine(self, name: str) -> dict[str, Any]:
        """Return the machine in the form of our files."""
        clock = self.given.clock(self.tree.attributes, self.plain, self.unit)
        width = self.given.width(self.unit, [*self.pads, *reversed(self.levels)])
        word = figure(f"{width} b", f"{self.given.file}: width of {self.unit.name}")
        inside = "scratchpads" if self.pads else "PE"
        made = {
            "name": name,
            "description": f"Imported from {self.given.file}",
            "clock": clock,
            "native_bits": word,
            "engine": {"kind": "bit-parallel", "word": word},
            "mac_energy": {"kind": "per-cycle", "energy": self._mac_energy()},
            "memory": [self._level(part, index) for index, part in enumerate(self.levels)],
            "array": self._array([self.levels[-1].name, inside]),
            "dataflow": "free",
            **self._scratchpads(),
            **self._sums(width),
            **self._idle(clock),
        }
        self._note_rest()
        return made

    def _unit(self) -> Part:
        """Return the compute unit: the one with most copies."""
        units = [part for part in self.tree.parts if part.kind == "compute"]
        if not units:
            raise MachineError(
                f"{self.given.file}: no compute unit: no component has a class such as intmac, or "
                "the tag !Compute."
            )
        chosen = max(units, key=lambda part: part.copies)
        for other in units:
            if other is not chosen:
                self.notes.append(f"{other.name}: left out, {chosen.name} is the compute unit")
        return chosen

    def _memories(self) -> tuple[list[Part], list[Part]]:
        """Return the levels of one copy and the memories in every PE; note the others."""
        levels: list[Part] = []
        pads: list[Part] = []
        for part in self.tree.storages:
            if part.copies == 1 and not (pads and self.unit.copies == 1):
                levels.append(part)
            elif part.copies == self.unit.copies:
                pads.append(part)
            else:
                self.notes.append(
                    f"{part.name}: left out: {part.copies} copies for {self.unit.copies} compute "
                    "units; a memory here has one copy or one for each"
                )
        if not levels:
            raise MachineError(
                f"{self.given.file}: no memory of one copy that feeds the {self.unit.copies} "
                f"compute units. Its outermost storage must be one, such as a DRAM."
            )
        return levels, pads

    def _actions(self, part: Part) -> dict[str, Action]:
        return self.energies.get(part.name) or own_actions(part)

    def _mac_energy(self) -> dict[str, str]:
        action = compute(self._actions(self.unit))
        if action is None:
            return self.given.preset_mac(f"the energy of {self.unit.name}")
        return figure(f"{action.joules * 1e12:.10g} pJ", action.source)

    def _level(self, part: Part, index: int) -> dict[str, Any]:
        """Return a memory level; the first one is DRAM, of any size."""
        made = {"name": part.name, **memory(part, self.given, self._accesses(part), index)}
        if index:
            made["holds"] = list(self._holds(part))
        if (part.get("multiple_buffering") or 1) >= 2:
            made["double_buffered"] = True
        return made

    def _accesses(self, part: Part) -> dict[str, Action]:
        actions = self._actions(part)
        found = {kind: access(actions, kind) for kind in ("read", "write")}
        return {kind: action for kind, action in found.items() if action is not None}

    def _holds(self, part: Part) -> tuple[str, ...]:
        """Return the tensors that a memory keeps; what the mapper may choose is held."""
        everything = ("weights", "inputs", "outputs")
        if part.unread:
            self.notes.append(f"{part.name}: keep {part.unread!r} is taken as every tensor")
        if part.keep is None:
            return tuple(t for t in everything if t not in part.bypass) or everything
        free = [t for t in everything if t not in part.keep and t not in part.bypass]
        if free and not part.parallel and part.bypass:
            self.notes.append(f"{part.name}: {', '.join(free)} left to the mapper: held here")
            return tuple(t for t in everything if t not in part.bypass)
        return tuple(t for t in everything if t in part.keep)

    def _scratchpads(self) -> dict[str, Any]:
        """Return the memories in a PE: one that tensors share, or one for each tensor."""
        if not self.pads:
            return {}
        if len(self.pads) == 1:
            (pad,) = self.pads
            shared = memory(pad, self.given, self._accesses(pad), None)
            return {"scratchpads": {"kind": "shared", **shared, "holds": list(self._holds(pad))}}
        made: dict[str, Any] = {"kind": "separate"}
        for pad in self.pads:
            held = self._holds(pad)
            if len(held) != 1 or held[0] in made:
                raise MachineError(
                    f"{self.given.file}: {pad.name} in each PE holds {', '.join(held)}: several "
                    "memories of a PE must hold one tensor each, every tensor once. Say which with "
                    "a constraint `dataspace: {keep: [...]}`, or merge them into one."
                )
            made[held[0]] = memory(pad, self.given, self._accesses(pad), None, held[0])
        return {"scratchpads": made}

    def _array(self, between: list[str]) -> dict[str, Any]:
        source = f"{self.given.file}: {self.unit.copies} copies of {self.unit.name}"
        pinned = self.tree.pinned
        return {
            "between": between,
            "rows": {"value": self.unit.down, "source": source},
            "cols": {"value": self.unit.across, "source": source},
            "unroll_rows": [d for d in _ORDER if d not in pinned["y"]],
            "unroll_cols": [d for d in _ORDER if d not in pinned["x"]],
        }

    def _sums(self, width: int) -> dict[str, Any]:
        adder = self.unit.get("adder_width")
        if adder is None:
            return {}
        source = f"{self.given.file}: adder_width of {self.unit.name}"
        return {"partial_sum_bits": figure(f"{adder:g} b", source)}

    def _idle(self, clock: dict[str, str] | None) -> dict[str, Any]:
        """Return what all instances leak, as power."""
        per_cycle = sum(leak(self._actions(part)) * part.copies for part in self.tree.parts)
        if not per_cycle or clock is None:
            return {}
        watts = per_cycle * float(clock["value"].split()[0])
        source = f"derived: leakage per cycle and instance ({self.given.file}'s energies) x clock"
        return {"idle_power": figure(f"{watts:.6g} W", source)}

    def _note_rest(self) -> None:
        """Note parts and attributes that nothing here costs."""
        shared = {k: v for k, v in self.tree.attributes.items() if not k.endswith("cycle_seconds")}
        if shared:
            said = ", ".join(f"{key} {value}" for key, value in sorted(shared.items()))
            self.notes.append(f"the whole chip: not costed here: {said}")
        for part in self.tree.parts:
            if part.kind == "other":
                kind = part.attributes.get("class", "no class")
                self.notes.append(f"{part.name} ({kind}): left out, not costed here")
                continue
            rest = sorted(self.given.unused(part))
            if rest:
                self.notes.append(f"{part.name}: not costed here: {', '.join(rest)}")
        single = [p.name for p in self.levels[1:] if (p.get("multiple_buffering") or 1) < 2]
        if single:
            self.notes.append(
                f"{', '.join(single)}: transfers overlap computation in Timeloop; here they do "
                "where `double_buffered` is true, which halves the size"
            )
