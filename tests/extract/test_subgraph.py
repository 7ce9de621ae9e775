"""Part of a graph as a module: it computes its nodes, and nothing that they do not need."""

import torch
from torch import nn

from hwflow.extract.subgraph import subgraph


class Fork(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 4)

    def forward(self, x):
        y = self.first(x)
        return y + self.second(torch.relu(y))


def exported():
    torch.manual_seed(0)
    fork = Fork().eval()
    return fork, torch.export.export(fork, (torch.zeros(2, 3),)).module()


def node(graph, name):
    return next(n for n in graph.graph.nodes if name in str(n.target) and n.op == "call_function")


INPUTS = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))


def test_up_to_a_node_what_comes_after_it_is_left_out():
    fork, graph = exported()
    part = subgraph(graph, [node(graph, "relu")])
    (made,) = part(INPUTS)
    assert torch.equal(made, torch.relu(fork.first(INPUTS)))
    assert {str(n.target) for n in part.graph.find_nodes(op="get_attr")} == {
        "first.weight", "first.bias",
    }  # fmt: skip


def test_from_given_nodes_what_comes_before_them_is_left_out():
    fork, graph = exported()
    given = {node(graph, "relu"): "a", node(graph, "linear"): "b"}
    part = subgraph(graph, [node(graph, "add")], given)
    a, b = torch.randn(2, 2, 4, generator=torch.Generator().manual_seed(2))
    assert torch.equal(part(a, b)[0], b + fork.second(a))
    assert [n.name for n in part.graph.find_nodes(op="placeholder")] == ["a", "b"]


def test_an_input_is_passed_on_and_several_nodes_come_in_order():
    fork, graph = exported()
    (x,) = graph.graph.find_nodes(op="placeholder")
    made = subgraph(graph, [node(graph, "linear"), x])(INPUTS)
    assert torch.equal(made[0], fork.first(INPUTS))
    assert torch.equal(made[1], INPUTS)


def test_parameters_are_shared():
    _, graph = exported()
    part = subgraph(graph, [node(graph, "relu")])
    assert part.get_parameter("first.weight") is graph.get_parameter("first.weight")
