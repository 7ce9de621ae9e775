"""Which nodes of two graphs hold the same value: numbers for values, equal where values are.

A node's number stands for its operator and the numbers of what it reads; an input's for its place,
a constant's for its content (Cocke and Schwartz, "Programming languages and their compilers", 1970,
call this value numbering). So a changed copy of a network needs no list of what was changed: the
nodes whose number the original does not have are those that must be computed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn


class Numbers:
    """Gives out numbers; graphs that were numbered by one object can be compared."""

    def __init__(self) -> None:
        self._known: dict[Any, int] = {}

    def of(self, module: fx.GraphModule) -> dict[fx.Node, int]:
        """Return the number of every node but the output.

        Nodes are expected to write nothing in place, as after
        :func:`hwflow.extract.normal.normalise`. What cannot be compared gets a number of its own.
        """
        found: dict[fx.Node, int] = {}
        inputs = 0
        for node in module.graph.nodes:
            if node.op == "output":
                continue
            key = ("input", inputs) if node.op == "placeholder" else _key(module, node, found)
            inputs += node.op == "placeholder"
            found[node] = self._known.setdefault(key, len(self._known))
        return found


def _key(module: fx.GraphModule, node: fx.Node, numbers: Mapping[fx.Node, int]) -> Any:
    if node.op == "get_attr":
        return _content(_attribute(module, str(node.target)))
    what: Any = node.target
    if node.op == "call_module":
        what = _module(module.get_submodule(str(node.target)))
    return node.op, what, _plain(node.args, numbers), _plain(node.kwargs, numbers)


def _attribute(module: nn.Module, path: str) -> Any:
    owner, _, name = path.rpartition(".")
    return getattr(module.get_submodule(owner), name)


def _content(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return "object", id(value), value  # held, so that its id is not given away again
    raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    digest = hashlib.blake2b(raw.data, digest_size=16).digest()
    return "tensor", str(value.dtype), tuple(value.shape), digest


def _module(module: nn.Module) -> Any:
    """Return what identifies a module: class, settings and state; itself if it is not torch's."""
    parts = [part for part in module.modules() if not isinstance(part, nn.Sequential)]
    if any(not type(part).__module__.startswith("torch.nn.") for part in parts):
        return module
    state = tuple((name, _content(value)) for name, value in module.state_dict().items())
    return str(module), state


def _plain(value: Any, numbers: Mapping[fx.Node, int]) -> Any:
    """Return an argument as something hashable, in which 1, 1.0 and True differ."""
    if isinstance(value, fx.Node):
        return "node", numbers[value]
    if isinstance(value, list | tuple):
        return tuple(_plain(item, numbers) for item in value)
    if isinstance(value, Mapping):
        return tuple((key, _plain(item, numbers)) for key, item in value.items())
    if isinstance(value, slice):
        return "slice", _plain((value.start, value.stop, value.step), numbers)
    return type(value).__name__, repr(value)
