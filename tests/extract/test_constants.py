import torch
from torch import nn

from hwflow.extract.constants import constant, is_constant


class Standardised(nn.Module):
    """A linear layer whose weight is computed from its parameter."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 4)

    def forward(self, x):
        weight = self.inner.weight - self.inner.weight.mean(dim=1, keepdim=True)
        return nn.functional.linear(x, weight)


def weight_node(module):
    graph = torch.export.export(module, (torch.randn(2, 3),)).module()
    node = next(n for n in graph.graph.nodes if "linear" in str(n.target))
    return graph, node.args[1]


def test_a_parameter_is_its_own_value():
    module = nn.Sequential(nn.Linear(3, 4))
    graph, node = weight_node(module)
    assert torch.equal(constant(graph, node), module[0].weight)


def test_what_is_computed_from_parameters_is_computed():
    module = Standardised()
    graph, node = weight_node(module)
    weight = module.inner.weight
    assert torch.equal(constant(graph, node), weight - weight.mean(dim=1, keepdim=True))


def test_the_value_asks_for_no_gradient():
    graph, node = weight_node(Standardised())
    assert not constant(graph, node).requires_grad


class Token(nn.Module):
    """Puts a learned token before the others, as a vision transformer does."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 3))

    def forward(self, x):
        return torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)


def test_a_value_of_the_inputs_size_is_no_constant():
    example, batch = torch.randn(2, 5, 3), {0: torch.export.Dim("batch")}
    graph = torch.export.export(Token(), (example,), dynamic_shapes=(batch,)).module().graph
    nodes = {node.op: node for node in graph.nodes if node.op == "get_attr"}
    expand = next(node for node in graph.nodes if "expand" in str(node.target))
    assert is_constant(nodes["get_attr"])
    assert not is_constant(expand)
