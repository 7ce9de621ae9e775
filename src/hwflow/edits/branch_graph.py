"""Residual branches out of an exported graph: the addition passes its other operand on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import fx, nn

from hwflow.coupling import Branch
from hwflow.edits.survey import Survey, arguments
from hwflow.extract.call import operator_name

_ACTIVATION = "torch.nn.modules.activation.Activation"


@dataclass(frozen=True, eq=False)
class Removal:
    """What goes from a graph with one branch."""

    name: str
    """The addition on paper."""
    add: fx.Node
    passes: int
    """Which argument of the addition stays: 0 or 1."""
    nodes: tuple[fx.Node, ...]
    """What only the branch needs, readers first."""
    acts: tuple[fx.Node, ...]
    """The activation after the addition."""


def removal(survey: Survey, branch: Branch) -> Removal | None:
    """Return what goes with a branch, None where the graph does not hold it by itself."""
    found = survey.found
    owned = [node for node in found.graph.nodes if found.owners.get(node.name) == branch.add]
    add = owned[0]
    operands = [arguments(add).get(name) for name in ("self", "other")]
    makers = [_owner(survey, operand) for operand in operands]
    if operator_name(add) != "add" or sorted(makers) != sorted((branch.end, branch.other)):
        return None
    end = makers.index(branch.end)
    if end == 0 and arguments(add).get("alpha", 1) != 1:
        return None
    nodes = _only_for(add, operands[end])
    inside = {n for n in found.graph.nodes if found.owners.get(n.name) in branch.layers}
    if not inside <= set(nodes) or _shared(survey, nodes):
        return None
    return Removal(branch.add, add, 1 - end, nodes, tuple(owned[1:]))


def _owner(survey: Survey, node: object) -> str:
    """Return the layer whose tensor a node is, also behind operators that change nothing."""
    owners = survey.found.owners
    while isinstance(node, fx.Node) and node.name not in owners and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return owners.get(node.name, "") if isinstance(node, fx.Node) else ""


def _only_for(add: fx.Node, end: object) -> tuple[fx.Node, ...]:
    """Return the nodes that nobody needs but to make one operand of an addition."""
    gone: dict[fx.Node, None] = {}
    node: fx.Node
    for node in reversed(add.graph.nodes):
        only = node is end and [*node.users] == [add]
        if only or (node.users and gone.keys() >= node.users.keys()):
            gone[node] = None
    owners = {_module_of(node) for node in gone if node.op == "get_attr"}
    for node in add.graph.find_nodes(op="get_attr"):
        if not node.users and _module_of(node) in owners:  # a counter that nobody reads
            gone[node] = None
    return tuple(gone)


def _module_of(node: fx.Node) -> str:
    return str(node.target).rpartition(".")[0]


def _shared(survey: Survey, nodes: Collection[fx.Node]) -> bool:
    """Whether a parameter of these nodes is read by others too."""
    gone = set(nodes)
    read: dict[str, set[bool]] = {}
    for node in survey.found.graph.find_nodes(op="get_attr"):
        path = str(node.target)
        read.setdefault(survey.keys.get(path, path), set()).add(node in gone)
    return any(len(kinds) > 1 for kinds in read.values())


def take_out(module: fx.GraphModule, twins: Mapping[fx.Node, fx.Node], gone: Removal) -> None:
    """Take a branch out of a copy of the graph; `twins` maps its nodes to those of the copy.

    The activation after the addition is named after it from now on.
    """
    add = twins[gone.add]
    add.replace_all_uses_with(add.args[gone.passes])  # type: ignore[arg-type]
    module.graph.erase_node(add)
    for node in gone.acts:
        # a type of torch.nn: extraction names such a layer after its path alone
        twins[node].meta["nn_module_stack"] = {gone.name: (gone.name, _ACTIVATION)}
    for node in gone.nodes:
        module.graph.erase_node(twins[node])
    for path in dict.fromkeys(str(node.target) for node in gone.nodes if node.op == "get_attr"):
        delete(module, path)


def delete(root: nn.Module, path: str) -> None:
    """Delete a parameter or buffer, and the modules in which nothing is left."""
    owner_path, _, name = path.rpartition(".")
    delattr(root.get_submodule(owner_path), name)
    while owner_path:
        owner = root.get_submodule(owner_path)
        if owner._parameters or owner._buffers or owner._modules:
            return
        owner_path, _, name = owner_path.rpartition(".")
        delattr(root.get_submodule(owner_path), name)
