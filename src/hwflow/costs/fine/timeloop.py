"""A mapping of Timeloop's, read as ours: a list of directives, each a part of the loop nest.

=============================== =======================================================
temporal, at a memory level     loops over the tiles of the level inside it
temporal, at anything inside    the tile in a PE; the order of its loops is of no account
spatial, at any target          the array
bypass, datatype, dataspace     must agree with the machine's `holds`
=============================== =======================================================

Timeloop's loop M is our K. Permutations run from the innermost loop outward. Our nests let one
tensor stay at each level, and put the loops that do not index it innermost: what a permutation
says beyond that is told in the notes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import yaml

from hwflow.costs.fine.mapspace import mapspace, on_axes
from hwflow.costs.fine.memories import buffers_of
from hwflow.costs.fine.nest import Mapping as Nest
from hwflow.costs.fine.shape import DIMS, GROUPS, TENSORS, Ints, Shape
from hwflow.errors import MachineError, WorkloadError
from hwflow.machine import Accelerator
from hwflow.machine.timeloop import LOOPS, tensors

_KINDS = ("temporal", "spatial")
_HOLDING = ("bypass", "datatype", "dataspace", "bypassing")
_FACTOR = re.compile(r"^([A-Z])\s*=?\s*(\d+)$")


@dataclass(frozen=True)
class ReadMapping:
    """A mapping of ours that was read from Timeloop's."""

    mapping: Nest
    notes: tuple[str, ...]
    """What the directives say that has no equal here."""


@dataclass
class _Nest:
    """Factors and loop orders by place: every memory level, the array, the PE."""

    factors: dict[str, list[int]] = field(default_factory=dict)
    orders: dict[str, list[str]] = field(default_factory=dict)
    """Loops from the innermost outward."""


def is_timeloop_mapping(plain: Any) -> bool:
    """Tell whether plain data has the form of Timeloop's mapping."""
    entries = plain.get("mapping") if isinstance(plain, Mapping) else plain
    return (
        isinstance(entries, list | tuple)
        and bool(entries)
        and all(isinstance(entry, Mapping) and "target" in entry for entry in entries)
    )


def read_timeloop_mapping(
    source: str | Path | Mapping[str, Any] | Sequence[Any], machine: Accelerator, shape: Shape
) -> ReadMapping:
    """Read a mapping (a file, or its plain data) for one layer on a machine.

    Memory levels are matched by name. Raises WorkloadError for directives that cannot be read, do
    not make up the layer's loops or have no equal here.
    """
    entries = _entries(source)
    names = [machine.dram.name, *(level.name for level in buffers_of(machine))]
    notes: list[str] = []
    nest = _Nest({name: [1] * len(DIMS) for name in (*names, "array", "PE")})
    for entry in entries:
        _take(entry, names, nest, machine, notes)
    _check_whole(nest, shape)
    spread = tuple(nest.factors["array"])
    rows, cols = _axes(machine, spread)
    mapping = Nest(
        pe=_clipped(_product(nest, ["PE"]), shape),
        rows=rows,
        cols=cols,
        spread=spread,
        tiles=_tiles(nest, names, shape),
        stays=_both([_stays(nest, name, notes) for name in names]),
    )
    return ReadMapping(mapping, tuple(notes))


def _entries(source: str | Path | Mapping[str, Any] | Sequence[Any]) -> list[Mapping[str, Any]]:
    plain: Any = source
    if isinstance(source, str | Path):
        try:
            plain = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise WorkloadError(f"Cannot read the mapping {source}: {error}.") from error
    if not is_timeloop_mapping(plain):
        raise WorkloadError(
            "A Timeloop mapping is a list under the key 'mapping', each entry with a target, a "
            "type and factors."
        )
    found: list[Mapping[str, Any]] = plain["mapping"] if isinstance(plain, Mapping) else plain
    return found


def _take(
    entry: Mapping[str, Any], names: list[str], nest: _Nest, machine: Accelerator, notes: list[str]
) -> None:
    """Add one directive to the nest."""
    target, kind = str(entry["target"]), str(entry.get("type"))
    if kind in _HOLDING:
        _check_holds(entry, target, machine)
        return
    if kind not in _KINDS:
        raise WorkloadError(
            f"{target}: type {kind!r} is unknown: write temporal, spatial or dataspace."
        )
    factors = _factors(entry.get("factors"), target)
    place = "array" if kind == "spatial" else target if target in names else "PE"
    if place == "PE" and target not in names and prod(factors) > 1:
        notes.append(f"{target} is no level of {machine.name}: its loops are the tile in a PE")
    nest.factors[place] = [a * b for a, b in zip(nest.factors[place], factors, strict=True)]
    if place in names:
        nest.orders[place] = _order(entry.get("permutation"))


def _factors(given: Any, target: str) -> list[int]:
    """Return factors over N K C P Q R S G of "C=3 M16", a list of such, or a mapping."""
    if isinstance(given, Mapping):
        words = [f"{key}={value}" for key, value in given.items()]
    elif isinstance(given, str):
        words = re.split(r"\s+|,\s*(?=[A-Z])", given.strip())
    else:
        words = (
            [str(word) for word in given or ()] if isinstance(given, list | None) else [str(given)]
        )
    found = [1] * len(DIMS)
    for word in words:
        match = _FACTOR.fullmatch(word.strip())
        if match is None or match[1] not in LOOPS or int(match[2]) < 1:
            raise WorkloadError(
                f"{target}: factor {word!r} cannot be read: write a loop of "
                f"{', '.join(LOOPS)} and a whole number of at least 1, such as C=3. Remainders "
                "(P=7,3) have no equal: sizes need not divide here, give the larger one."
            )
        found[DIMS.index(LOOPS[match[1]])] *= int(match[2])
    return found


def _order(permutation: Any) -> list[str]:
    """Return loops in our names from the innermost outward."""
    if isinstance(permutation, str):
        permutation = re.findall(r"[A-Z]", permutation)
    listed = permutation if isinstance(permutation, list) else []
    named = [LOOPS[str(d)] for d in listed if str(d) in LOOPS]
    return list(dict.fromkeys([*named, *DIMS]))


def _check_holds(entry: Mapping[str, Any], target: str, machine: Accelerator) -> None:
    """Raise WorkloadError where a mapping keeps or bypasses what the machine does not."""
    level = next((level for level in machine.memory if level.name == target), None)
    if level is None:
        return
    for key, held in (("keep", True), ("bypass", False)):
        for tensor in tensors(entry.get(key)) or ():
            if (tensor in level.holds) != held:
                does = "does not hold" if held else "holds"
                raise WorkloadError(
                    f"{target}: the mapping says {key}: {tensor}, but {target} of {machine.name} "
                    f"{does} them. Change memory.{target}.holds in the machine's file."
                )


def _check_whole(nest: _Nest, shape: Shape) -> None:
    """Raise WorkloadError where the factors along a loop do not make it up."""
    whole = _product(nest, nest.factors)
    short = [
        f"{d} {n} of {size}" for d, n, size in zip(DIMS, whole, shape.dims, strict=True) if n < size
    ]
    if short:
        raise WorkloadError(
            f"The factors do not make up the layer's loops: {', '.join(short)}. The product of a "
            "loop's factors over all directives must be its size, or more."
        )


def _product(nest: _Nest, places: Iterable[str]) -> Ints:
    chosen = [nest.factors[place] for place in places]
    return tuple(prod(factors[i] for factors in chosen) for i in range(len(DIMS)))


def _clipped(tile: Ints, shape: Shape) -> Ints:
    return tuple(min(size, n) for size, n in zip(tile, shape.dims, strict=True))


def _tiles(nest: _Nest, names: list[str], shape: Shape) -> tuple[Ints, ...]:
    """Return the tile of each buffer: its own loops, those inside it, the array and the PE."""
    inner = [*names[1:], "array", "PE"]
    tiles = (_product(nest, inner[index:]) for index in range(len(names) - 1))
    return tuple(_clipped(tile, shape) for tile in tiles) or (shape.dims,)


def _both(stays: list[str]) -> tuple[str, ...]:
    """Return what stays at each level; without a buffer DRAM's loops run over the array's tiles."""
    return tuple(stays if len(stays) > 1 else stays * 2)


def _axes(machine: Accelerator, spread: Ints) -> tuple[Ints, Ints]:
    try:
        return on_axes(mapspace(machine), spread)
    except MachineError as error:
        raise WorkloadError(
            f"{error} array.unroll_rows and array.unroll_cols of {machine.name} say which loops "
            "may be spread."
        ) from None


def _stays(nest: _Nest, name: str, notes: list[str]) -> str:
    """Return the tensor that stays at a level: the innermost loop does not index it."""
    factors = nest.factors[name]
    order = [d for d in nest.orders.get(name, DIMS) if factors[DIMS.index(d)] > 1 and d != "G"]
    if not order:
        return TENSORS[0]
    stays = next(i for i, group in enumerate(GROUPS) if order[0] in group)
    rest = [d for d in order if d not in GROUPS[stays]]
    late = [
        d for d in order if d in GROUPS[stays] and rest and order.index(d) > order.index(rest[0])
    ]
    if late:
        notes.append(
            f"{name}: {', '.join(late)} lies outside {rest[0]} there; here it runs with "
            f"{order[0]}, inside, so {TENSORS[stays]} stay longer"
        )
    return TENSORS[stays]
