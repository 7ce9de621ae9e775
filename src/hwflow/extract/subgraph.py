"""Part of an exported graph, as a module that runs by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import fx


def subgraph(
    graph: fx.GraphModule, wanted: Sequence[fx.Node], given: Mapping[fx.Node, str] | None = None
) -> fx.GraphModule:
    """Return what computes some nodes from the `given` ones, which become inputs by name.

    Without any, the inputs are those of the graph. It returns a tuple in the order of `wanted`.
    Parameters are shared; nothing that is not needed is computed or kept.
    """
    given = given or {}
    needed = _needed(wanted, given)
    made = fx.Graph()
    env = {node: made.placeholder(name) for node, name in given.items()}
    for node in graph.graph.nodes:
        if node in needed and node not in env:
            env[node] = made.node_copy(node, env.__getitem__)
    made.output(tuple(env[node] for node in wanted))
    return fx.GraphModule(graph, made)


def _needed(wanted: Iterable[fx.Node], given: Iterable[fx.Node]) -> set[fx.Node]:
    found, waiting = set(given), list(wanted)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found
