"""Multiplying operators of ONNX as layers."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx_nets import model, node, ones, read, single

TOKENS = (2, 5, 8)


class TestConvolution:
    def test_has_the_dimensions_of_the_node(self, tmp_path: Path):
        layer = single(
            tmp_path, "Conv", "x w b", {"w": ones(6, 2, 3, 3), "b": ones(6)},
            strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2], group=2,
        )  # fmt: skip
        assert (layer.op, layer.in_channels, layer.out_channels, layer.groups) == ("conv", 4, 6, 2)
        assert (layer.kernel, layer.stride, layer.dilation) == ((3, 3), (2, 1), (1, 2))
        assert layer.padding == (1, 0, 2, 1)
        assert layer.out_size == (5, 5)
        assert (layer.bias, layer.params) == (True, 6 * 2 * 9 + 6)

    @pytest.mark.parametrize(
        ("mode", "padding"),
        [("SAME_UPPER", (0, 0, 1, 1)), ("SAME_LOWER", (1, 1, 0, 0)), ("VALID", (0, 0, 0, 0))],
    )
    def test_padding_may_be_a_mode(self, tmp_path: Path, mode: str, padding: tuple[int, ...]):
        layer = single(
            tmp_path, "Conv", "x w", {"w": ones(6, 4, 3, 3)}, auto_pad=mode, strides=[2, 2]
        )
        assert layer.padding == padding

    def test_over_a_line_and_a_volume(self, tmp_path: Path):
        line = single(tmp_path, "Conv", "x w", {"w": ones(6, 4, 3)}, shape=(1, 4, 9))
        assert (line.kernel, line.macs) == ((1, 3), 6 * 4 * 3 * 7)
        volume = single(tmp_path, "Conv", "x w", {"w": ones(6, 4, 2, 3, 3)}, shape=(1, 4, 3, 9, 9))
        assert volume.macs == 6 * 4 * 18 * (2 * 7 * 7)

    def test_transposed(self, tmp_path: Path):
        layer = single(tmp_path, "ConvTranspose", "x w", {"w": ones(4, 3, 2, 2)}, strides=[2, 2])
        assert (layer.op, layer.out_channels, layer.out_size) == ("conv_transpose", 3, (16, 16))
        assert layer.macs == 4 * 3 * 4 * 64

    def test_with_a_computed_kernel_is_unknown_but_kept(self, tmp_path: Path):
        nodes = [node("Slice", "x s e a", "k"), node("Conv", "x k")]
        from onnx_nets import ints

        constants = {"s": ints(0, 0), "e": ints(3, 3), "a": ints(2, 3)}
        found = read(model(nodes, constants), tmp_path)
        assert [layer.attr("target") for layer in found.unknown] == ["Conv"]

    def test_takes_the_activation_and_the_norm_after_it(self, tmp_path: Path):
        nodes = [
            node("Conv", "x w", "c"), node("BatchNormalization", "c g b m v", "n"),
            node("Relu", "n"),
        ]  # fmt: skip
        constants = {"w": ones(6, 4, 1, 1)} | {name: ones(6) for name in "gbmv"}
        (layer,) = read(model(nodes, constants), tmp_path).layers
        assert (layer.norm, layer.act, layer.params) == ("batch", ("relu",), 36)

    def test_takes_the_zeros_before_it(self, tmp_path: Path):
        from onnx_nets import ints

        nodes = [node("Pad", "x p", "z"), node("Conv", "z w")]
        constants = {"p": ints(0, 0, 1, 2, 0, 0, 3, 4), "w": ones(6, 4, 3, 3)}
        (layer,) = read(model(nodes, constants), tmp_path).layers
        assert (layer.padding, layer.in_shapes) == ((1, 2, 3, 4), ((1, 4, 8, 8),))


class TestGemm:
    @pytest.mark.parametrize("turned", [0, 1])
    def test_is_a_linear_layer(self, tmp_path: Path, turned: int):
        weight = ones(3, 8) if turned else ones(8, 3)
        layer = single(
            tmp_path, "Gemm", "x w b", {"w": weight, "b": ones(3)}, shape=(2, 8), transB=turned
        )
        assert (layer.op, layer.in_channels, layer.out_channels) == ("linear", 8, 3)
        assert (layer.batch, layer.bias, layer.params) == (2, True, 27)

    def test_with_its_input_turned(self, tmp_path: Path):
        layer = single(tmp_path, "Gemm", "x w", {"w": ones(8, 3)}, shape=(8, 2), transA=1)
        assert layer.macs == 2 * 8 * 3

    def test_of_two_tensors_is_a_matmul(self, tmp_path: Path):
        layer = single(tmp_path, "Gemm", "x x", shape=(5, 8), transB=1)
        assert (layer.op, layer.macs, layer.inputs) == ("matmul", 200, ("x", "x"))

    def test_that_adds_a_tensor_is_two_layers(self, tmp_path: Path):
        made = model([node("Gemm", "x w x")], {"w": ones(8, 8)}, shape=(2, 8))
        found = read(made, tmp_path)
        assert [layer.op for layer in found] == ["linear", "add"]
        assert found.layers[1].inputs == (found.layers[0].name, "x")


class TestMatMul:
    def test_with_a_constant_and_a_bias_added_is_linear(self, tmp_path: Path):
        nodes = [node("MatMul", "x val", "m"), node("Add", "block.fc.bias m")]
        constants = {"val": ones(8, 3), "block.fc.bias": ones(3)}
        (layer,) = read(model(nodes, constants, shape=TOKENS), tmp_path).layers
        assert (layer.name, layer.bias, layer.params) == ("block.fc", True, 27)
        assert (layer.batch, layer.out_size) == (2, (5, 1))

    def test_with_a_constant_on_the_left(self, tmp_path: Path):
        layer = single(tmp_path, "MatMul", "w x", {"w": ones(7, 5)}, shape=TOKENS)
        assert (layer.op, layer.in_channels, layer.out_channels) == ("linear", 5, 7)

    def test_of_a_turned_constant_has_its_name(self, tmp_path: Path):
        nodes = [node("Transpose", "fc.weight", "t", perm=[1, 0]), node("MatMul", "x t")]
        (layer,) = read(model(nodes, {"fc.weight": ones(3, 8)}, shape=TOKENS), tmp_path).layers
        assert (layer.name, layer.params) == ("fc", 24)

    def test_of_two_tensors(self, tmp_path: Path):
        nodes = [node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t")]
        layer = read(model(nodes, shape=TOKENS), tmp_path).layers[-1]
        assert (layer.op, layer.groups, layer.batch, layer.macs) == ("matmul", 2, 1, 2 * 5 * 5 * 8)


class TestEinsum:
    def test_of_two_tensors(self, tmp_path: Path):
        layer = single(tmp_path, "Einsum", "x x", shape=TOKENS, equation="btc,bsc->bts")
        assert (layer.op, layer.macs) == ("matmul", 400)

    def test_with_a_constant(self, tmp_path: Path):
        layer = single(
            tmp_path, "Einsum", "x w", {"w": ones(8, 3)}, shape=TOKENS, equation="btc,ck->btk"
        )
        assert (layer.op, layer.macs) == ("linear", 240)

    @pytest.mark.parametrize(("inputs", "equation"), [("x", "btc->bt"), ("x x", "btc,bsd->bts")])
    def test_of_another_kind_is_unknown(self, tmp_path: Path, inputs: str, equation: str):
        assert single(tmp_path, "Einsum", inputs, shape=TOKENS, equation=equation).op == "unknown"


class TestAttention:
    def test_of_four_axes(self, tmp_path: Path):
        made = model([node("Attention", "x x x")], shape=(2, 3, 5, 8), opset=23)
        found = read(made, tmp_path)
        assert [layer.op for layer in found] == ["matmul", "softmax", "matmul"]
        assert found.macs == 2 * (2 * 3 * 5 * 5 * 8)
        assert [layer.name for layer in found] == ["qk", "softmax", "av"]

    def test_of_three_axes_has_its_heads_inside(self, tmp_path: Path):
        made = model(
            [node("Attention", "x x x", q_num_heads=2, kv_num_heads=2)], shape=TOKENS, opset=23
        )
        found = read(made, tmp_path)
        assert found.macs == 2 * (2 * 2 * 5 * 5 * 4)
        assert found.layers[0].out_shape == (2, 2, 5, 5)

    def test_of_another_standard_is_unknown(self, tmp_path: Path):
        made = model([helper_node("Attention", "custom")])
        made.graph.value_info.append(_info("y"))
        assert read(made, tmp_path).unknown[0].attr("target") == "custom.Attention"


def helper_node(kind: str, domain: str):
    made = node(kind, "x")
    made.domain = domain
    return made


def _info(name: str):
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4, 8, 8))
