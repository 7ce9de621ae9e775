"""The normal form of exported graphs: the same function, no writing in place, open attention."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from extract_nets import Apply, Residual
from torch import Tensor, fx, nn

from hwflow.extract.call import operator_name
from hwflow.extract.exported import export_network, extract_network, read_graph
from hwflow.extract.normal import normalise
from hwflow.network import Network

Function = Callable[[nn.Module, Tensor], Tensor]
SHAPE = (2, 4, 6, 6)


def exported(module: nn.Module, shape: tuple[int, ...] = SHAPE) -> fx.GraphModule:
    return export_network(Network("net", module, torch.zeros(shape)))


def operators(graph_module: fx.GraphModule) -> list[str]:
    return [operator_name(n) for n in graph_module.graph.nodes if n.op == "call_function"]


def relu_after_branch(_: nn.Module, x: Tensor) -> Tensor:
    y = x * 2
    branch = y.tanh()
    y.relu_()
    return y + branch


def read_base_later(_: nn.Module, x: Tensor) -> Tensor:
    y = x * 2
    z = y.add_(1)
    return y * 3 + z


def chain_of_writes(_: nn.Module, x: Tensor) -> Tensor:
    y = x * 2
    y.add_(1).relu_().mul_(x)
    return y


def through_a_view(_: nn.Module, x: Tensor) -> Tensor:
    y = x * 2
    y.view(2, -1).add_(1)
    return y


def view_read_later(_: nn.Module, x: Tensor) -> Tensor:
    y = x * 2
    view = y.view(2, -1)
    y.relu_()
    return view.sum() + y


def into_a_slice(_: nn.Module, x: Tensor) -> Tensor:
    y = x * 2
    y[:, 1:3] = x[:, :2]
    return y


def view_that_nobody_else_reads(_: nn.Module, x: Tensor) -> Tensor:
    return (x * 2).view(2, -1).relu_() + 1


def in_place_on_a_constant(m: nn.Module, x: Tensor) -> Tensor:
    table = torch.zeros(6)
    table[2:4] = 5.0
    return x + table


@pytest.mark.parametrize(
    "function",
    [
        relu_after_branch, read_base_later, chain_of_writes, through_a_view, view_read_later,
        into_a_slice, view_that_nobody_else_reads, in_place_on_a_constant,
    ],
)  # fmt: skip
def test_computes_the_same(function: Function):
    module = Apply(function)
    x = torch.randn(SHAPE)
    assert torch.equal(exported(module)(x), module(x))


@pytest.mark.parametrize(
    "function", [relu_after_branch, read_base_later, chain_of_writes, view_that_nobody_else_reads]
)
def test_has_no_operator_that_writes_in_place(function: Function):
    assert not [name for name in operators(exported(Apply(function))) if name.endswith("_")]


@pytest.mark.parametrize("function", [through_a_view, view_read_later, into_a_slice])
def test_sees_when_somebody_else_reads_the_memory(function: Function):
    program = torch.export.export(Apply(function), (torch.zeros(SHAPE),))
    assert not normalise(program.module())


def test_later_readers_read_what_was_written():
    graph = exported(Residual(), (1, 3, 8, 8)).graph
    norm = next(node for node in graph.nodes if operator_name(node) == "batch_norm")
    assert [operator_name(user) for user in norm.users] == ["relu"]


def test_is_reached_once():
    graph_module = exported(Residual(), (1, 3, 8, 8))
    before = operators(graph_module)
    assert normalise(graph_module)
    assert operators(graph_module) == before


def test_is_what_any_exported_graph_is_brought_to_when_read():
    module = Residual().eval()
    raw = torch.export.export(module, (torch.zeros(1, 3, 8, 8),)).module()
    assert "relu_" in operators(raw)
    found = read_graph(raw, "raw").workload
    assert found == extract_network(Network("net", module, torch.zeros(1, 3, 8, 8))).workload


class TestAttention:
    @pytest.mark.parametrize(
        "options",
        [
            {}, {"is_causal": True}, {"scale": 0.3}, {"attn_mask": "added"}, {"attn_mask": "kept"},
        ],
        ids=str,
    )  # fmt: skip
    def test_computes_the_same(self, options: dict[str, object]):
        masks = {"added": torch.randn(5, 5), "kept": torch.eye(5) + torch.rand(5, 5) > 0.5}
        given = {key: masks.get(value, value) for key, value in options.items()}

        class Attend(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return F.scaled_dot_product_attention(x, x * 2, x + 1, **given)

        x = torch.randn(2, 3, 5, 8)
        opened = exported(Attend(), (2, 3, 5, 8))
        assert "scaled_dot_product_attention" not in operators(opened)
        torch.testing.assert_close(opened(x), Attend()(x))

    def test_with_grouped_heads_computes_the_same(self):
        net = Apply(
            lambda _, x: F.scaled_dot_product_attention(x, x[:, :2], x[:, 2:], enable_gqa=True)
        )
        x = torch.randn(1, 4, 5, 8)
        torch.testing.assert_close(exported(net, (1, 4, 5, 8))(x), net(x))

    def test_dropout_at_all_times_is_kept(self):
        net = Apply(lambda _, x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5))
        assert "dropout" in operators(exported(net, (1, 2, 5, 8)))

    def test_of_a_module_computes_the_same_for_any_batch(self):
        net = Apply(
            lambda m, x: m.attn(x, x, x, need_weights=False)[0],
            attn=nn.MultiheadAttention(8, 2, batch_first=True),
        ).eval()
        graph = export_network(Network("net", net, torch.zeros(1, 5, 8)), dynamic_batch=True)
        x = torch.randn(3, 5, 8)
        torch.testing.assert_close(graph(x), net(x))

    def test_nodes_know_their_shape_and_module(self):
        net = Apply(
            lambda m, x: m.attn(x, x, x, need_weights=False)[0],
            attn=nn.MultiheadAttention(8, 2, batch_first=True),
        )
        graph = exported(net, (1, 5, 8)).graph
        products = [node for node in graph.nodes if operator_name(node) == "matmul"]
        assert [tuple(node.meta["val"].shape) for node in products] == [(1, 2, 5, 5), (1, 2, 5, 4)]
        assert all("nn_module_stack" in node.meta for node in products)
