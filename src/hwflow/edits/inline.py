"""Options put into an exported graph: the network face of a replacement."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, fx, nn

from hwflow.edits.branch_graph import delete
from hwflow.edits.operations.teacher import ends, inside, set_tensor
from hwflow.edits.quantizers import QUANTIZERS, Prepared
from hwflow.edits.sites import Site
from hwflow.edits.splice import HOLDER, renamed
from hwflow.edits.trainable import TrainableGraph
from hwflow.edits.twin import twin
from hwflow.errors import HwflowError


@dataclass(frozen=True, eq=False)
class Insert:
    """What is put at a site."""

    site: Site
    graph: fx.GraphModule
    """Of the option's module."""
    state: Mapping[str, Tensor]
    """Parameters and buffers by the paths that the graph calls them by."""
    own: bool
    """Whether these paths, and the names of the layers, are those of the network."""

    def path(self, path: str) -> str:
        """Return the path of a tensor or module of the option in the network."""
        if path.startswith(f"{QUANTIZERS}."):
            label = re.sub(r"\W", "_", self.site.name)
            return f"{QUANTIZERS}.{label}__{path.removeprefix(f'{QUANTIZERS}.')}"
        return renamed(self.site, path, self.own)


def inlined(ready: Prepared, inserts: Iterable[Insert]) -> TrainableGraph:
    """Return a copy of the network with options at some of its sites; it shares no tensor."""
    order = {layer.name: place for place, layer in enumerate(ready.workload)}
    # from the input on: where one leaves nothing, its entry is what the one before it made
    inserts = sorted(inserts, key=lambda insert: order[insert.site.exit])
    module = twin(ready.graph, lambda _, value: _copied(value))
    twins = dict(zip(ready.graph.graph.nodes, module.graph.nodes, strict=True))
    for insert in inserts:
        _place(module, ready, insert, twins)
    module.graph.lint()
    module.recompile()
    return module.eval()


def _copied(value: Tensor) -> Tensor:
    new = value.detach().clone()
    return nn.Parameter(new, value.requires_grad) if isinstance(value, nn.Parameter) else new


def _place(
    module: TrainableGraph, ready: Prepared, insert: Insert, twins: dict[fx.Node, fx.Node]
) -> None:
    """Take out what is at a site, put the option there, and let its readers read that."""
    site, (entry, end) = insert.site, ends(ready, insert.site)
    old = inside(ready, site)
    first = next(n for n in ready.graph.graph.nodes if ready.found.owners.get(n.name) == site.exit)
    _delete(module, ready, old, insert)
    made = _copy_in(module, insert, twins[entry], twins[first])
    twins[end].replace_all_uses_with(made)
    for node in reversed(list(ready.graph.graph.nodes)):
        if node in old and not twins[node].users:
            module.graph.erase_node(twins[node])
    twins[end] = made


def _delete(module: TrainableGraph, ready: Prepared, old: set[fx.Node], insert: Insert) -> None:
    """Take the tensors of a site out of the module, with the counters that nobody reads."""
    constants = ready.graph.graph.find_nodes(op="get_attr")
    paths = {str(node.target) for node in constants if node in old}
    kept = {str(node.target) for node in constants if node not in old and node.users}
    if paths & kept:
        raise HwflowError(
            f"The site {insert.site.name!r} shares {min(paths & kept)!r} with the rest of the "
            "network: it cannot be replaced. Leave this site out."
        )
    owners = {path.rpartition(".")[0] for path in paths}
    paths |= {
        str(node.target) for node in constants
        if not node.users and str(node.target).rpartition(".")[0] in owners - {""}
    }  # fmt: skip
    old |= {node for node in constants if str(node.target) in paths}
    for path in paths:
        delete(module, path)


def _copy_in(module: TrainableGraph, insert: Insert, entry: fx.Node, before: fx.Node) -> fx.Node:
    """Copy the nodes of an option before a node; return what holds its result."""
    if not insert.own and hasattr(_owner(module, insert.site.name), HOLDER):
        raise HwflowError(
            f"The network has something called {insert.site.name}.{HOLDER} already, where an "
            "option's parameters would go. Rename that module."
        )
    made: dict[fx.Node, fx.Node] = {}
    for node in insert.graph.graph.nodes:
        if node.op == "placeholder":
            made[node] = entry
        elif node.op == "output":
            return made[node.all_input_nodes[0]]
        elif node.op != "call_module":
            with module.graph.inserting_before(before):
                made[node] = _copy_node(module, insert, node, made)
    raise HwflowError(f"The option at {insert.site.name!r} has no output.")


def _copy_node(
    module: TrainableGraph, insert: Insert, node: fx.Node, made: Mapping[fx.Node, fx.Node]
) -> fx.Node:
    if node.op == "get_attr":
        value = insert.state[str(node.target)]
        path = insert.path(str(node.target))
        set_tensor(module, path, value.detach().clone(), value)
        copied = module.graph.get_attr(path)
        copied.meta = dict(node.meta)
        return copied
    copied = module.graph.node_copy(node, made.__getitem__)
    copied.meta = dict(node.meta)
    if not insert.own:
        stack = node.meta.get("nn_module_stack") or {"": ("", "")}
        copied.meta["nn_module_stack"] = {
            key: (f"{insert.site.name}.{HOLDER}{'.' if path else ''}{path}", kind)
            for key, (path, kind) in stack.items()
        }
    return copied


def _owner(root: nn.Module, path: str) -> nn.Module | None:
    for part in path.split("."):
        found = root._modules.get(part)
        if found is None:
            return None
        root = found
    return root
