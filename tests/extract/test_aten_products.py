"""Multiplying operators of torch as layers: dimensions, parameters, names."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from extract_nets import Apply, counted_macs, counted_params, extraction, single, workload
from torch import nn

# what torch says about its own speed is no concern of extraction
uneven = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

TOKENS = (2, 5, 8)
attend = F.scaled_dot_product_attention


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), (1, 4, 11, 13)),
        (nn.Conv2d(4, 8, (3, 5), padding=(1, 2), dilation=(2, 1), groups=2), (2, 4, 12, 12)),
        (nn.Conv2d(4, 4, 3, groups=4, bias=False), (1, 4, 8, 8)),
        pytest.param(nn.Conv2d(4, 6, 4, padding="same"), (1, 4, 8, 8), marks=uneven),
        (nn.Conv2d(4, 6, 4, padding="valid"), (1, 4, 8, 8)),
        (nn.Conv1d(4, 6, 5, stride=2, padding=2), (1, 4, 21)),
        (nn.Conv3d(2, 4, (2, 3, 3), stride=(1, 2, 2), padding=1), (1, 2, 5, 8, 8)),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), (1, 4, 7, 7)),
        (nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), (1, 4, 7, 7)),
        (nn.ConvTranspose1d(4, 6, 4, stride=2), (1, 4, 9)),
        (nn.Linear(8, 3), (2, 8)),
        (nn.Linear(8, 3, bias=False), (2, 5, 4, 8)),
    ],
    ids=lambda value: str(value) if isinstance(value, nn.Module) else "",
)
def test_one_module_is_one_layer_with_torchs_counts(module: nn.Module, shape: tuple[int, ...]):
    layer = single(module, shape)
    assert layer.macs == counted_macs(module, torch.zeros(shape))
    assert layer.params == counted_params(module)
    assert layer.weights == module.weight.numel()
    assert layer.bias == (module.bias is not None)
    assert layer.out_elements == module(torch.zeros(shape)).numel()


def test_convolution_has_the_dimensions_of_its_module():
    layer = single(
        nn.Conv2d(4, 8, (3, 5), stride=(1, 2), padding=(1, 2), dilation=(2, 1)), (3, 4, 9, 9)
    )
    assert (layer.batch, layer.in_channels, layer.out_channels) == (3, 4, 8)
    assert (layer.kernel, layer.stride, layer.dilation) == ((3, 5), (1, 2), (2, 1))
    assert layer.padding == (1, 2, 1, 2)
    assert layer.out_size == (7, 5)


@uneven
def test_same_padding_of_an_even_kernel_differs_at_the_ends():
    assert single(nn.Conv2d(4, 6, 4, padding="same"), (1, 4, 8, 8)).padding == (1, 1, 2, 2)


def test_transposed_convolution_says_where_its_output_channels_are():
    found = extraction(nn.Sequential(nn.ConvTranspose2d(4, 6, 2)), (1, 4, 7, 7))
    assert found.workload["0"].attr("weight_axis") == 1
    assert found.weights["0"].target == "0.weight"


def test_linear_layer_keeps_the_batch_and_counts_the_rest_as_tokens():
    layer = single(nn.Linear(8, 3), (2, 5, 4, 8))
    assert (layer.batch, layer.out_size) == (2, (20, 1))


class TestProductsWithAConstant:
    @pytest.mark.parametrize(
        ("function", "axis"),
        [
            (lambda m, x: x @ m.table, 1),
            (lambda m, x: torch.matmul(x, m.table), 1),
            (lambda m, x: torch.einsum("btc,ck->btk", x, m.table), None),
            (lambda m, x: F.linear(x, m.table.t()), None),
        ],
        ids=["operator", "matmul", "einsum", "linear"],
    )
    def test_on_the_right_are_linear(self, function, axis: int | None):
        found = extraction(Apply(function, table=nn.Parameter(torch.ones(8, 3))), TOKENS)
        (layer,) = found.workload.layers
        assert (layer.op, layer.in_channels, layer.out_channels) == ("linear", 8, 3)
        assert (layer.batch, layer.out_size, layer.params) == (2, (5, 1), 24)
        assert layer.attr("weight_axis") == axis
        assert layer.name == "table"

    def test_on_the_left_are_linear(self):
        net = Apply(lambda m, x: m.mix @ x, mix=nn.Parameter(torch.ones(7, 5)))
        layer = single(net, TOKENS)
        assert (layer.op, layer.in_channels, layer.out_channels) == ("linear", 5, 7)
        assert layer.macs == 2 * 7 * 5 * 8
        assert layer.attr("weight_axis", 0) == 0

    def test_one_per_head_are_a_grouped_linear(self):
        net = Apply(lambda m, x: x @ m.heads, heads=nn.Parameter(torch.ones(3, 8, 4)))
        layer = single(net, (3, 5, 8))
        assert (layer.groups, layer.weights, layer.params) == (3, 96, 96)
        assert layer.macs == 3 * 5 * 8 * 4

    def test_with_a_bias_added_after_are_one_layer(self):
        net = Apply(
            lambda m, x: torch.relu(x @ m.table + m.shift),
            table=nn.Parameter(torch.ones(8, 3)), shift=nn.Parameter(torch.ones(3)),
        )  # fmt: skip
        layer = single(net, TOKENS)
        assert (layer.bias, layer.params, layer.act) == (True, 27, ("relu",))

    def test_addmm_is_a_linear_layer_with_a_bias(self):
        net = Apply(
            lambda m, x: torch.addmm(m.shift, x, m.table),
            table=nn.Parameter(torch.ones(8, 3)), shift=nn.Parameter(torch.ones(3)),
        )  # fmt: skip
        layer = single(net, (2, 8))
        assert (layer.op, layer.bias, layer.params) == ("linear", True, 27)

    def test_that_is_a_nameless_constant_are_named_by_the_module(self):
        (layer,) = workload(Apply(lambda m, x: x @ torch.ones(8, 4)), TOKENS).layers
        (other,) = workload(Apply(lambda m, x: x @ torch.tensor([[1.0] * 4] * 8)), TOKENS).layers
        assert layer.name == other.name == "linear"

    def test_of_a_buffer_are_linear_without_parameters(self):
        net = Apply(lambda m, x: x @ m.grid)
        net.register_buffer("grid", torch.ones(8, 4))
        layer = single(net, TOKENS)
        assert (layer.op, layer.params, layer.weights) == ("linear", 0, 32)

    def test_vector_is_one_output(self):
        net = Apply(lambda m, x: torch.mv(x, m.v), v=nn.Parameter(torch.ones(8)))
        assert single(net, (5, 8)).macs == 40


class TestProductsOfTensors:
    @pytest.mark.parametrize(
        "function",
        [
            lambda m, x: x @ x.transpose(1, 2),
            lambda m, x: torch.bmm(x, x.transpose(1, 2)),
            lambda m, x: torch.einsum("btc,bsc->bts", x, x),
        ],
        ids=["matmul", "bmm", "einsum"],
    )
    def test_are_grouped_by_the_batch(self, function):
        net = Apply(function)
        found = workload(net, TOKENS)
        (layer,) = found.mac_layers
        assert (layer.op, layer.groups, layer.batch) == ("matmul", 2, 1)
        assert layer.macs == counted_macs(net, torch.zeros(TOKENS)) == 2 * 5 * 5 * 8
        assert len(layer.inputs) == 2

    def test_added_to_a_third_are_two_layers(self):
        net = Apply(lambda m, x: torch.baddbmm(x[:, :, :5], x, x.transpose(1, 2)))
        ops = [layer.op for layer in workload(net, TOKENS)]
        assert ops == ["slice", "permute", "matmul", "add"]

    def test_added_to_a_constant_are_two_layers(self):
        net = Apply(
            lambda m, x: torch.baddbmm(m.c, x, x.transpose(1, 2)), c=nn.Parameter(torch.ones(1))
        )
        ops = [layer.op for layer in workload(net, TOKENS)]
        assert ops == ["permute", "matmul", "add"]

    def test_of_three_operands_are_unknown(self):
        net = Apply(lambda m, x: torch.einsum("bt,bt,bt->b", x, x, x))
        assert "unknown" in {layer.op for layer in workload(net, (2, 5))}

    def test_convolution_with_a_computed_kernel_is_unknown_but_kept(self):
        net = Apply(lambda m, x: F.conv2d(x, x[:, :, :3, :3]))
        (layer,) = workload(net, (1, 3, 8, 8)).unknown
        assert layer.attr("target") == "aten.conv2d.default"
        assert len(layer.inputs) == 2


class TestAttention:
    SHAPE = (2, 6, 16)

    def attention(self, **kwargs: bool) -> nn.Module:
        return Apply(
            lambda m, x: m.attn(x, x, x, **kwargs)[0],
            attn=nn.MultiheadAttention(16, 4, batch_first=True),
        )

    @pytest.mark.parametrize("need_weights", [True, False])
    def test_has_torchs_macs_and_parameters(self, need_weights: bool):
        net = self.attention(need_weights=need_weights)
        found = workload(net, self.SHAPE)
        assert found.macs == counted_macs(net, torch.zeros(self.SHAPE))
        assert found.params == counted_params(net)
        assert found.loose_params == 0
        assert not found.unknown

    @pytest.mark.parametrize("need_weights", [True, False])
    def test_is_two_products_with_a_softmax_between(self, need_weights: bool):
        found = workload(self.attention(need_weights=need_weights), self.SHAPE)
        names = [layer.name for layer in found.mac_layers]
        assert names == ["attn.in_proj", "attn.qk", "attn.av", "attn.out_proj"]
        assert found.mac_readers("attn.qk") == ("attn.av",)
        assert "softmax" in {found[name].op for name in found.readers["attn.qk"]}

    @pytest.mark.parametrize(
        ("function", "between"),
        [
            (lambda m, x: attend(x, x, x), ["softmax"]),
            (lambda m, x: attend(x, x, x, is_causal=True), ["softmax"]),
            (lambda m, x: attend(x, x, x, attn_mask=m.mask), ["add", "softmax"]),
            (lambda m, x: attend(x, x, x, attn_mask=m.mask > 0), ["softmax"]),
            (lambda m, x: attend(x, x, x, scale=0.5), ["softmax"]),
        ],
        ids=["plain", "causal", "mask added", "mask chosen", "scaled"],
    )  # fmt: skip
    def test_masks_lie_between_the_products(self, function, between: list[str]):
        net = Apply(function, mask=nn.Parameter(torch.ones(6, 6)))
        found = workload(net, (1, 2, 6, 8))
        ops = [layer.op for layer in found if layer.op != "permute"]
        assert ops == ["matmul", *between, "matmul"]
        assert found.macs == 2 * 2 * 6 * 6 * 8

    def test_with_fewer_keys_than_queries_repeats_them(self):
        def grouped(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
            return attend(x, x[:, :2], x[:, :2], enable_gqa=True)

        found = workload(Apply(grouped), (1, 4, 6, 8))
        assert found.macs == 2 * 4 * 6 * 6 * 8
        assert sum(layer.op == "expand" for layer in found) == 2


class TestNamesOfWeights:
    def test_of_parametrised_modules_are_those_of_the_modules(self):
        from torch.nn.utils import parametrizations

        net = nn.Sequential(
            parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
            parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)),
        )
        found = workload(net)
        assert [(layer.name, layer.path) for layer in found] == [("0", "0"), ("1", "1")]
        assert found.params == counted_params(net)
        assert found.loose_params == 0

    def test_at_the_root_are_the_operator(self):
        assert single(nn.Conv2d(3, 4, 3)).name == "conv"

    def test_of_one_weight_used_twice_are_numbered(self):
        net = Apply(lambda m, x: m.fc(m.fc(x)), fc=nn.Linear(8, 8))
        found = workload(net, (1, 8))
        assert [(layer.name, layer.params) for layer in found] == [("fc", 72), ("fc#2", 0)]

    def test_of_tied_weights_differ_but_count_once(self):
        first, second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        second.weight = first.weight
        found = workload(nn.Sequential(first, second), (1, 8))
        assert [layer.name for layer in found] == ["0", "1"]
        assert found.params == 64
