"""Files of mappings: given ones to be scored without a search, and those that a search found.

    layers:
      conv1: {m: 96, n: 1, e: 7, p: 16, q: 1, r: 1, t: 2}      # row-stationary, or "96,1,7,..."
      layer1.*:                                                # loops by letter; * is any text
        pe: {S: 3, K: 4}                                       # tile of a PE; others 1
        rows: {R: 3, C: 4}                                     # spread over the array; others 1
        cols: {P: 14}
        buffer: {K: 64, C: 16, P: 14}                          # tile of the buffer; others whole
        stays: [outputs, weights]                              # by the loops of DRAM, the buffer

      conv2: {timeloop: conv2.map.yaml}                        # directives of Timeloop's, or inline

A machine with several buffers has a list `tiles` in the place of `buffer`, outermost first. An
exact name goes before a pattern, an earlier pattern before a later one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NoReturn

import yaml

from hwflow.costs.chip.passes import Passes, PassesError
from hwflow.costs.fine import LayerReport
from hwflow.costs.fine.nest import Mapping as Nest
from hwflow.costs.fine.shape import DIMS, TENSORS, Ints, Shape
from hwflow.costs.fine.timeloop import ReadMapping, is_timeloop_mapping, read_timeloop_mapping
from hwflow.costs.layerwise import Report
from hwflow.errors import HwflowError, unknown_name
from hwflow.machine import Accelerator

Loops = Mapping[str, int]


class MappingFileError(HwflowError):
    """A file of mappings with a fault in it."""


@dataclass(frozen=True)
class GivenMapping:
    """A mapping of loops, as the file has it."""

    pe: Loops
    rows: Loops
    cols: Loops
    tiles: tuple[Loops, ...]
    stays: tuple[str | None, ...]
    spread: Loops

    def on(self, shape: Shape) -> Nest:
        """Return the mapping of a layer; the last pass over each axis is spread evenly."""
        rows, cols = _vector(self.rows), _vector(self.cols)
        spread = (
            self.spread.get(d, _even(n, r * c))
            for d, n, r, c in zip(DIMS, shape.dims, rows, cols, strict=True)
        )
        return Nest(
            pe=_vector(self.pe), rows=rows, cols=cols, spread=tuple(spread),
            tiles=tuple(_vector(tile, shape.dims) for tile in self.tiles), stays=self.stays,
        )  # fmt: skip


@dataclass(frozen=True)
class GivenPasses:
    """Row-stationary parameters, as the file has them."""

    passes: Passes
    total_s: float | None = None
    """Measured time of the layer with the wait for DRAM; for the chip's energy."""


@dataclass(frozen=True)
class GivenDirectives:
    """A mapping of Timeloop's, as the file has it."""

    directives: tuple[Mapping[str, Any], ...]

    def on(self, machine: Accelerator, shape: Shape) -> ReadMapping:
        """Return the mapping of a layer. Raises WorkloadError for directives without an equal."""
        return read_timeloop_mapping(self.directives, machine, shape)


Given = GivenMapping | GivenPasses | GivenDirectives


def _vector(loops: Loops, others: Ints = (1,) * len(DIMS)) -> Ints:
    return tuple(loops.get(d, other) for d, other in zip(DIMS, others, strict=True))


def _even(size: int, pes: int) -> int:
    """Return the PEs of a loop in use: with as many passes, none is left for the last alone."""
    steps = -(-size // min(pes, size))
    return -(-size // steps)


@dataclass(frozen=True)
class MappingFile:
    """Mappings by layer name or pattern, in the order of the file."""

    path: Path
    layers: Mapping[str, Given]

    @property
    def row_stationary(self) -> bool:
        """Whether all of it are row-stationary parameters."""
        return all(isinstance(given, GivenPasses) for given in self.layers.values())

    def of(self, name: str) -> Given | None:
        """Return the mapping of a layer, None where the file has none."""
        if name in self.layers:
            return self.layers[name]
        fitting = (given for key, given in self.layers.items() if fnmatchcase(name, _escaped(key)))
        return next(fitting, None)

    def check_names(self, names: Iterable[str]) -> None:
        """Raise MappingFileError for a key that is the name of no layer among `names`."""
        known = list(names)
        for key in self.layers:
            if not any(name == key or fnmatchcase(name, _escaped(key)) for name in known):
                hint = "It must be a layer with multiply-accumulates."
                raise MappingFileError(f"{self.path}: {unknown_name('layer', key, known, hint)}")


def _escaped(pattern: str) -> str:
    """Let * alone be special."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def read_mappings(path: str | Path) -> MappingFile:
    """Read a file of mappings. Raises MappingFileError that names file, layer and key."""
    path = Path(path)
    top = _load(path)
    if not isinstance(top, Mapping) or not isinstance(top.get("layers"), Mapping):
        raise MappingFileError(f"{path}: lacks the key 'layers' with a mapping for each layer.")
    odd = sorted(set(map(str, top)) - {"layers", "machine", "network", "objective"})
    if odd:
        raise MappingFileError(f"{path}: {unknown_name('key', odd[0], ('layers', 'machine'))}")
    layers = {
        str(name): _Entry(path, str(name), given).read() for name, given in top["layers"].items()
    }
    if not layers:
        raise MappingFileError(f"{path}: 'layers' is empty. Name at least one layer.")
    return MappingFile(path, layers)


def _load(path: Path) -> Any:
    try:
        with path.open(encoding="utf-8") as file:
            return yaml.safe_load(file)
    except FileNotFoundError:
        raise MappingFileError(f"There is no file {str(path)!r}.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MappingFileError(f"{path}: not a readable YAML file: {error}") from error


_KEYS = ("pe", "rows", "cols", "spread", "buffer", "tiles", "stays")


class _Entry:
    """One layer of the file; every fault names file and layer."""

    def __init__(self, path: Path, name: str, given: Any) -> None:
        self.path = path
        self.place = f"{path}: layer {name!r}"
        self.given = given

    def fault(self, what: str) -> NoReturn:
        raise MappingFileError(f"{self.place}: {what}")

    def read(self) -> Given:
        if isinstance(self.given, Mapping) and set(self.given) == {"timeloop"}:
            self.given = self._beside(str(self.given["timeloop"]))
        if is_timeloop_mapping(self.given):
            inner = self.given["mapping"] if isinstance(self.given, Mapping) else self.given
            return GivenDirectives(tuple(inner))
        if isinstance(self.given, list | str):
            text = self.given if isinstance(self.given, str) else ",".join(map(str, self.given))
            return GivenPasses(self._passes(text))
        if not isinstance(self.given, Mapping):
            self.fault("give loops (pe, rows, cols, buffer, stays) or m, n, e, p, q, r, t.")
        plain = {str(key): value for key, value in self.given.items()}
        if set(plain) & set(_KEYS):
            return self._mapping(plain)
        total = plain.pop("total_ms", None)
        passes = self._passes(plain["passes"] if set(plain) == {"passes"} else plain)
        return GivenPasses(passes, self._seconds(total))

    def _beside(self, name: str) -> Any:
        """Return the content of a file of Timeloop's that lies beside this one."""
        found = _load(self.path.parent / name)
        if not is_timeloop_mapping(found):
            self.fault(f"{name} is no mapping of Timeloop's: a list 'mapping' of directives.")
        return found

    def _passes(self, given: Any) -> Passes:
        try:
            if isinstance(given, list):
                given = ",".join(map(str, given))
            return Passes.read(given)
        except PassesError as error:
            self.fault(str(error))

    def _seconds(self, total: Any) -> float | None:
        if total is None:
            return None
        number = isinstance(total, int | float) and not isinstance(total, bool)
        if not number or not 0 < total < float("inf"):
            self.fault(f"total_ms is {total!r}: it must be a time in milliseconds above 0.")
        return float(total) / 1000

    def _mapping(self, plain: dict[str, Any]) -> GivenMapping:
        odd = sorted(set(plain) - set(_KEYS))
        if odd:
            self.fault(unknown_name("key", odd[0], _KEYS))
        if "buffer" in plain and "tiles" in plain:
            self.fault("has both 'buffer' and 'tiles'. Keep one.")
        tiles = plain.get("tiles", [plain.get("buffer", {})])
        if not isinstance(tiles, list):
            self.fault("'tiles' must be a list with the loops of each buffer, outermost first.")
        sizes = {
            key: self._loops(key, plain.get(key, {})) for key in ("pe", "rows", "cols", "spread")
        }
        return GivenMapping(
            **sizes, tiles=tuple(self._loops("tiles", tile) for tile in tiles),
            stays=self._stays(plain.get("stays", [None] * (len(tiles) + 1)), len(tiles) + 1),
        )  # fmt: skip

    def _loops(self, key: str, given: Any) -> Loops:
        if not isinstance(given, Mapping):
            self.fault(f"{key!r} is {given!r}: write loops and sizes, such as {{K: 16, P: 7}}.")
        for loop, size in given.items():
            if loop not in tuple(DIMS):
                self.fault(unknown_name(f"loop in {key!r}", str(loop), DIMS))
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                self.fault(f"{key!r} has {loop} = {size!r}: sizes are whole numbers from 1.")
        return dict(given)

    def _stays(self, given: Any, count: int) -> tuple[str | None, ...]:
        allowed = (*TENSORS, None)
        if not isinstance(given, list) or any(entry not in allowed for entry in given):
            self.fault(f"'stays' is {given!r}: list {', '.join(TENSORS)} or null for each level.")
        if len(given) != count:
            self.fault(f"'stays' has {len(given)} entries: {count} are needed, DRAM's first.")
        return tuple(given)


def write_mappings(path: Path, reports: Iterable[Report], network: str, machine: str) -> None:
    """Write found mappings, so that `read_mappings` gives them back. Raises MappingFileError."""
    layers = {report.name: _plain(report) for report in reports}
    text = yaml.safe_dump(
        {"network": network, "machine": machine, "layers": layers},
        sort_keys=False, default_flow_style=None, width=100,
    )  # fmt: skip
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MappingFileError(f"Cannot write mappings to {path}: {error}.") from error


def _plain(report: Report) -> dict[str, Any]:
    if not isinstance(report, LayerReport):
        passes: dict[str, Any] = report.to_json()["passes"]
        return passes
    plan = report.plan
    sizes = {key: _named(getattr(plan, key)) for key in ("pe", "rows", "cols", "spread")}
    tiles = [dict(zip(DIMS, tile, strict=True)) for tile in plan.tiles]
    return {**sizes, "tiles": tiles, "stays": list(plan.stays)}


def _named(sizes: Ints) -> dict[str, int]:
    """Return the loops of more than 1."""
    return {d: n for d, n in zip(DIMS, sizes, strict=True) if n > 1}
