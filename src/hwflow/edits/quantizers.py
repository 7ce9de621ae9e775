"""Quantisers in a network: where they go, which scales they have.

The network is exported once (any batch). For a plan, the graph is copied and `fake_quantize` nodes
are put after weights and after the tensors that hold new values; operators that pass values on
(reshape, concat, max-pool, ...) pass them on their grid, with one scale for all that meet.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, fx

from hwflow.edits import histogram
from hwflow.edits.calibrate import (
    SAMPLES,
    Observed,
    Scale,
    activation_scale,
    dorefa_scale,
    observe,
    together,
    unit_scale,
    weight_scale,
)
from hwflow.edits.methods import Calibration, Method
from hwflow.edits.placing import QUANTIZERS as QUANTIZERS
from hwflow.edits.placing import Place
from hwflow.edits.remember import Remembered
from hwflow.edits.trainable import TrainableGraph, trainable
from hwflow.errors import HwflowError, ModelError
from hwflow.extract.call import active_nodes, is_quantizer
from hwflow.extract.constants import constant
from hwflow.extract.exported import Extraction, export_network, is_exported, read_graph
from hwflow.network import Network
from hwflow.workload import Layer, Workload


@dataclass(frozen=True)
class Site:
    """A place for a quantiser: after `value`, for `reader` only or for all who read it."""

    value: fx.Node
    reader: fx.Node | None = None


def tensor_sites(found: Extraction) -> dict[str, list[Site]]:
    """Return for each tensor that holds new values where its quantisers go.

    Tensors that are no floating-point tensors, or that no node of the graph holds, are left out. A
    constant that a concatenation puts beside quantised values is quantised with them.
    """
    sites: dict[str, list[Site]] = {}
    active = active_nodes(found.graph)
    fresh = [i.name for i in found.workload.inputs]
    fresh += [layer.name for layer in found.workload if not layer.passes]
    for name in fresh:
        if name in found.values and _is_float(found.values[name]):
            sites[name] = [Site(found.values[name])]
    for layer in found.workload:
        if layer.op == "concat" and layer.passes and layer.name in found.values:
            node = found.values[layer.name]
            constants = [n for n in node.all_input_nodes if n not in active and _is_float(n)]
            if constants:
                sites[layer.name] = [Site(constant, node) for constant in constants]
    return sites


def weight_sites(found: Extraction) -> dict[str, Site]:
    """Return where the quantiser of each layer's weight goes."""
    active = active_nodes(found.graph)
    sharing: dict[fx.Node, list[str]] = {}
    for layer in found.workload:
        if layer.name in found.weights:
            sharing.setdefault(found.weights[layer.name], []).append(layer.name)
    sites: dict[str, Site] = {}
    for weight, layers in sharing.items():
        readers = sorted(reader for reader in _readers(weight) if reader in active)
        if len(readers) == len(layers):  # else who reads it as a weight is not known
            sites.update(zip(layers, (Site(weight, r) for r in readers), strict=True))
    return sites


def _readers(value: fx.Node) -> list[fx.Node]:
    """Return who reads a value, directly or through a quantiser."""
    direct = [user for user in value.users if not is_quantizer(user)]
    return direct + [r for user in value.users if is_quantizer(user) for r in user.users]


def _is_float(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_floating_point()


@dataclass(eq=False)
class Prepared:
    """What quantising a network needs and no plan changes."""

    name: str
    graph: TrainableGraph
    """The network for any batch, in eval mode; it shares the network's parameters."""
    found: Extraction
    calibration: Tensor | None
    _weight_scales: dict[tuple[str, int, bool, bool], Scale] = field(default_factory=dict)
    _tensor_scales: dict[tuple[str, int, Calibration], Scale] = field(default_factory=dict)
    _seen: dict[int, dict[str, Observed]] = field(default_factory=dict)

    @property
    def workload(self) -> Workload:
        """The network on paper."""
        return self.found.workload

    @cached_property
    def weights(self) -> dict[str, Site]:
        """Where the quantiser of each layer's weight goes."""
        return weight_sites(self.found)

    @cached_property
    def tensors(self) -> dict[str, list[Site]]:
        """Where the quantisers of each scale group go, by the group's first tensor."""
        groups: dict[str, list[Site]] = {}
        for name, sites in tensor_sites(self.found).items():
            groups.setdefault(self.workload.scale_groups[name], []).extend(sites)
        return groups

    @cached_property
    def labels(self) -> dict[str, str]:
        """Names of layers and inputs as names of submodules, each different."""
        labels: dict[str, str] = {}
        taken: set[str] = set()
        for name in self.workload.scale_groups:
            label = re.sub(r"\W", "_", name)
            while label in taken:
                label += "_"
            taken.add(label)
            labels[name] = label
        return labels

    def weight_scale(self, layer: str, bits: int, method: Method = Method()) -> Scale:
        """Return the scales of a layer's weight, one per output channel."""
        dorefa = method.quantizer == "dorefa"
        key = (layer, bits, dorefa, method.faithful if dorefa else method.fits)
        if key not in self._weight_scales:
            value = constant(self.graph, self.weights[layer].value)
            if not torch.isfinite(value).all():
                raise ModelError(
                    f"The weight of layer {layer!r} holds values that are not finite numbers. "
                    "Load the network with sound weights."
                )
            axis = _channel_axis(self.workload[layer], value)
            self._weight_scales[key] = (
                dorefa_scale(value, bits, axis, method.faithful)
                if dorefa
                else weight_scale(value, bits, axis, method.fits)
            )
        return self._weight_scales[key]

    def tensor_scale(self, group: str, bits: int, method: Method = Method()) -> Scale:
        """Return the scale of a scale group, from the calibration inputs."""
        images = {self.workload.scale_groups[i.name] for i in self.workload.inputs}
        if method.faithful and group not in images:
            return unit_scale(bits)
        key = (group, bits, method.calibration)
        if key not in self._tensor_scales:
            samples = histogram.SAMPLES if method.calibration == "kl" else SAMPLES
            seen = self._observed(samples)[group]
            self._tensor_scales[key] = activation_scale(seen, bits, method.calibration)
        return self._tensor_scales[key]

    def _observed(self, samples: int) -> dict[str, Observed]:
        if samples not in self._seen:
            nodes = {
                f"{group}/{index}": site.value
                for group, sites in self.tensors.items()
                for index, site in enumerate(sites)
            }
            seen = observe(self.graph, nodes, self.inputs, samples)
            self._seen[samples] = {
                group: together([seen[f"{group}/{i}"] for i in range(len(sites))], samples)
                for group, sites in self.tensors.items()
            }
        return self._seen[samples]

    @property
    def inputs(self) -> Tensor:
        """The calibration inputs; HwflowError where there are none."""
        if self.calibration is None:
            raise HwflowError(
                f"Network {self.name!r} has no calibration inputs, which the ranges of "
                "activations are taken from. Give some, better 100 or more of the training data: "
                "network.calibrated(inputs)."
            )
        return self.calibration


@Remembered
def prepared(network: Network) -> Prepared:
    """Export the network and read its graph."""
    module = network.module
    exported = module if is_exported(module) else export_network(network, dynamic_batch=True)
    graph = trainable(exported).eval()  # type: ignore[arg-type]
    return Prepared(network.name, graph, read_graph(graph, network.name), network.calibration)


def prepared_in_floats(network: Network, why: str) -> Prepared:
    """Return a network's export; HwflowError ending in `why` where it is quantised already."""
    ready = prepared(network)
    if any(is_quantizer(node) for node in ready.graph.graph.nodes):
        raise HwflowError(f"Network {network.name!r} is quantised: {why}")
    return ready


def quantized(
    ready: Prepared,
    weights: Mapping[str, int],
    tensors: Mapping[str, int],
    method: Method = Method(),
) -> TrainableGraph:
    """Return a copy of the network with quantisers.

    `weights` has bits by layer, `tensors` by the first tensor of a scale group. Quantisers that are
    already there are replaced.
    """
    module = copy.deepcopy(ready.graph)
    twins = dict(zip(ready.graph.graph.nodes, module.graph.nodes, strict=True))
    for layer, bits in weights.items():
        place = Place(module, f"{ready.labels[layer]}_weight", method, is_weight=True)
        site = ready.weights[layer]
        place.quantize(
            [(twins[site.value], _twin(twins, site))], ready.weight_scale(layer, bits, method), bits
        )
    for group, bits in tensors.items():
        place = Place(module, ready.labels[group], method)
        sites = [(twins[site.value], _twin(twins, site)) for site in ready.tensors[group]]
        place.quantize(sites, ready.tensor_scale(group, bits, method), bits)
    module.graph.lint()
    module.recompile()
    return module


def _twin(twins: Mapping[fx.Node, fx.Node], site: Site) -> fx.Node | None:
    return None if site.reader is None else twins[site.reader]


def _channel_axis(layer: Layer, weight: Tensor) -> int:
    """Return the axis of the weight along which output channels lie, -1 where none does."""
    if layer.transposed:
        # with one input channel per group, the input channel tells its group's outputs apart;
        # otherwise groups share the scales of their output channels
        return 0 if layer.groups == layer.in_channels else 1
    axis = layer.attr("weight_axis", 0)
    channels = (layer.out_channels, layer.out_channels // layer.groups)
    return axis if isinstance(axis, int) and weight.shape[axis] in channels else -1
