"""Whether channels can really be taken out of a network, tried before a search begins.

The plan that keeps least is built, run on the example input and read back: it must be the network
whose cost was searched. An operator that nobody has foreseen is then named by its layer, with what
to exclude, before anything expensive is done.
"""

from __future__ import annotations

import torch
from torch import fx

from hwflow.edits.quantizers import prepared
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.extract.blame import node_of, reason
from hwflow.extract.call import operator_name
from hwflow.network import Network
from hwflow.problem import Problem
from hwflow.running import evaluating
from hwflow.space import Plan, Space
from hwflow.workload import Workload


def prove(problem: Problem) -> None:
    """Raise HwflowError, with the layer, when a space cannot remove the channels it says it can.

    Spaces that remove none, or are on paper only, are not tried.
    """
    space = problem.space
    if space.network is None or all(part.kind != "prune" for part in space.parts):
        return
    for plan in _extremes(space):
        small = _tried(space, plan)
        _compare(space, space.on_paper(plan, problem.design).workload, extract(small))


def _extremes(space: Space) -> list[Plan]:
    """Return the plan that keeps least of everything, and the one that drops what can be dropped.

    A choice whose default is its first option takes the last.
    """
    least, dropping = [], []
    for choice in space.choices:
        far = 0 if choice.default else len(choice.options) - 1
        some = next((i for i, value in enumerate(choice.options) if value != 0), far)
        least.append(far if choice.options[far] != 0 else some)
        dropping.append(far)
    return list(dict.fromkeys((space.canonical(least), space.canonical(dropping))))


def _tried(space: Space, plan: Plan) -> Network:
    """Build and run the network of a plan."""
    assert space.network is not None  # the caller has looked
    try:
        small = space.apply(plan)
        with evaluating(small.module), torch.no_grad():
            _run(small)
    except HwflowError:
        raise
    except Exception as error:  # whatever an operator raises that is not followed rightly
        raise HwflowError(_broken(space.network, error)) from error
    return small


def _run(network: Network) -> None:
    if isinstance(network.module, fx.GraphModule):
        fx.Interpreter(network.module).run(network.example)
    else:
        network.module(network.example)


def _broken(network: Network, error: Exception) -> str:
    node = node_of(error)
    layer = prepared(network).found.owners.get(node.name) if node is not None else None
    said = f"{type(error).__name__}: {reason(error)}"
    if node is None or layer is None:
        return (
            f"Channels cannot be taken out of {network.name!r}: {said}. Exclude the layers that "
            "are unusual: --exclude LAYER (in Python, exclude)."
        )
    return (
        f"Channels cannot be taken out of {network.name!r}: layer {layer!r} "
        f"({operator_name(node)}): {said}. {_advice(layer)}"
    )


def _advice(layer: str) -> str:
    return f"Leave its channels: --exclude {layer} (in Python, exclude)."


def _compare(space: Space, paper: Workload, built: Workload) -> None:
    if paper == built:
        return
    pairs = zip(built.layers, paper.layers, strict=False)
    layer = next((there.name for here, there in pairs if here != there), paper.layers[-1].name)
    raise HwflowError(
        f"Channels cannot be taken out of {space.workload.name!r}: layer {layer!r} is not in the "
        f"network what it is on paper. {_advice(layer)}"
    )
