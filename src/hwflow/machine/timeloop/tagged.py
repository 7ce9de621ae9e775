"""YAML with tags, as Timeloop writes it: tags become plain data, expressions plain arithmetic."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from hwflow.errors import MachineError

TAG = "!"
"""Key under which a mapping keeps its tag, such as "Component"."""

_TEMPLATE = ("{{", "{%")
_HINT = (
    "Timeloop's front end writes a file without them, parsed-processed-input.yaml: give that one."
)


class _Tagged(yaml.SafeLoader):
    """YAML's safe loader, with any tag of the file's own kept as data."""


def _plain(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {TAG: tag, **loader.construct_mapping(node, deep=True)}
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


_Tagged.add_multi_constructor("!", _plain)


def read(path: Path) -> dict[str, Any]:
    """Return the top-level keys of a file.

    Raises MachineError for a file that cannot be read, is a template or holds no keys.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MachineError(f"Cannot read {path}: {error}.") from error
    if any(mark in text for mark in _TEMPLATE):
        raise MachineError(f"{path} is a Jinja template, with marks such as {{{{. {_HINT}")
    try:
        plain = _Tagged(text).get_single_data()
    except yaml.YAMLError as error:
        raise MachineError(f"{path} is not valid YAML: {error}.") from error
    if not isinstance(plain, dict):
        raise MachineError(f"{path} has no keys such as architecture, arch, ERT or mapping.")
    merged: dict[str, Any] = _merged(plain)
    return merged


def _merged(plain: Any) -> Any:
    """Lay mappings over those under their keys `<<<` (a merge that Timeloop's front end knows)."""
    if isinstance(plain, list):
        return [_merged(entry) for entry in plain]
    if not isinstance(plain, dict):
        return plain
    own = {key: _merged(value) for key, value in plain.items() if key != "<<<"}
    below = plain.get("<<<", [])
    result: dict[Any, Any] = {}
    for base in below if isinstance(below, list) else [below]:
        result = _over(result, _merged(base))
    return _over(result, own)


def _over(base: Any, change: Any) -> Any:
    if isinstance(base, dict) and isinstance(change, dict):
        return {**base, **{key: _over(base.get(key), new) for key, new in change.items()}}
    return change


def keys(value: Any, where: str) -> dict[str, Any]:
    """Return a mapping, empty for nothing. Raises MachineError for anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MachineError(f"{where} is {_short(value)}: it must be keys with values.")
    return value


def entries(value: Any, where: str) -> list[dict[str, Any]]:
    """Return a list of mappings, empty for nothing. Raises MachineError for anything else."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise MachineError(f"{where} is {_short(value)}: it must be a list of keys with values.")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def whole(value: Any, where: str) -> int:
    """Return a whole number of at least 1. Raises MachineError for anything else."""
    found = number(value, where)
    if not math.isfinite(found) or found < 1 or found != int(found):
        raise MachineError(f"{where} is {value!r}: it must be a whole number of at least 1.")
    return int(found)


_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def number(value: Any, where: str) -> float:
    """Return a number given as such, as "INF", or as arithmetic such as "1024 * 8".

    Raises MachineError for names and calls in an expression: `where` says what it is.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip()
    if text.lower() in ("inf", "infinity", ".inf"):
        return math.inf
    try:
        return _computed(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, RecursionError) as error:
        raise MachineError(
            f"{where} is {text!r}, neither a number nor arithmetic of numbers. Write its value. "
            f"{_HINT}"
        ) from error


def _computed(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_computed(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        result = _OPERATIONS[type(node.op)](_computed(node.left), _computed(node.right))
        if isinstance(result, complex):
            raise ValueError("not a real number")
        return result
    raise ValueError("not arithmetic")
