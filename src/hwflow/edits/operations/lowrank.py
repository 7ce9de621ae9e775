"""Options made from the teacher by taking its convolutions apart into smaller ones."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, fx, nn

from hwflow.edits.operations import factors
from hwflow.edits.operations.option import Option
from hwflow.edits.operations.teacher import set_tensor
from hwflow.edits.part import part_of
from hwflow.edits.sites import Site
from hwflow.edits.survey import arguments
from hwflow.edits.trainable import TrainableGraph, trainable
from hwflow.extract.exported import export_network, is_exported
from hwflow.network import Network
from hwflow.workload import Layer, Workload

Method = Literal["svd", "tucker", "cp"]

REDUCE, CORE = "reduce", "core"
"""What the convolutions before the last are called; the last keeps the name, norm and act."""


@dataclass(frozen=True)
class LowRank(Option):
    """The teacher, each convolution that is not grouped taken apart.

    `rank` is a share: of min(K, C R S) for "svd" (a wide and a pointwise convolution), of C and K
    for "tucker" (pointwise, wide, pointwise), of max(C, K) for "cp" (pointwise, depthwise,
    pointwise). The last two are for kernels wider than 1x1 and leave the others as they are.
    """

    rank: float
    method: Method
    family = "low_rank"
    derived = True

    @property
    def name(self) -> str:
        """Its unique name."""
        return f"low_rank_{self.method}_{self.rank:g}"

    def fits(self, site: Site) -> bool:
        """Whether it can stand at a site: it must have a convolution that comes apart."""
        return site.kernel > (0 if self.method == "svd" else 1)

    def module(self, site: Site, teacher: nn.Module | None = None) -> nn.Module:
        """Return a copy of the teacher's graph with its convolutions taken apart."""
        module = self._graph(site, self.needs(teacher))
        for node in list(module.graph.nodes):
            if node.target in (_CONV, _PADDED) and self._apart(node):
                self._take_apart(module, node)
        module.graph.lint()
        module.recompile()
        return module

    def piece(self, site: Site, workload: Workload) -> Workload:
        """Return the part with its convolutions taken apart."""
        part = part_of(workload, site)
        layers = tuple(new for layer in part for new in self._on_paper(layer))
        return replace(part, layers=layers)

    def ranks(self, outputs: int, inputs: int, kernel: Sequence[int]) -> tuple[int, ...]:
        """Return the channels between the convolutions."""
        if self.method == "svd":
            return (_share(self.rank, min(outputs, inputs * prod(kernel))),)
        if self.method == "tucker":
            return _share(self.rank, inputs), _share(self.rank, outputs)
        return (_share(self.rank, max(inputs, outputs)),) * 2

    def _graph(self, site: Site, teacher: nn.Module) -> TrainableGraph:
        if is_exported(teacher):
            return cast(TrainableGraph, copy.deepcopy(teacher))
        example = torch.zeros(1, *site.in_shape)
        return trainable(export_network(Network(site.name, teacher, example), dynamic_batch=True))

    def _apart(self, node: fx.Node) -> bool:
        weight = node.args[1]
        if not isinstance(weight, fx.Node) or weight.op != "get_attr" or len(weight.users) > 1:
            return False
        shape, groups = weight.meta["val"].shape, arguments(node).get("groups", 1)
        return bool(groups == 1) and _comes_apart(self.method, tuple(shape[2:]))

    def _factors(self, weight: Tensor) -> tuple[Tensor, ...]:
        ranks = self.ranks(weight.shape[0], weight.shape[1], weight.shape[2:])
        if self.method == "svd":
            return factors.svd(weight, ranks[0])
        if self.method == "tucker":
            return factors.tucker(weight, *ranks)
        return factors.cp(weight, ranks[0])

    def _take_apart(self, module: TrainableGraph, node: fx.Node) -> None:
        held = cast(fx.Node, node.args[1])
        path = str(held.target)
        base = path.removesuffix(".weight")
        old = module.get_parameter(path)
        weights = self._factors(old.detach())
        given: list[Any] = [*node.args, *_DEFAULTS[len(node.args) :]]
        x = cast(fx.Node, node.args[0])
        for (own, wide), weight in zip(_parts(self.method), weights[:-1], strict=True):
            name = f"{base}.{own}"
            groups = len(weight) if self.method == "cp" and wide else 1
            geometry = (*given[3:6], groups) if wide else ([1, 1], [0, 0], [1, 1], 1)
            value = node.meta["val"] if wide else x.meta["val"]
            set_tensor(module, f"{name}.weight", weight.clone(), old)
            with module.graph.inserting_before(node):
                constant = module.graph.get_attr(f"{name}.weight")
                constant.meta["val"] = held.meta["val"].new_empty(tuple(weight.shape))
                target = node.target if wide else _CONV
                x = module.graph.call_function(target, (x, constant, None, *geometry))  # type: ignore[arg-type]
            shape = (value.shape[0], len(weight), *value.shape[2:])
            x.meta = {
                "val": value.new_empty(shape),
                "nn_module_stack": {name: (name, "torch.nn.modules.conv.Conv2d")},
            }
        set_tensor(module, path, weights[-1].clone(), old)
        held.meta["val"] = held.meta["val"].new_empty(tuple(weights[-1].shape))
        node.target, node.args = _CONV, (x, held, given[2], [1, 1], [0, 0], [1, 1], 1)

    def _on_paper(self, layer: Layer) -> tuple[Layer, ...]:
        plain = layer.op == "conv" and layer.groups == 1 and layer.attr("tied") is None
        if not plain or not _comes_apart(self.method, layer.kernel):
            return (layer,)
        ranks = self.ranks(layer.out_channels, layer.in_channels, layer.kernel)
        parts: list[Layer] = []
        for (name, wide), rank in zip(_parts(self.method), ranks, strict=True):
            before = parts[-1] if parts else layer
            groups = rank if self.method == "cp" and wide else 1
            parts.append(_part(layer, before, not parts, name, rank, wide, groups))
        last = _part(layer, parts[-1], False, "", layer.out_channels, False, 1)
        extra = layer.params - layer.weights
        kept = replace(
            last, name=layer.name, norm=layer.norm, act=layer.act, bias=layer.bias,
            params=last.params + extra, path=layer.path, output_bits=layer.output_bits,
            attrs=layer.attrs,
        )  # fmt: skip
        return (*parts, kept)


_CONV, _PADDED = torch.ops.aten.conv2d.default, torch.ops.aten.conv2d.padding
_DEFAULTS: tuple[Any, ...] = (None, None, None, [1, 1], [0, 0], [1, 1], 1)
"""Arguments of aten.conv2d where they are not given."""


def _part(
    whole: Layer, before: Layer, first: bool, name: str, channels: int, wide: bool, groups: int
) -> Layer:
    """Return one of the convolutions that a layer comes apart into."""
    shape = before.in_shapes[0] if first else before.out_shape
    size = whole.out_size if wide else (shape[-2], shape[-1])
    made = Layer(
        f"{whole.name}.{name}", "conv", before.inputs if first else (before.name,), (shape,),
        (shape[0], channels, *size), whole.batch, channels, shape[1], size,
        whole.kernel if wide else (1, 1), whole.stride if wide else (1, 1),
        whole.dilation if wide else (1, 1), whole.padding if wide else (0, 0, 0, 0), groups,
        input_bits=before.input_bits if first else (before.output_bits,),
        path=f"{whole.path}.{name}",
    )  # fmt: skip
    return replace(made, params=made.weights)


def _parts(method: Method) -> tuple[tuple[str, bool], ...]:
    """Return the convolutions before the last: their names, and which has the whole's kernel."""
    return ((REDUCE, True),) if method == "svd" else ((REDUCE, False), (CORE, True))


def _comes_apart(method: Method, kernel: Sequence[int]) -> bool:
    return len(kernel) == 2 and (method == "svd" or max(kernel) > 1)


def _share(share: float, of: int) -> int:
    return max(1, round(share * of))


def low_ranks() -> Iterator[Option]:
    """Yield the 12 teachers of low rank."""
    for rank, method in product((0.125, 0.25, 0.5, 0.75), get_args(Method)):
        yield LowRank(rank, method)
