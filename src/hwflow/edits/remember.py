"""Results that are kept for a network as long as its module stays as it was.

A search applies thousands of plans to one network; what does not depend on the plan (the exported
graph, activation samples, scales) is computed once. A result is dropped with its network, and is
computed anew when the module's parts, parameters or buffers have changed since.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import update_wrapper
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from hwflow.network import Network

T = TypeVar("T")

Signature = tuple[object, ...]

_ORIGINALS: WeakKeyDictionary[Network, Network] = WeakKeyDictionary()


class Remembered(Generic[T]):
    """A function of a network that keeps its results; use it as a decorator.

    The result must not refer to the network, or neither is ever dropped.
    """

    def __init__(self, make: Callable[[Network], T]) -> None:
        self._make = make
        self._kept: WeakKeyDictionary[Network, tuple[Signature, T]] = WeakKeyDictionary()
        update_wrapper(self, make)

    def __call__(self, network: Network) -> T:
        """Return the kept result for `network`, or for what it is a copy of."""
        now = signature(network.module)
        original = _ORIGINALS.get(network, network)
        for source in (original, network):
            kept = self._kept.get(source)
            if kept is not None and kept[0] == now:
                return kept[1]
        source = original if signature(original.module) == now else network
        made = self._make(source)
        self._kept[source] = (now, made)
        return made


def copy_of(original: Network, module: nn.Module) -> Network:
    """Return `original` with a copy of its module; results for the one hold for the other."""
    copy = original.with_module(module)
    _ORIGINALS[copy] = original
    return copy


def signature(module: nn.Module) -> Signature:
    """Return what changes when the module's parts, parameters or buffers do (a checksum each)."""
    parts = tuple((name, type(part).__name__) for name, part in module.named_modules())
    state = (*module.named_parameters(), *module.named_buffers())
    tensors = tuple((name, tuple(value.shape), _checksum(value)) for name, value in state)
    return parts, tensors


def _checksum(value: Tensor) -> int:
    data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return zlib.adler32(data.numpy().data)
