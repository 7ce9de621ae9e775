"""What stands at a site, taken out of its network as a module of its own."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, fx, nn

from hwflow.edits.quantizers import Prepared, prepared
from hwflow.edits.sites import Site
from hwflow.edits.trainable import TrainableGraph
from hwflow.errors import HwflowError
from hwflow.network import Network

_SIZE = torch.ops.aten.sym_size.int


def teacher_of(network: Network, site: Site) -> TrainableGraph:
    """Return what stands at a site, for any batch, in eval mode; it shares no tensor.

    Parameters keep their paths in the network. Raises HwflowError where the exported graph does
    not hold the site by itself.
    """
    return cut_out(prepared(network), site)


def cut_out(ready: Prepared, site: Site) -> TrainableGraph:
    """Return the part of an exported network between the entry and the exit of a site."""
    nodes, entry, end = inside(ready, site), *ends(ready, site)
    graph = fx.Graph()
    made = {entry: graph.placeholder("x")}
    made[entry].meta = {"val": entry.meta["val"]}
    for node in ready.graph.graph.nodes:
        if _batch(node) and node in nodes:  # the entry's is the same
            made[node] = graph.call_function(_SIZE, (made[entry], 0))
            made[node].meta = dict(node.meta)
        elif node in nodes:
            made[node] = graph.node_copy(node, made.__getitem__)
    output = graph.output(made[end])
    output.meta = {"val": end.meta["val"]}
    root = nn.Module()
    copy_tensors(ready.graph, root, [str(n.target) for n in nodes if n.op == "get_attr"])
    module = TrainableGraph(root, graph)
    return module.eval()


def ends(ready: Prepared, site: Site) -> tuple[fx.Node, fx.Node]:
    """Return the nodes that hold the entry and the exit."""
    values = ready.found.values
    for name in (site.entry, site.exit):
        if name not in values:
            raise HwflowError(f"No node of the exported graph holds {name!r} of {site.name!r}.")
    return values[site.entry], values[site.exit]


def inside(ready: Prepared, site: Site) -> set[fx.Node]:
    """Return what the exit is computed from, the entry and what is before it left out."""
    entry, end = ends(ready, site)
    found, waiting = {end}, [end]
    while waiting:
        for node in waiting.pop().all_input_nodes:
            if node is not entry and node not in found:
                found.add(node)
                waiting += [] if _batch(node) else [node]
    if any(node.op == "placeholder" for node in found):
        raise HwflowError(
            f"The part {site.name!r} of {ready.name!r} reads an input of the network besides "
            f"{site.entry!r} (its size, say): it cannot be replaced. Leave this site out."
        )
    return found


def _batch(node: fx.Node) -> bool:
    """Whether a node is the batch size of an input of the network."""
    if node.target is not _SIZE or node.args[1] != 0:
        return False
    return isinstance(node.args[0], fx.Node) and node.args[0].op == "placeholder"


def copy_tensors(source: nn.Module, target: nn.Module, paths: Iterable[str]) -> None:
    """Copy parameters and buffers to the same paths of another module."""
    for path in dict.fromkeys(paths):
        owner, _, name = path.rpartition(".")
        value: Tensor = getattr(source.get_submodule(owner), name)
        set_tensor(target, path, value.detach().clone(), value)


def set_tensor(root: nn.Module, path: str, value: Tensor, like: Tensor) -> None:
    """Put a tensor at a path, as a parameter where `like` is one; modules are made as needed."""
    owner_path, _, name = path.rpartition(".")
    owner = root
    for part in owner_path.split(".") if owner_path else ():
        if part not in owner._modules:
            owner.add_module(part, nn.Module())
        owner = owner.get_submodule(part)
    if isinstance(like, nn.Parameter):
        owner.register_parameter(name, nn.Parameter(value, like.requires_grad))
    else:
        owner.register_buffer(name, value)
