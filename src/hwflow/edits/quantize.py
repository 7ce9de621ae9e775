"""Quantize: bits of weights and of the tensors between layers.

Weights lie on symmetric grids, one scale per output channel; activations on half-wave grids where
they are never negative, else asymmetric ones, one scale per tensor, calibrated on the network's
calibration inputs. Other quantisers: :mod:`hwflow.edits.methods`. Tensors that meet in an add share
their bits, tensors that are passed on (reshape, concat, max-pool, ...) share bits and scale:
:attr:`Workload.bit_groups`. First and last layers keep 8 bits by default.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hwflow.cost import Bits
from hwflow.design import Design
from hwflow.edits.fuse import FusePart, read
from hwflow.edits.match import match
from hwflow.edits.methods import Calibration, Mend, Method, QuantizerName
from hwflow.edits.quantizers import prepared, quantized, tensor_sites, weight_sites
from hwflow.errors import HwflowError, unknown_name
from hwflow.fake_quantize import MAX_BITS, check_bits
from hwflow.network import Network
from hwflow.space import Choice, Legacy, Plan, Space, Value, plan_matrix
from hwflow.workload import FLOAT_BITS, Layer, Workload

WEIGHT, ACTIVATION = "weight_bits:", "activation_bits:"
"""How the names of choices begin; a layer or the first tensor of a bit group follows."""

_WEIGHTED = frozenset({"conv", "conv_transpose", "linear"})


@dataclass(frozen=True)
class Quantize:
    """Put weights and tensors on grids of these bits; what is not named stays as it is.

    Bits are 1 to 16, or 32 for an operand that is left alone.
    """

    weights: Mapping[str, int] = field(default_factory=dict)
    """Bits of weights, by layer."""
    tensors: Mapping[str, int] = field(default_factory=dict)
    """Bits of tensors, by the name of any layer or input of the bit group."""
    heirs: Mapping[str, str] = field(default_factory=dict)
    """What may be missing -> the tensor that gets its bits where that has none, or ""."""
    method: Method = Method()
    """The quantiser, and how it is calibrated."""
    inherited: Legacy = Legacy()
    """What layers that were replaced hand on to those that are new."""

    def __post_init__(self) -> None:
        for name in ("weights", "tensors"):
            given = dict(getattr(self, name))
            kept = {k: check_bits(v) for k, v in sorted(given.items()) if v != FLOAT_BITS}
            object.__setattr__(self, name, kept)

    def __hash__(self) -> int:
        return hash((tuple(self.weights.items()), tuple(self.tensors.items()), self.method))

    def following(self, heirs: Mapping[str, str]) -> Quantize:
        """Return the edit for a network from which some of these layers may be missing."""
        return replace(self, heirs={**heirs, **self.inherited.heirs})

    def inheriting(self, legacy: Legacy) -> Quantize:
        """Return the edit for a network in which some layers were replaced by others."""
        return replace(self, heirs={**self.heirs, **legacy.heirs}, inherited=legacy)

    def on_paper(self, design: Design) -> Design:
        """Return the design with these bits.

        Raises HwflowError for names that the workload does not have.
        """
        workload, own = design.workload, self._left(design.workload)
        own._check_weights(workload, {x.name for x in workload if x.op in _WEIGHTED})
        groups, bits = workload.bit_groups, own._group_bits(workload)
        tensors = {name: bits[group] for name, group in groups.items() if group in bits}
        return design.with_workload(workload.with_bits(own.weights, tensors))

    def in_network(self, network: Network) -> Network:
        """Return a network with fake quantisers: an exported graph, in eval mode, that trains.

        It shares no parameter with `network`. Raises HwflowError for names that the network does
        not have, and when it has no calibration inputs but tensors are to be quantised.
        """
        ready = prepared(network)
        workload, own = ready.workload, self._left(ready.workload)
        own._check_weights(workload, ready.weights)
        bits = own._group_bits(workload)
        scale_groups = {name: workload.bit_groups[name] for name in ready.tensors}
        _check_tensors(workload, bits, scale_groups.values())
        tensors = {name: bits[group] for name, group in scale_groups.items() if group in bits}
        module = quantized(ready, own.weights, tensors, self.method)
        if self.method.mend == "statistics":
            match(module, ready.graph, ready.inputs)
        return network.with_module(module)

    def _left(self, workload: Workload) -> Quantize:
        """Return the edit of what the workload has; bits go by groups, the first tensor's count."""
        if not self.heirs:
            return self
        groups, found, legacy = workload.bit_groups, dict[str, int](), self.inherited
        named = dict.fromkeys(name for name in self.tensors if name not in legacy.own)
        there = [name for name in groups if name in named]
        for name in (*there, *(name for name in named if name not in groups)):
            heir = name
            while heir not in groups and heir in self.heirs:
                heir = self.heirs[heir]
            if heir:  # an unknown name is reported by who looks it up
                found.setdefault(groups.get(heir, heir), self.tensors[name])
        for new, old in legacy.tensors.items():
            if old in self.tensors:
                found.setdefault(groups[new], self.tensors[old])
        weights = {n: b for n, b in self.weights.items() if n in workload or n not in self.heirs}
        weights |= {
            new: self.weights[old]
            for new, old in legacy.weights.items()
            if old in self.weights and workload[new].op in _WEIGHTED
        }
        weights = {name: bits for name, bits in weights.items() if name not in legacy.own}
        return Quantize(weights, found, method=self.method)

    def _check_weights(self, workload: Workload, known: Collection[str]) -> None:
        for name in self.weights:
            if name not in known:
                raise HwflowError(unknown_name("layer with a weight", name, known))

    def _group_bits(self, workload: Workload) -> dict[str, int]:
        """Return the bits of each bit group that is named."""
        bits: dict[str, int] = {}
        for name, value in self.tensors.items():
            if name not in workload.bit_groups:
                raise HwflowError(unknown_name("tensor", name, workload.bit_groups))
            group = workload.bit_groups[name]
            if bits.setdefault(group, value) != value:
                raise HwflowError(
                    f"Tensor {name!r} is to have {value} bits, but {group!r}, which it shares its "
                    f"bits with, {bits[group]}. Give tensors that meet the same bits."
                )
        return bits


def _check_tensors(workload: Workload, bits: Mapping[str, int], known: Iterable[str]) -> None:
    for group in bits.keys() - set(known):
        raise HwflowError(
            f"Tensor {group!r} cannot be quantised: it holds no floating-point values, or it is "
            "part of what one operator makes. Leave it out."
        )


@dataclass(frozen=True)
class QuantizePart:
    """The part of a space that chooses bits; it changes nothing else."""

    choices: tuple[Choice, ...]
    fixed: Quantize = Quantize()
    """Bits that are no choice: those of the first and the last layers."""
    kind = "quantize"

    @property
    def digest(self) -> Callable[[], str] | None:
        """What a study must not mix; None for what there was before there were several methods."""
        return None if self.fixed.method == Method() else self.fixed.method.digest

    def edit(self, values: Mapping[str, Value]) -> Quantize:
        """Return the edit for these values of the choices."""
        weights, tensors = dict(self.fixed.weights), dict(self.fixed.tensors)
        for name, value in values.items():
            kind, _, place = name.partition(":")
            (weights if f"{kind}:" == WEIGHT else tensors)[place] = int(value)
        return Quantize(weights, tensors, method=self.fixed.method)

    def bits(self, workload: Workload, plans: Sequence[Plan]) -> Bits:
        """Return the bits of `workload` under each plan, rows in the order of `plans`."""
        start = self.fixed.on_paper(Design(workload, None)).workload  # type: ignore[arg-type]
        base = Bits.of([start])
        weights, tensors = (np.repeat(a, len(plans), axis=0) for a in (base.weights, base.tensors))
        chosen = plan_matrix(plans, [[int(v) for v in c.options] for c in self.choices])
        weight_of, tensors_of = _columns(workload)
        for column, choice in enumerate(self.choices):
            kind, _, place = choice.name.partition(":")
            target, places = (
                (weights, [weight_of[place]])
                if f"{kind}:" == WEIGHT
                else (tensors, tensors_of[workload.bit_groups[place]])
            )
            kept = chosen[:, column, None] == FLOAT_BITS
            target[:, places] = np.where(kept, target[:, places], chosen[:, column, None])
        _follow_operands(workload, weights, tensors)
        return Bits(weights, tensors)


def _columns(workload: Workload) -> tuple[dict[str, int], dict[str, list[int]]]:
    """Return the column of each layer's weight, and the columns of each bit group's tensors."""
    groups: dict[str, list[int]] = {}
    for column, group in enumerate(workload.bit_groups.values()):
        groups.setdefault(group, []).append(column)
    return {layer.name: column for column, layer in enumerate(workload)}, groups


def _follow_operands(workload: Workload, weights: np.ndarray, tensors: np.ndarray) -> None:
    """Give the second operand of every matmul the bits of its tensor."""
    column = {name: index for index, name in enumerate(workload.bit_groups)}
    for index, layer in enumerate(workload):
        if layer.op == "matmul" and len(layer.inputs) > 1:
            weights[:, index] = tensors[:, column[layer.inputs[1]]]


def quantize(
    source: Network | Workload,
    bits: Sequence[int] = (2, 4, 8),
    *,
    weights: Sequence[int] | None = None,
    activations: Sequence[int] | None = None,
    first_last: int | None = 8,
    layers: Collection[str] | None = None,
    quantizer: QuantizerName = "calibrated",
    calibration: Calibration = "mse",
    mend: Mend = "none",
    faithful: bool = False,
) -> Space:
    """Return the space of mixed precisions: bits per weight and per group of tensors.

    `bits` are the options (1 to 16; 32 leaves an operand in floating point); `weights` and
    `activations` replace them for the one or the other, () quantises none of these. `first_last`
    fixes the bits of the weights and inputs of the layers nothing multiplies before or after (32:
    in floating point); None makes them choices too. `layers` limits all this to some layers. The
    default of a choice is its highest option. Batch normalisations are folded first.

    `quantizer` is "calibrated", "lsq", "pact" or "dorefa" (:mod:`hwflow.edits.methods`): before any
    training the first three give the same network. `calibration` takes ranges by least squared
    error ("mse"), by the divergence of histograms ("kl", activations only) or whole ("minmax").
    `mend` = "statistics" gives every channel of every layer with a quantised weight the mean and
    variance it had (:mod:`hwflow.edits.match`). `faithful` takes DoReFa's ranges as published.

    Raises HwflowError for bits outside the range, unknown names, or a network with nothing to
    quantise.
    """
    method = Method(quantizer, calibration, mend, faithful)
    _check_first_last(first_last)
    workload, sites = _sites(source)
    chosen = _layers(workload, layers)
    ends = _ends(workload) if first_last is not None else frozenset()
    weight_options = _options(bits if weights is None else weights)
    tensor_options = _options(bits if activations is None else activations)
    named = [x.name for x in chosen if x.name in sites.weights] if weight_options else []
    groups = _groups(workload, chosen, sites.tensors) if tensor_options else []
    edge_groups = {workload.bit_groups[i] for x in chosen if x.name in ends for i in x.inputs}
    free = [_choice(WEIGHT + n, weight_options) for n in named if n not in ends]
    free += [_choice(ACTIVATION + g, tensor_options) for g in groups if g not in edge_groups]
    fixed = Quantize(
        {n: first_last for n in named if n in ends} if first_last is not None else {},
        {g: first_last for g in groups if g in edge_groups} if first_last is not None else {},
        method=method,
    )
    if not named and not groups:
        raise HwflowError(f"Network {workload.name!r} has nothing to quantise among these layers.")
    network = source if isinstance(source, Network) else None
    return Space(workload, (FusePart(), QuantizePart(tuple(free), fixed)), network)


@dataclass(frozen=True)
class Quantizable:
    """Layers whose weight, and tensors that, may get a quantiser."""

    weights: Collection[str]
    tensors: Collection[str]


def _sites(source: Network | Workload) -> tuple[Workload, Quantizable]:
    if isinstance(source, Network):
        found = read(source)
        return found.workload, Quantizable(weight_sites(found), tensor_sites(found))
    return source, quantizable(source)


def quantizable(workload: Workload) -> Quantizable:
    """Return what of a network on paper may get a quantiser."""
    weights = [layer.name for layer in workload if layer.op in _WEIGHTED]
    fresh = [layer.name for layer in workload if not layer.passes]
    return Quantizable(weights, [i.name for i in workload.inputs] + fresh)


def _layers(workload: Workload, names: Collection[str] | None) -> list[Layer]:
    """Return the named layers, all by default."""
    for name in names or ():
        if name not in workload or not workload[name].is_mac:
            known = [layer.name for layer in workload.mac_layers]
            raise HwflowError(unknown_name("multiplying layer", name, known))
    return [layer for layer in workload if names is None or layer.name in names]


def _ends(workload: Workload) -> frozenset[str]:
    """Return the multiplying layers that no other comes before, or after."""
    after = {i.name for i in workload.inputs}
    first = {reader for name in after for reader in workload.mac_readers(name)}
    fed = {r for layer in workload.mac_layers for r in workload.mac_readers(layer.name)}
    last = {layer.name for layer in workload.mac_layers if not workload.mac_readers(layer.name)}
    return frozenset((first - fed) | last)


def _groups(workload: Workload, layers: Iterable[Layer], sites: Collection[str]) -> list[str]:
    """Return the bit groups that `layers` read and that can be quantised as a whole."""
    group_of = workload.bit_groups
    read = {group_of[name] for layer in layers if not layer.passes for name in layer.inputs}
    fresh = [i.name for i in workload.inputs] + [x.name for x in workload if not x.passes]
    unknown = {layer.name for layer in workload.unknown}
    closed = {group_of[name] for name in fresh if name not in sites or name in unknown}
    return [name for name in group_of if name in read and name not in closed]


def _options(bits: Sequence[int]) -> tuple[int, ...]:
    for value in bits:
        if value != FLOAT_BITS:
            check_bits(value)
    return tuple(sorted(set(bits)))


def _check_first_last(bits: int | None) -> None:
    if bits is None or bits == FLOAT_BITS:
        return
    try:
        check_bits(bits)
    except HwflowError as error:
        raise HwflowError(
            f"first_last is {bits!r}. Allowed: bits from 1 to {MAX_BITS}, {FLOAT_BITS} to leave "
            "first and last layers in floating point, or None to make their bits choices too."
        ) from error


def _choice(name: str, options: tuple[int, ...]) -> Choice:
    return Choice(name, options, default=len(options) - 1)
