"""Layer lists in YAML: what is computed from them, and the example."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_lists import layers, read
from torch import nn

from hwflow.errors import WorkloadError
from hwflow.extract import extract
from hwflow.extract.layer_list import read_layers
from hwflow.extract.layer_ops import OPERATORS
from hwflow.workload import Layer

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "layers.yaml"


def last(folder: Path, *entries: str, **more: str) -> Layer:
    return layers(folder, *entries, **more).layers[-1]


class TestConvolution:
    @pytest.mark.parametrize(
        ("entry", "module"),
        [
            ("out_channels: 6, kernel: 3", nn.Conv2d(4, 6, 3)),
            ("out_channels: 6, kernel: 3, padding: 1, stride: 2", nn.Conv2d(4, 6, 3, 2, 1)),
            (
                "out_channels: 6, kernel: [1, 3], padding: [0, 1]",
                nn.Conv2d(4, 6, (1, 3), 1, (0, 1)),
            ),
            ("out_channels: 8, kernel: 3, dilation: 2, groups: 2", nn.Conv2d(4, 8, 3, 1, 0, 2, 2)),
            (
                "out_channels: 4, groups: depthwise, bias: false",
                nn.Conv2d(4, 4, 1, groups=4, bias=False),
            ),
            ("out_channels: 6, kernel: 5, padding: same", nn.Conv2d(4, 6, 5, padding=2)),
        ],
    )
    def test_is_that_of_torch(self, tmp_path: Path, entry: str, module: nn.Module):
        layer = last(tmp_path, f"op: conv, {entry}")
        assert layer.out_shape == tuple(module(torch.zeros(1, 4, 8, 8)).shape)
        assert layer.params == sum(p.numel() for p in module.parameters())
        assert layer.weights == module.weight.numel()

    def test_padding_may_differ_at_the_ends(self, tmp_path: Path):
        layer = last(tmp_path, "op: conv, out_channels: 6, kernel: 3, padding: [0, 1, 2, 3]")
        assert (layer.padding, layer.out_size) == ((0, 1, 2, 3), (8, 10))

    def test_transposed_is_that_of_torch(self, tmp_path: Path):
        layer = last(
            tmp_path,
            "op: conv_transpose, out_channels: 6, kernel: 3, stride: 2, padding: 1, "
            "output_padding: 1, groups: 2",
        )
        module = nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2)
        assert layer.out_shape == tuple(module(torch.zeros(1, 4, 8, 8)).shape)
        assert layer.params == sum(p.numel() for p in module.parameters())

    def test_takes_norm_and_activations(self, tmp_path: Path):
        layer = last(
            tmp_path, "op: conv, out_channels: 6, bias: false, norm: batch, act: [shift, relu6]"
        )
        assert (layer.norm, layer.act, layer.params) == ("batch", ("shift", "relu6"), 24 + 12)


class TestOtherOperators:
    @pytest.mark.parametrize(
        ("entry", "op", "out"),
        [
            ("op: max_pool, kernel: 2", "max_pool", (1, 4, 4, 4)),
            ("op: avg_pool, kernel: 3, stride: 2, padding: 1", "avg_pool", (1, 4, 4, 4)),
            ("op: avg_pool", "avg_pool", (1, 4, 1, 1)),
            ("op: resize, factor: [2, 3]", "resize", (1, 4, 16, 24)),
            ("op: resize, size: 5, mode: bilinear", "resize", (1, 4, 5, 5)),
            ("op: flatten", "reshape", (1, 256)),
            ("op: reshape, shape: [1, 16, 16]", "reshape", (1, 16, 16)),
            ("op: permute, dims: [0, 2, 3, 1]", "permute", (1, 8, 8, 4)),
            ("op: slice, axis: 1, start: 1, step: 2", "slice", (1, 2, 8, 8)),
            ("op: slice, axis: -1, stop: 3", "slice", (1, 4, 8, 3)),
            ("op: act, act: tanh", "act", (1, 4, 8, 8)),
            ("op: norm, kind: batch", "norm", (1, 4, 8, 8)),
            ("op: softmax, axis: 1", "softmax", (1, 4, 8, 8)),
            ("op: add, inputs: [input, input]", "add", (1, 4, 8, 8)),
            ("op: mul, inputs: [input, input]", "mul", (1, 4, 8, 8)),
            ("op: concat, inputs: [input, input, input]", "concat", (1, 12, 8, 8)),
            ("op: matmul, inputs: [input, input]", "matmul", (1, 4, 8, 8)),
        ],
    )
    def test_have_the_shape_they_give(self, tmp_path: Path, entry: str, op: str, out):
        layer = last(tmp_path, entry)
        assert (layer.op, layer.out_shape) == (op, out)

    def test_concat_says_where_each_part_begins(self, tmp_path: Path):
        layer = last(tmp_path, "op: concat, inputs: [input, input], axis: 2")
        assert (layer.attr("dim"), layer.attr("offsets")) == (2, (0, 8))

    def test_linear_reads_features_of_tokens(self, tmp_path: Path):
        layer = last(tmp_path, "op: linear, out_channels: 3", shape="[2, 5, 8]")
        assert (layer.batch, layer.out_size, layer.out_shape) == (2, (5, 1), (2, 5, 3))
        assert (layer.macs, layer.params) == (240, 27)

    def test_matmul_may_turn_its_second_operand(self, tmp_path: Path):
        layer = last(
            tmp_path, "op: matmul, inputs: [input, input], transpose: true", shape="[2, 5, 8]"
        )
        assert (layer.out_shape, layer.groups, layer.macs) == ((2, 5, 5), 2, 400)

    def test_elementwise_broadcasts(self, tmp_path: Path):
        found = layers(tmp_path, "name: g, op: avg_pool", "op: mul, inputs: [input, g]")
        assert found.layers[-1].out_shape == (1, 4, 8, 8)

    def test_norm_has_two_parameters_per_feature(self, tmp_path: Path):
        assert last(tmp_path, "op: norm, kind: layer").params == 16
        assert last(tmp_path, "op: norm, kind: batch").params == 8
        assert last(tmp_path, "op: norm, affine: false").params == 0


class TestLoops:
    ALEXNET = "op: conv, N: 2, K: 96, C: 3, P: 55, Q: 55, R: 11, S: 11, stride: 4"

    def test_give_a_layer_of_its_own_input(self, tmp_path: Path):
        found = read(tmp_path, f"layers:\n  - {{name: conv1, {self.ALEXNET}}}")
        (layer,) = found.layers
        assert layer.macs == 2 * 96 * 3 * 55 * 55 * 11 * 11
        assert layer.in_shapes == ((2, 3, 227, 227),)
        assert (found.inputs[0].name, found.outputs) == ("conv1.input", ("conv1",))

    def test_give_independent_layers(self, tmp_path: Path):
        found = layers(
            tmp_path, "name: a, op: conv, out_channels: 2", self.ALEXNET,
            "name: c, op: conv, out_channels: 3",
        )  # fmt: skip
        assert found["c"].inputs == ("a",)
        assert set(found.outputs) == {"conv2", "c"}

    def test_with_groups_and_padding(self, tmp_path: Path):
        layer = last(
            tmp_path, "op: conv, K: 256, C: 96, P: 27, Q: 27, R: 5, S: 5, G: 2, padding: 2"
        )
        assert layer.in_shapes == ((1, 96, 27, 27),)
        assert layer.macs == 256 * 48 * 25 * 27 * 27

    def test_of_a_linear_layer(self, tmp_path: Path):
        layer = last(tmp_path, "op: linear, N: 16, K: 4096, C: 9216")
        assert (layer.in_shapes, layer.out_shape) == (((16, 9216),), (16, 4096))
        assert layer.macs == 16 * 4096 * 9216

    def test_of_a_linear_layer_on_tokens(self, tmp_path: Path):
        layer = last(tmp_path, "op: linear, K: 64, C: 32, P: 196")
        assert (layer.out_size, layer.macs) == ((196, 1), 196 * 64 * 32)

    @settings(max_examples=40)
    @given(
        n=st.integers(1, 3), k=st.integers(1, 9), c=st.integers(1, 9), p=st.integers(1, 9),
        q=st.integers(1, 9), r=st.integers(1, 4), s=st.integers(1, 4), stride=st.integers(1, 3),
    )  # fmt: skip
    def test_are_what_the_layer_computes(
        self, tmp_path_factory: pytest.TempPathFactory, **bounds: int
    ):
        stride = bounds.pop("stride")
        entry = {"op": "conv", "stride": stride} | {key.upper(): v for key, v in bounds.items()}
        path = tmp_path_factory.getbasetemp() / "loops.yaml"
        path.write_text(yaml.safe_dump({"layers": [entry]}))
        (layer,) = read_layers(path).layers
        macs = 1
        for value in bounds.values():
            macs *= value
        assert layer.macs == macs
        rows, columns = layer.in_shapes[0][2:]
        assert (rows - bounds["r"]) // stride + 1 == bounds["p"]
        assert (columns - bounds["s"]) // stride + 1 == bounds["q"]


class TestBits:
    def test_of_each_operand(self, tmp_path: Path):
        found = layers(
            tmp_path, "name: a, op: conv, out_channels: 2, bits: {weight: 4, output: 6}",
            "op: max_pool, kernel: 2", "op: conv, out_channels: 2",
            shape="{shape: [1, 4, 8, 8], bits: 8}",
        )  # fmt: skip
        first, pool, second = found.layers
        assert (first.weight_bits, first.input_bits, first.output_bits) == (4, (8,), 6)
        assert pool.output_bits == 6
        assert (second.weight_bits, second.input_bits, second.output_bits) == (32, (6,), 32)

    def test_of_all_operands_at_once(self, tmp_path: Path):
        layer = last(tmp_path, "op: conv, K: 4, C: 4, bits: 8")
        assert (layer.weight_bits, layer.input_bits, layer.output_bits) == (8, (8,), 8)

    def test_of_a_products_second_operand(self, tmp_path: Path):
        found = layers(
            tmp_path, "name: a, op: act, act: relu, bits: {output: 3}",
            "op: matmul, inputs: [input, a]",
        )  # fmt: skip
        assert found.layers[-1].weight_bits == 3


class TestNetwork:
    def test_is_called_as_the_file_says_or_as_the_file(self, tmp_path: Path):
        assert layers(tmp_path, "op: flatten").name == "net"
        text = "name: mine\ninput: [1, 4, 8, 8]\nlayers: [{op: flatten}]"
        assert read(tmp_path, text).name == "mine"

    def test_layers_without_a_name_are_numbered(self, tmp_path: Path):
        found = layers(tmp_path, "op: conv, out_channels: 2", "op: flatten")
        assert [layer.name for layer in found] == ["conv1", "flatten2"]

    def test_may_have_several_inputs(self, tmp_path: Path):
        text = """
            inputs: {image: [1, 4, 8, 8], mask: {shape: [1, 1, 8, 8], bits: 1}}
            layers:
              - {op: mul, inputs: [image, mask]}
        """
        found = read(tmp_path, text)
        assert [(i.name, i.bits) for i in found.inputs] == [("image", 32), ("mask", 1)]
        assert found.layers[0].input_bits == (32, 1)

    def test_outputs_are_what_nobody_reads(self, tmp_path: Path):
        found = layers(
            tmp_path, "name: a, op: conv, out_channels: 2", "name: b, op: flatten",
            "name: c, op: avg_pool, inputs: [a]",
        )  # fmt: skip
        assert found.outputs == ("b", "c")

    def test_is_dispatched_by_the_ending(self, tmp_path: Path):
        for ending in ("yaml", "yml"):
            path = tmp_path / f"net.{ending}"
            path.write_text("input: [1, 4, 8, 8]\nlayers: [{op: flatten}]")
            assert extract(path) == extract(str(path))


class TestExample:
    def test_is_read(self):
        found = read_layers(EXAMPLE)
        assert found.name == "example-net"
        assert found["alexnet.conv1"].macs == 105_415_200
        assert found["qk"].macs == found["av"].macs == 1024 * 1024 * 16

    def test_shows_every_operator(self):
        given = yaml.safe_load(EXAMPLE.read_text())["layers"]
        assert {entry["op"] for entry in given} == set(OPERATORS)


class TestDensity:
    def test_is_given_under_either_name(self, tmp_path: Path):
        first = last(tmp_path, "op: conv, out_channels: 2, density: 0.25, output_density: 0.5")
        second = last(tmp_path, "op: conv, out_channels: 2, input_density: 0")
        assert (first.input_density, first.output_density) == (0.25, 0.5)
        assert (second.input_density, second.output_density) == (0.0, 1.0)

    @pytest.mark.parametrize("value", ["1.5", "-1", "true", "half", "[1]"])
    def test_outside_0_to_1_is_refused(self, tmp_path: Path, value: str):
        with pytest.raises(WorkloadError, match=r"layer 1 has density = .* from 0 to 1"):
            last(tmp_path, f"op: conv, out_channels: 2, density: {value}")
