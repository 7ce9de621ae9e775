"""Torch network -> exported graph -> workload."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import fx, nn

from hwflow.errors import ModelError
from hwflow.extract.aten import RULES
from hwflow.extract.aten_views import SPLITS, piece
from hwflow.extract.blame import place, quiet_failure, reason
from hwflow.extract.call import (
    Call,
    Scope,
    active_nodes,
    is_quantizer,
    operator_name,
    quantizer_bits,
    shape_of,
)
from hwflow.extract.fold import fold
from hwflow.extract.nodes import QUANTIZE, Graph, Node
from hwflow.extract.normal import normalise
from hwflow.network import Network
from hwflow.running import evaluating
from hwflow.workload import Input, Workload


@dataclass(frozen=True)
class Extraction:
    """A workload and the graph it was read from."""

    workload: Workload
    graph: fx.Graph
    values: Mapping[str, fx.Node]
    """Name of a layer or input -> node that holds its final value (after folded norm and act)."""
    weights: Mapping[str, fx.Node]
    """Name of a layer with a constant weight -> node of the weight, before any quantiser."""
    owners: Mapping[str, str]
    """Name of a node, or of one part of it -> layer or input whose tensor it is part of."""


def read_graph(module: fx.GraphModule, name: str) -> Extraction:
    """Read the workload of an exported graph, as :func:`export_network` makes it.

    The graph is brought in normal form first (:mod:`hwflow.extract.normal`), in place: it computes
    the same. A symbolic batch is read as 1, so that the workload is that of a static export of one
    image. Raises ModelError when the graph is none of ATen operators.
    """
    _check_exported(module, name)
    normalise(module)
    nodes = {node.name: node for node in module.graph.nodes}
    folded = fold(_graph(module, name))
    weights = {layer: nodes[value] for layer, value in folded.weights.items()}
    values = {layer: nodes[value] for layer, value in folded.values.items() if value in nodes}
    return Extraction(folded.workload, module.graph, values, weights, folded.owners)


def extract_network(network: Network) -> Extraction:
    """Read the workload of a network; one that is an exported graph already is read directly."""
    module = network.module
    if not is_exported(module):
        module = export_network(network)
    return read_graph(module, network.name)  # type: ignore[arg-type]


def is_exported(module: nn.Module) -> bool:
    """Whether a module is a graph of ATen operators, and not one of torch modules."""
    if not isinstance(module, fx.GraphModule):
        return False
    calls = [node for node in module.graph.nodes if node.op == "call_function"]
    return any(isinstance(node.target, torch._ops.OpOverload) for node in calls)


def _check_exported(module: fx.GraphModule, name: str) -> None:
    """Raise ModelError for a graph that calls modules, as torch.fx traces them."""
    calls = [node for node in module.graph.nodes if node.op in {"call_module", "call_method"}]
    called = [str(node.target) for node in calls if node.target != "_guards_fn"]
    if called:
        raise ModelError(
            f"Graph {name!r} calls {called[0]!r}, expected ATen operators only: export the network "
            "with export_network instead of tracing it."
        )


def _graph(module: fx.GraphModule, name: str) -> Graph:
    scope = _scope(module)
    nodes: list[Node] = []
    for node in module.graph.nodes:
        if node in scope.active and node.op == "call_function":
            nodes.extend(_read(node, scope))
    inputs = {
        node.name: Input(str(node.target), shape_of(node))
        for node in module.graph.nodes if node.op == "placeholder" and node in scope.active
    }  # fmt: skip
    output = next(node for node in module.graph.nodes if node.op == "output")
    leaving = tuple(n.name for n in output.all_input_nodes if n in scope.active)
    return Graph(name, inputs, tuple(nodes), leaving, _sizes(module, scope))


def _read(node: fx.Node, scope: Scope) -> list[Node]:
    """Return what one operator is: mostly one node, none for a splitter (its pieces are)."""
    call = Call(node, scope)
    if is_quantizer(node):
        return [call.make(QUANTIZE, call.actives[:1], bits=quantizer_bits(node))]
    if node.target is operator.getitem:
        source = node.all_input_nodes[0]
        if operator_name(source) in SPLITS:
            return [piece(call, source, call.size(node.args[1]))]
        return [call.identity()]
    if call.name in SPLITS:
        return []
    made = RULES.get(call.name, Call.unknown)(call)
    return made if isinstance(made, list) else [made]


def _scope(module: fx.GraphModule) -> Scope:
    first: dict[int, str] = {}
    keys = {
        path: first.setdefault(id(parameter), path)
        for path, parameter in module.named_parameters(remove_duplicate=False)
    }
    uses: Counter[str] = Counter()
    for node in module.graph.nodes:
        if node.op == "get_attr":
            uses[keys.get(str(node.target), str(node.target))] += len(node.users)
    batches = [shape_of(n)[0] for n in module.graph.nodes if n.op == "placeholder" and shape_of(n)]
    return Scope(active_nodes(module.graph), keys, batches[0] if batches else 1, uses)


def _sizes(module: fx.GraphModule, scope: Scope) -> dict[str, int]:
    """Return the elements of every parameter; the scales of quantisers are none of the network."""
    scales = {
        str(node.target)
        for node in module.graph.nodes
        if node.op == "get_attr" and node.users
        and all(is_quantizer(user) and user.args[0] is not node for user in node.users)
    }  # fmt: skip
    return {
        scope.keys[path]: parameter.numel()
        for path, parameter in module.named_parameters() if path not in scales
    }  # fmt: skip


def export_network(network: Network, dynamic_batch: bool = False) -> fx.GraphModule:
    """Export the network's module in eval mode as an ATen graph in normal form.

    The module, its mode and its parameters stay as they are; the graph shares the parameters.
    With `dynamic_batch` the graph takes any batch. Raises ModelError when the module cannot be
    exported, with torch's reason.
    """
    example, dynamic = network.example, None
    if dynamic_batch:
        example = torch.cat([example, example]) if len(example) == 1 else example
        dynamic = ({0: torch.export.Dim("batch")},)
    with evaluating(network.module), unfused_attention():
        try:
            with quiet_failure():
                program = torch.export.export(network.module, (example,), dynamic_shapes=dynamic)
        except Exception as error:
            raise ModelError(_export_failed(network, error, dynamic_batch)) from error
        exported = program.module()
        if not normalise(exported):
            exported = program.run_decompositions({}).module()
            normalise(exported)
    return exported


def _export_failed(network: Network, error: Exception, any_batch: bool) -> str:
    shape = tuple(network.example.shape)
    batch = " for any batch (write x.shape[0], not len(x) or a number)" if any_batch else ""
    where = place(network.module, error)
    advice = next((way for sign, way in _REMEDIES.items() if sign in str(error)), "")
    return (
        f"Network {network.name!r} cannot be exported: {f'in {where}: ' if where else ''}"
        f"{reason(error)}. torch.export must be able to trace it as a whole on an input of shape "
        f"{shape}{batch}{f': {advice}' if advice else ''}. For costs alone an ONNX file will do."
    )


_REMEDIES = {
    "data-dependent": "take branches and loops that depend on values out of its forward",
    "assigned during export": "register these tensors as buffers, or fold them into plain weights "
    "first (remove_weight_norm, say)",
    "is not supported for tensor": "take what is no torch operator out of its forward",
}
"""What an error of torch.export has in it -> what to do."""


@contextmanager
def unfused_attention() -> Iterator[None]:
    """Switch the fused encoder kernel off for a while: it hides the products of attention."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
