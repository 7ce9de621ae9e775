"""What both front ends read a network into, before anything is folded. Plain data, no torch.

A front end (:mod:`hwflow.extract.exported`, :mod:`hwflow.extract.onnx_file`) turns every operator
that depends on the network's input into a :class:`Node`; :mod:`hwflow.extract.fold` turns the nodes
into a workload. So a network folds in the same way wherever it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hwflow.workload import Input, Layer

IDENTITY = "identity"
"""The value passes unchanged: dropout in eval mode, a cast between floats, a copy."""

QUANTIZE = "quantize"
"""The value passes on a grid of `Node.bits` bits."""

BATCH_NORM = "batch_norm"
"""Batch normalisation by running statistics, which a machine folds into the weights before it."""


BIAS = "bias"
"""A constant is added: the bias of the layer before when it has one value per output channel."""

SUFFIXES = {BATCH_NORM: "norm", BIAS: "add"}
"""What a layer is called when it was one of these and did not fold."""

_NOT_LEAVES = ("container.", "transformer.", "rnn.", "activation.MultiheadAttention")


def is_leaf(kind: str) -> bool:
    """Whether a module of type `kind` (its full name) is a plain operator of torch.nn."""
    head, found, tail = kind.partition("torch.nn.modules.")
    return bool(found) and not head and not tail.startswith(_NOT_LEAVES)


def clamp_name(low: float | None, high: float | None, otherwise: str) -> str:
    """Return the name of an activation that clamps to these limits."""
    if low == 0 and high is None:
        return "relu"
    return "relu6" if (low, high) == (0, 6) else otherwise


@dataclass(frozen=True, slots=True)
class Label:
    """What a layer may be called, best first: by its weight, its module, its operator."""

    weight: str = ""
    """Path of the weight parameter without ".weight", "" for layers without one."""
    module: str = ""
    """Path of the innermost module around the operator."""
    leaf: bool = False
    """Whether that module is a plain operator, so that its path is name enough."""
    suffix: str = ""
    """What follows the module's path otherwise."""

    @property
    def qualified(self) -> str:
        """The module's path and the operator: what is always available."""
        return f"{self.module}.{self.suffix}" if self.module else self.suffix


@dataclass(frozen=True, slots=True)
class Node:
    """One operator: the value it makes and the layer it would be if nothing folded."""

    value: str
    """Identifies the value it makes; unique in the graph."""
    layer: Layer
    """A draft: `inputs` are values, `name` is empty, `op` may also be one of this module's."""
    label: Label = Label()
    params: tuple[str, ...] = ()
    """Keys of the parameters it holds; a key that two nodes hold is counted at the first."""
    weight: str = ""
    """The constant that is its weight, as the front end calls it."""
    bits: int | None = None
    """Bits of the grid of a QUANTIZE node."""
    foldable: bool = True
    """Whether this batch normalisation may fold, or this layer take one."""


@dataclass(frozen=True)
class Graph:
    """The nodes of a network in the order they run."""

    name: str
    inputs: Mapping[str, Input]
    """Network inputs by the value they are."""
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    """Values that leave the network."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Elements of every distinct parameter of the network, by key."""
    weight_bits: Mapping[str, int] = field(default_factory=dict)
    """Bits of weights by layer name, where the file says so beside the graph."""
    tensor_bits: Mapping[str, int] = field(default_factory=dict)
    """Bits of tensors by layer or input name, where the file says so beside the graph."""
