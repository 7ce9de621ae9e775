"""The simulated network beside the integer program: the same codes, counted.

Three things compute a quantised network:

1. its torch module, in float32: fast, what searches score. Its sums round, so now and then a value
   that lies very close to the middle between two codes falls to the other side;
2. the *exact simulation*: the same graph in float64, weights held on their grids exactly. Its
   sums round as well, at 1e-16 instead of 1e-7, with integers of at most some 2^45 in them;
3. the integer program, whose only rounding is that of the multipliers and offsets of its
   requantization, at 2^-48 unless they are given fewer bits.

All three divide inputs and weights by their steps in float32, as ``hwflow::fake_quantize`` does: on
inputs from -1 to 1 each pixel may lie in the middle between two codes, and the last bit decides.
2 and 3 are independent of one another (torch's kernels on real numbers; numpy's on integers) and
give equal codes at every quantiser; 1 differs from them in a few codes, which :func:`agreement`
counts. An exact tie of a sum falls to the even code in all three where scales are powers of two;
with other scales sums do not tie but by accident.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from hwflow.errors import ModelError
from hwflow.export.change import exchange, keep
from hwflow.export.plain import plain
from hwflow.extract.call import is_quantizer, shape_of
from hwflow.extract.constants import is_constant
from hwflow.extract.exported import is_exported, read_graph
from hwflow.fake_quantize import spread
from hwflow.integer.lower import Lowering
from hwflow.integer.program import BATCH, IntegerNetwork
from hwflow.integer.requantize import MULTIPLIER_BITS
from hwflow.integer.values import Array, Grid
from hwflow.network import Network


@dataclass(frozen=True)
class Agreement:
    """How far the simulation and the integer program agree on some images."""

    images: int
    codes: int
    """How many codes were compared: all elements of all quantised tensors of all images."""
    exact: int
    """Codes that differ between the exact simulation and the integer program."""
    float32: int
    """Codes that differ between the float32 module and the integer program. One that differs makes
    others differ further on."""
    float32_alone: int
    """Codes that differ where each quantiser of the float32 module was given the program's codes
    by all quantisers before it: what float32 rounds otherwise, without what follows from it."""
    output_difference: float
    """Largest difference of an output between exact simulation and integer program, over the
    largest output."""
    predictions: int
    """Images to which float32 module and integer program give another class (argmax over axis 1 of
    the first output)."""

    @property
    def bit_exact(self) -> bool:
        """Whether every code of the exact simulation is that of the integer program."""
        return self.exact == 0


def exact_simulation(network: Network) -> Network:
    """Return a copy of a quantised network that computes in float64, weights on their grids.

    It takes float64 inputs, and rounds them to float32 before they are quantised. Raises ModelError
    for a network that is no exported graph.
    """
    module = quantised_graph(network)
    low = Lowering(module, read_graph(module, network.name), MULTIPLIER_BITS)
    for node in [n for n in module.graph.nodes if is_quantizer(n) and is_constant(n)]:
        codes, scales, axis = low.weight(node, node)
        real = torch.from_numpy(codes * spread(scales, codes.ndim, axis))
        with module.graph.inserting_before(node):
            exchange(node, keep(module, f"hwflow_exact_{node.name}", real))
    for node in [n for n in module.graph.nodes if is_quantizer(n)]:
        if node.args[0].op == "placeholder":
            _quantise_in_float32(node)
    module.graph.eliminate_dead_code()
    module.recompile()
    return network.with_module(module.double())


def _quantise_in_float32(node: fx.Node) -> None:
    """Let a quantiser find its codes in float32; it then finds the same grid points in float64."""
    graph, cast = node.graph, torch.ops.aten.to.dtype
    with graph.inserting_before(node):
        narrow = [graph.call_function(cast, (n, torch.float32)) for n in node.args[:2]]
        near = graph.call_function(node.target, (*narrow, *node.args[2:]))  # type: ignore[arg-type]
        node.update_arg(0, graph.call_function(cast, (near, torch.float64)))


def quantised_graph(network: Network) -> fx.GraphModule:
    """Return a copy of a network's graph, in evaluation mode.

    Raises ModelError where the network has no quantisers.
    """
    module = network.module
    if not is_exported(module) or not any(
        is_quantizer(node)
        for node in module.graph.nodes  # type: ignore[union-attr]
    ):
        raise ModelError(
            f"Network {network.name!r} has no quantisers. Quantise it first: "
            "hwflow.quantize(network, bits=(8,)).apply(...), or build a trial of a search."
        )
    made = plain(module).cpu()  # type: ignore[arg-type]
    if made.training:
        made.eval()
    return made


def simulated_codes(network: Network, images: Tensor) -> dict[str, Array]:
    """Return the codes of every quantised tensor as the network's own module computes them.

    The names are those of :meth:`IntegerNetwork.codes`.
    """
    module = quantised_graph(network)
    return _Watch(module, _sites(module, network.name)).codes(images)


def agreement(network: Network, program: IntegerNetwork, images: Tensor) -> Agreement:
    """Compare a quantised network with its integer program on `images` (N, C, H, W)."""
    module = quantised_graph(network)
    sites = _sites(module, network.name)
    exact = _Watch(exact_simulation(network).module, sites)  # type: ignore[arg-type]
    floating = _Watch(module, sites)
    counts = np.zeros(5, dtype=np.int64)
    worst = 0.0
    for chunk in torch.split(images, BATCH):
        array = chunk.numpy()
        wanted, outputs = program.trace(array)
        seen, theirs = exact.codes(chunk.double()), exact.outputs
        free, single = floating.codes(chunk), floating.outputs
        alone = floating.codes(chunk, follow=wanted)
        counts += [
            sum(codes.size for codes in wanted.values()), *(
                sum(int((found[name] != wanted[name]).sum()) for name in wanted)
                for found in (seen, free, alone)
            ), _other_class(single[0], outputs[0]),
        ]  # fmt: skip
        for a, b in zip(theirs, outputs, strict=True):
            worst = max(worst, float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300)))
    codes, differs, free32, alone32, classes = map(int, counts)
    return Agreement(len(images), codes, differs, free32, alone32, worst, classes)


def _other_class(a: Array, b: Array) -> int:
    return int((a.argmax(1) != b.argmax(1)).sum()) if a.ndim > 1 else 0


def _sites(module: fx.GraphModule, name: str) -> dict[str, tuple[str, Grid]]:
    """Return the quantised tensor and the grid of each quantiser of activations, by its node."""
    low = Lowering(module, read_graph(module, name), MULTIPLIER_BITS)
    return {
        node.name: (low.unique(low.layer(source)), low.grid(node, len(shape_of(source))))
        for node in module.graph.nodes if is_quantizer(node) and node in low.scope.active
        for source in node.all_input_nodes[:1]
    }  # fmt: skip


class _Watch(fx.Interpreter):
    """Runs a graph and keeps the codes of its quantisers."""

    def __init__(self, module: fx.GraphModule, sites: Mapping[str, tuple[str, Grid]]) -> None:
        super().__init__(module)
        self.sites = sites
        self.follow: Mapping[str, Array] = {}
        self.seen: dict[str, Array] = {}
        self.outputs: tuple[Array, ...] = ()

    def codes(self, images: Tensor, follow: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Run `images`; with `follow`, every quantiser passes those codes on instead of its own."""
        self.follow, self.seen = follow or {}, {}
        with torch.no_grad():
            made = self.run(images)
        made = made if isinstance(made, list | tuple) else (made,)
        self.outputs = tuple(np.asarray(tensor.numpy(), dtype=np.float64) for tensor in made)
        return self.seen

    def run_node(self, n: fx.Node) -> Any:
        """Run one node."""
        value = super().run_node(n)
        if n.name not in self.sites:
            return value
        name, grid = self.sites[n.name]
        self.seen[name] = grid.codes(value.double().numpy())
        if name not in self.follow:
            return value
        return torch.from_numpy(grid.real(self.follow[name])).to(value.dtype)
