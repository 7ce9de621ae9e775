"""What the layers of an ONNX file are called: as in the torch network, where the exporter says so.

The dynamo exporter writes the module path of a node into its metadata; the classic one into its
name ("/layer1/layer1.0/conv1/Conv"). Weights mostly keep the path of their parameter.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from hwflow.extract.nodes import Label, is_leaf

_SCOPES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"
_PARAMETER = re.compile(r"^(?P<path>[A-Za-z_][\w.-]*?)[._](?:weight|bias)(?:_\w+)?$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the torch network a node came from."""

    module: str
    leaf: bool


def parameter_path(names: Iterable[str]) -> str:
    """Return the module path in the first name that is a parameter's ("fc.weight" -> "fc")."""
    matches = (_PARAMETER.match(name) for name in names)
    return next((match["path"] for match in matches if match), "")


def label(place: Place, suffix: str, weight: str = "") -> Label:
    """Return what a layer at `place` may be called."""
    return Label(weight, place.module, place.leaf, suffix)


def places(nodes: Iterable[onnx.NodeProto]) -> dict[int, Place]:
    """Return the place of each node by its position among `nodes`."""
    nodes = list(nodes)
    known = {i: place for i, node in enumerate(nodes) if (place := _from_metadata(node))}
    known |= _between(nodes, known)
    paths = {i: _from_name(node.name) for i, node in enumerate(nodes) if i not in known}
    counts: dict[str, int] = {}
    for path in paths.values():
        counts[path] = counts.get(path, 0) + 1
    inner = {head for path in counts for head in _heads(path)}
    guessed = {
        i: Place(path, bool(path) and counts[path] == 1 and path not in inner)
        for i, path in paths.items()
    }
    return known | guessed


def _between(nodes: list[onnx.NodeProto], known: dict[int, Place]) -> dict[int, Place]:
    """Return the places of nodes that an exporter put in: the module around all their readers."""
    readers: dict[str, list[str]] = {}
    for i, place in known.items():
        for name in nodes[i].input:
            readers.setdefault(name, []).append(place.module)
    found = {}
    for i, node in enumerate(nodes):
        around = [module for name in node.output for module in readers.get(name, ())]
        if i not in known and around:
            found[i] = Place(_common(around), False)
    return found


def _common(paths: list[str]) -> str:
    """Return the path of the innermost module that holds all of these."""
    shared = []
    for parts in zip(*(path.split(".") for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)


def _heads(path: str) -> Iterable[str]:
    parts = path.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts)))


def _from_metadata(node: onnx.NodeProto) -> Place | None:
    """Return the place that the dynamo exporter noted: the last entry is the operator itself."""
    notes = {entry.key: entry.value for entry in node.metadata_props}
    scopes, classes = (_strings(notes.get(key, "")) for key in (_SCOPES, _CLASSES))
    if len(scopes) < 2:
        return None
    kind = classes[-2] if len(classes) == len(scopes) else ""
    return Place(scopes[-2], is_leaf(kind))


def _strings(text: str) -> list[str]:
    try:
        found = ast.literal_eval(text) if text else []
    except (SyntaxError, ValueError):
        return []
    return [str(item) for item in found] if isinstance(found, list) else []


def _from_name(name: str) -> str:
    """Return the module path in a classic node name.

    A child of a Sequential repeats its parent: "/layer1/layer1.0/conv1/Conv" is layer1.0.conv1.
    """
    path: list[str] = []
    last = ""
    for part in name.split("/")[1:-1]:
        if last and part.startswith(last + "."):
            path[-1:] = [path[-1] + part.removeprefix(last)]
        else:
            path.append(part)
        last = part
    return ".".join(path)
