"""Options made from the teacher by removing its channels, or by quantising it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, cast

import torch
from torch import Tensor, fx, nn

from hwflow.coupling import couple
from hwflow.design import Design
from hwflow.edits.fuse import Fuse
from hwflow.edits.operations.option import Option
from hwflow.edits.part import part_of, reading
from hwflow.edits.prune import prune
from hwflow.edits.quantize import Quantize, quantizable
from hwflow.edits.ranking import taylor
from hwflow.edits.sites import Site
from hwflow.edits.trainable import TrainableGraph
from hwflow.extract.call import is_quantizer
from hwflow.extract.exported import extract_network
from hwflow.network import Network
from hwflow.running import seeded
from hwflow.space import Space
from hwflow.workload import FLOAT_BITS, Layer, Workload

INPUTS = "hwflow_inputs"
"""Where a teacher's `meta` has what its entry holds for some calibration inputs."""

_DESIGN: Any = None
"""A machine where none is looked at."""


def alone(site: Site, teacher: nn.Module) -> Network:
    """Return the teacher as a network, with the entry's values where it knows them.

    Without any, standard normal ones (seeded) take their place: enough to check, not to use.
    """
    known = getattr(teacher, "meta", {}).get(INPUTS)
    if known is None:
        with seeded(0):
            known = torch.randn(8, *site.in_shape)
    return Network(site.name, teacher, known[:1], calibration=known)


@dataclass(frozen=True)
class Pruned(Option):
    """The teacher with a share of the channels inside; those of its entry and exit stay."""

    keep: float
    saliency: Literal["l1", "taylor"]
    family = "pruned"
    derived = True

    @property
    def name(self) -> str:
        """Its unique name."""
        return f"pruned_{self.keep:g}_{self.saliency}"

    def fits(self, site: Site) -> bool:
        """Whether it can stand at a site: it must have channels inside, and lose one."""
        return round(self.keep * site.inner) < site.inner

    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        """Return the teacher without the channels that matter least.

        By "l1", the norm of their filters; by "taylor", what the exit's mean square changes by.
        """
        network = alone(site, self.needs(teacher))
        scores = None
        if self.saliency == "taylor":
            coupling = couple(prune(network, (self.keep,)).workload)
            inputs = cast(Tensor, network.calibration)
            batches = [(part, part) for part in torch.split(inputs, 8)]
            scores = taylor(network, coupling, batches, lambda made, _: made.square().mean())
        space = prune(network, (self.keep,), ranking="l1", scores=scores, mend="none")
        return space.apply(_least(space)).module

    def piece(self, site: Site, workload: Workload) -> Workload:
        """Return what is left on paper."""
        space = prune(part_of(workload, site), (self.keep,))
        return space.on_paper(_least(space), Design(space.workload, _DESIGN)).workload


def _least(space: Space) -> tuple[int, ...]:
    """Return the plan that keeps the least of every group."""
    return tuple(0 for _ in space.choices)


@dataclass(frozen=True)
class Quantized(Option):
    """The teacher, normalisations folded, its weights and tensors on grids.

    The entry is quantised inside, for this site alone; the exit leaves in floating point. So what
    one site costs depends on no other.
    """

    weight_bits: int
    activation_bits: int
    family = "quantized"
    derived = True
    learns = False
    own_bits = True

    @property
    def name(self) -> str:
        """Its unique name."""
        return f"quantized_w{self.weight_bits}_a{self.activation_bits}"

    def fits(self, site: Site) -> bool:
        """Whether it can stand at a site: always."""
        return True

    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        """Return the teacher with quantisers; ranges are those of the values that it knows."""
        network = Fuse().in_network(alone(site, self.needs(teacher)))
        edit = self._edit(extract_network(network).workload)
        module = cast(TrainableGraph, edit.in_network(network).module)
        _requantise(module, site)
        return module

    def piece(self, site: Site, workload: Workload) -> Workload:
        """Return the part with its bits, behind the two layers that quantise its entry."""
        design = Fuse().on_paper(Design(part_of(workload, site), _DESIGN))
        edit = self._edit(design.workload)
        return _behind_quantiser(edit.on_paper(design).workload, site)

    def _edit(self, workload: Workload) -> Quantize:
        """Return the bits of every weight, and of every tensor but the exit."""
        groups, may = workload.bit_groups, quantizable(workload)
        entry, exit_ = groups[workload.inputs[0].name], workload.outputs[0]
        left = groups[exit_] if exit_ in may.tensors else ""
        named = {groups[name] for name in may.tensors} - ({left} - {entry})
        return Quantize(
            dict.fromkeys(may.weights, self.weight_bits),
            dict.fromkeys(sorted(named), self.activation_bits),
        )


def entry_layers(site: Site) -> tuple[str, str]:
    """Return what the two layers are called in between which an entry is quantised."""
    return f"{site.name}.option.quantize", f"{site.name}.option.restore"


def _requantise(module: TrainableGraph, site: Site) -> None:
    """Let the quantisers of the entry read a view of it, so that the entry itself stays."""
    graph = module.graph
    x = next(iter(graph.find_nodes(op="placeholder")))
    users = list(x.users)
    quantisers = [user for user in users if is_quantizer(user)]
    with graph.inserting_after(x):
        wide = _view(graph, torch.ops.aten.unsqueeze.default, x, entry_layers(site)[0])
    for node in quantisers:
        node.replace_input_with(x, wide)
        node.meta["val"] = wide.meta["val"]
        with graph.inserting_after(node):
            back = _view(graph, torch.ops.aten.squeeze.dim, node, entry_layers(site)[1])
        node.replace_all_uses_with(back, delete_user_cb=lambda user, back=back: user is not back)
    graph.lint()
    module.recompile()


def _view(graph: fx.Graph, target: Any, source: fx.Node, name: str) -> fx.Node:
    node = graph.call_function(target, (source, 1))
    value = source.meta["val"]
    with torch.no_grad():
        node.meta["val"] = target(value, 1)
    # a type of torch.nn: extraction names such a layer after its path alone
    node.meta["nn_module_stack"] = {name: (name, "torch.nn.modules.flatten.Unflatten")}
    return node


def _behind_quantiser(piece: Workload, site: Site) -> Workload:
    """Return the workload whose input becomes quantised inside."""
    given = piece.inputs[0]
    wide, back = entry_layers(site)
    shape = (given.shape[0], 1, *given.shape[1:])
    first = Layer(wide, "reshape", (given.name,), (given.shape,), shape, given.shape[0],
                  input_bits=(FLOAT_BITS,), output_bits=given.bits)  # fmt: skip
    second = replace(first, name=back, inputs=(wide,), in_shapes=(shape,), out_shape=given.shape,
                     input_bits=(given.bits,))  # fmt: skip
    rest = tuple(reading(layer, given.name, back) for layer in piece)
    inputs = (replace(given, bits=FLOAT_BITS),)
    return replace(piece, layers=(first, second, *rest), inputs=inputs)


def pruned() -> Iterator[Option]:
    """Yield the 12 pruned teachers."""
    for keep, saliency in product((0.25, 0.375, 0.5, 0.625, 0.75, 0.875), ("l1", "taylor")):
        yield Pruned(keep, cast(Literal["l1", "taylor"], saliency))


def quantized() -> Iterator[Option]:
    """Yield the 16 quantised teachers."""
    yield from (Quantized(*bits) for bits in product((2, 4, 6, 8), (4, 6, 8, 16)))
