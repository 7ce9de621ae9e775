"""The parts of a Timeloop or AccelForge architecture, from outside inward, in one flat form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hwflow.errors import MachineError
from hwflow.machine.timeloop.tagged import TAG, entries, keys, number, whole

TENSOR_WORDS = {"weight": "weights", "input": "inputs", "output": "outputs", "psum": "outputs",
                "filter": "weights", "ifmap": "inputs", "ofmap": "outputs"}  # fmt: skip
_STORAGE = ("dram", "sram", "regfile", "smartbuffer", "storage", "buffer", "memory")
_COMPUTE = ("mac", "compute", "multiplier")
_NO_STORAGE = ("dummy", "nothing")
_RANGE = re.compile(r"^(.*?)\s*[\[(](\d+)\.\.(\d+)[\])]$")
_BRANCHES = ("Hierarchical", "Parallel", "Pipelined")

LOOPS = {"M": "K", "K": "K", "C": "C", "R": "R", "S": "S", "N": "N", "P": "P", "Q": "Q", "G": "G"}
"""Timeloop's loop names in ours; its M is our K."""


@dataclass
class Part:
    """One memory, compute unit or other component."""

    name: str
    kind: str
    """storage, compute or other."""
    attributes: dict[str, Any]
    across: int = 1
    """Copies along X, all levels together."""
    down: int = 1
    """Copies along Y."""
    parallel: bool = False
    """Whether it lies beside others that hold other tensors."""
    keep: tuple[str, ...] | None = None
    bypass: tuple[str, ...] = ()
    unread: str = ""
    """An expression of tensors that is not a list of names."""
    actions: dict[str, dict[str, Any]] = field(default_factory=dict)
    """AccelForge's actions by name."""

    @property
    def copies(self) -> int:
        """Instances on the chip."""
        return self.across * self.down

    def get(self, *names: str) -> float | None:
        """Return the first of some attributes that is given, as a number."""
        for name in names:
            value = self.attributes.get(name)
            if value is not None:
                return number(value, f"{self.name}: {name}")
        return None


@dataclass
class Tree:
    """A whole architecture."""

    parts: list[Part]
    attributes: dict[str, Any]
    """Those of containers: technology, clock."""
    pinned: dict[str, set[str]]
    """Loops that may not be spread along "x" and "y"."""
    notes: list[str]

    @property
    def storages(self) -> list[Part]:
        """Memories, from outside inward."""
        return [part for part in self.parts if part.kind == "storage"]


def tree(plain: Mapping[str, Any]) -> Tree:
    """Return the architecture under the key `architecture`, or AccelForge's `arch`."""
    found = Tree([], {}, {"x": set(), "y": set()}, [])
    for key in ("architecture", "arch"):
        top = plain.get(key)
        if not isinstance(top, dict):
            continue
        if "nodes" in top:
            _flat(entries(top["nodes"], f"{key}.nodes"), found, (1, 1), parallel=False)
        else:
            _nested(top, found, 1)
        _constrain(found, plain)
        return found
    raise MachineError(
        "No key 'architecture' (Timeloop) or 'arch' (AccelForge) in the files given."
    )


def kind_of(plain: Mapping[str, Any]) -> str:
    """Tell memories and compute units from other components by tag and class."""
    tag = str(plain.get(TAG, ""))
    if tag in ("Memory", "Compute"):
        return "storage" if tag == "Memory" else "compute"
    words = f"{plain.get('class', '')} {plain.get('subclass', '')}".lower()
    if any(word in words for word in _NO_STORAGE):
        return "other"
    if any(word in words for word in _COMPUTE):
        return "compute"
    return "storage" if any(word in words for word in _STORAGE) else "other"


def tensors(names: Any) -> tuple[str, ...] | None:
    """Return our names of tensors for a list or an expression of theirs; None if it is no list."""
    if isinstance(names, str):
        if names.strip() in ("All", "*"):
            return ("weights", "inputs", "outputs")
        if not re.fullmatch(r"[\w\s|,]+", names):
            return None
        names = re.split(r"[\s|,]+", names.strip())
    if not isinstance(names, list | tuple | None):
        return None
    found = [_tensor(str(name)) for name in names or ()]
    return None if None in found else tuple(dict.fromkeys(name for name in found if name))


def _tensor(name: str) -> str | None:
    return next(
        (ours for word, ours in TENSOR_WORDS.items() if name.lower().startswith(word)), None
    )


def _nested(node: Mapping[str, Any], found: Tree, copies: int) -> None:
    """Read a node of the nested form: attributes, local components, subtrees."""
    found.attributes |= _own(node.get("attributes"))
    here = str(node.get("name", "architecture"))
    locals_ = entries(node.get("local"), f"{here}: local")
    for local in locals_:
        name, more = _ranged(str(local.get("name", "?")))
        total = copies * more
        part = _part(local, name)
        part.across = whole(part.attributes.get("meshX") or total, f"{name}: meshX")
        if total % part.across:
            raise MachineError(f"{name}: meshX is {part.across}, no divisor of its {total} copies.")
        part.down = total // part.across
        part.parallel = sum(kind_of(other) == "storage" for other in locals_) > 1
        found.parts.append(part)
    for below in entries(node.get("subtree"), f"{here}: subtree"):
        _, more = _ranged(str(below.get("name", "?")))
        _nested(below, found, copies * more)


def _flat(
    nodes: list[dict[str, Any]], found: Tree, copies: tuple[int, int], parallel: bool
) -> tuple[int, int]:
    """Read nodes of the flat form, each inside the one before; return the copies inside them."""
    for node in nodes:
        tag, name = str(node.get(TAG, "")), str(node.get("name", "?"))
        if tag in _BRANCHES or ("nodes" in node and "name" not in node):
            below = entries(node.get("nodes"), f"nodes of {tag or name}")
            inner = _flat(below, found, copies, parallel or tag == "Parallel")
            copies = copies if tag == "Parallel" else inner
            continue
        copies = _spread(node, found, copies)
        if tag in ("Container", "Fanout", "Spatial"):
            found.attributes |= _own(node.get("attributes"))
            continue
        part = _part(node, name)
        part.across, part.down = copies
        part.parallel = parallel
        _group(part, keys(node.get("constraints"), f"{name}: constraints"), found)
        found.parts.append(part)
    return copies


def _spread(node: Mapping[str, Any], found: Tree, copies: tuple[int, int]) -> tuple[int, int]:
    """Return the copies inside a node: meshX and meshY, or AccelForge's list of fanouts."""
    name, spatial = node.get("name"), node.get("spatial")
    x, y = copies
    if isinstance(spatial, list):
        for entry in entries(spatial, f"{name}: spatial"):
            size = whole(entry.get("fanout", 1), f"{name}: fanout")
            x, y = (x * size, y) if x == 1 else (x, y * size)
        return x, y
    mesh = keys(spatial, f"{name}: spatial")
    across = whole(mesh.get("meshX", 1), f"{name}: meshX")
    down = whole(mesh.get("meshY", 1), f"{name}: meshY")
    constraints = keys(node.get("constraints"), f"{name}: constraints")
    pinned = set(_ones(keys(constraints.get("spatial"), f"{name}: spatial").get("factors")))
    for axis, size in (("x", across), ("y", down)):
        if size > 1:
            found.pinned[axis] |= pinned
    return x * across, y * down


def _part(plain: Mapping[str, Any], name: str) -> Part:
    attributes = {**plain, **_own(plain.get("attributes"))}
    listed = entries(plain.get("actions"), f"{name}: actions")
    actions = {str(action.get("name")): action for action in listed}
    part = Part(name, kind_of(plain), attributes, actions=actions)
    kept = keys(plain.get("tensors"), f"{name}: tensors")
    if kept.get("keep"):
        part.keep = tensors(kept["keep"])
        part.unread = str(kept["keep"]) if part.keep is None else ""
    return part


def _own(attributes: Any) -> dict[str, Any]:
    """Return attributes with the dashes of older files as underscores."""
    if not isinstance(attributes, Mapping):
        return {}
    return {str(key).replace("-", "_"): value for key, value in attributes.items()}


def _ranged(name: str) -> tuple[str, int]:
    """Return name and count of "PE[0..167]"."""
    match = _RANGE.match(name)
    return (match[1], int(match[3]) - int(match[2]) + 1) if match else (name, 1)


def _constrain(found: Tree, plain: Mapping[str, Any]) -> None:
    """Lay the constraints of a file's other keys on the parts that they target."""
    parts = {part.name: part for part in found.parts}
    for entry in _targets(plain):
        part = parts.get(str(entry.get("target")))
        kind = str(entry.get("type"))
        if kind == "spatial":
            _pin(found, entry)
        elif part is not None:
            _group(part, {"dataspace" if kind != "temporal" else kind: entry}, found)


def _targets(plain: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key, value in plain.items():
        if "constraints" in key:
            listed = value.get("targets") if isinstance(value, Mapping) else value
            yield from entries(listed, key)


def _pin(found: Tree, entry: Mapping[str, Any]) -> None:
    """Keep loops of factor 1 off both axes: the nested form does not tell X from Y here."""
    for axis in found.pinned:
        found.pinned[axis] |= set(_ones(entry.get("factors")))
    if "split" in entry:
        found.notes.append(f"{entry.get('target')}: split, which loops go along X, is left free")


def _group(part: Part, constraints: Mapping[str, Any], found: Tree) -> None:
    """Take what a component's constraints say of the tensors it keeps; note the rest."""
    space = keys(constraints.get("dataspace"), f"{part.name}: dataspace")
    if "keep" in space and space["keep"] is not None:
        part.keep = tensors(space["keep"])
    part.bypass = tensors(space.get("bypass")) or part.bypass
    for other in ("temporal", "max_overbooked_proportion", "utilization"):
        if constraints.get(other):
            found.notes.append(f"{part.name}: {other} constraints; set `dataflow` if they matter")


def _ones(factors: Any) -> Iterator[str]:
    """Yield our names of the loops that factors set to 1."""
    words = re.split(r"[\s,]+", factors) if isinstance(factors, str) else factors
    for word in words if isinstance(words, list) else ():
        match = re.fullmatch(r"([A-Z])\s*=?\s*1", str(word))
        if match and match[1] in LOOPS:
            yield LOOPS[match[1]]
