"""Layer lists in YAML: what is computed from them, the example, and every fault by name."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hwflow.errors import WorkloadError
from hwflow.extract import extract
from hwflow.extract.layer_list import read_layers
from hwflow.extract.layer_ops import OPERATORS
from hwflow.workload import Layer, Workload

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "layers.yaml"


def read(folder: Path, text: str) -> Workload:
    path = folder / "net.yaml"
    path.write_text(dedent(text))
    return read_layers(path)


def layers(folder: Path, *entries: str, shape: str = "[1, 4, 8, 8]") -> Workload:
    """Read a list of these entries over an input of `shape`."""
    lines = "\n".join(f"  - {{{entry}}}" for entry in entries)
    return read(folder, f"input: {shape}\nlayers:\n{indent(lines, '')}\n")


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


class TestFaults:
    """Each names the file, the layer and the key, and says what is allowed."""

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ("op: convolution, out_channels: 2", "Unknown op 'convolution'. Did you mean 'conv'?"),
            ("out_channels: 2", "lacks the key 'op'"),
            ("op: conv", "lacks the key 'out_channels'"),
            (
                "op: conv, out_channels: 0",
                "has out_channels = 0. Allowed: a whole number of at least 1",
            ),
            ("op: conv, out_channels: true", "has out_channels = True"),
            ("op: conv, out_channels: many", "has out_channels = 'many'"),
            (
                "op: conv, out_channels: 2, kernal: 3",
                "Unknown key 'kernal'. Did you mean 'kernel'?",
            ),
            ("op: conv, out_channels: 2, kernel: [3]", "has kernel = [3]"),
            (
                "op: conv, out_channels: 2, kernel: 9",
                "a kernel of [9, 9] that does not fit into [8, 8]",
            ),
            ("op: conv, out_channels: 2, padding: [1, 2, 3]", "has padding = [1, 2, 3]"),
            ("op: conv, out_channels: 2, groups: 3", "has groups = 3. Allowed: a divisor of 4"),
            ("op: conv, out_channels: 2, bias: 1", "has bias = 1. Allowed: true or false"),
            ("op: conv, out_channels: 2, norm: layer", "Unknown norm 'layer'"),
            ("op: conv, out_channels: 2, bits: 20", "has weight = 20. Allowed: 1 to 16, or 32"),
            ("op: conv, out_channels: 2, bits: {wieght: 4}", "Unknown key 'wieght'"),
            ("op: conv, out_channels: 2, bits: [4]", "bits, is [4]"),
            ("op: conv, out_channels: 2, inputs: [nothing]", "Unknown input 'nothing'"),
            ("op: conv, out_channels: 2, inputs: 3", "has inputs = 3"),
            ("op: conv, out_channels: 2, name: input", "has the name 'input', which another"),
            ("op: linear, out_channels: 2", "Put {op: flatten} before it"),
            ("op: max_pool, kernel: 9", "a window of [9, 9] that does not fit into [8, 8]"),
            ("op: add", "has one input, expected at least two"),
            ("op: matmul", "has 1 input, expected two"),
            ("op: concat, axis: 4", "has axis = 4. Allowed: an axis from -4 to 3"),
            ("op: resize, mode: cubic", "Unknown mode 'cubic'. Did you mean 'bicubic'?"),
            ("op: reshape, shape: [1, 100]", "a shape of 256 elements, as [1, 4, 8, 8] has"),
            ("op: reshape, shape: 256", "has shape = 256"),
            ("op: permute, dims: [0, 1, 2, 2]", "each axis from 0 to 3 once"),
            ("op: permute, dims: [0, 1]", "a list of 4 whole numbers"),
            ("op: slice, axis: 1, start: 4", "takes nothing from axis 1 of [1, 4, 8, 8]"),
            ("op: act", "lacks the key 'act'"),
            ("op: conv, K: 4, C: 4, inputs: [input]", "must be a conv or linear without inputs"),
            ("op: max_pool, K: 4, C: 4", "must be a conv or linear without inputs"),
            ("op: conv, K: 4", "lacks the key 'C'"),
            ("op: conv, K: 4, C: 4, G: 3", "has G = 3. Allowed: a divisor of C = 4 and K = 4"),
        ],
    )
    def test_of_a_layer(self, tmp_path: Path, entry: str, message: str):
        with pytest.raises(WorkloadError, match=re.escape(message)) as info:
            layers(tmp_path, entry)
        assert "net.yaml: layer " in str(info.value)

    def test_name_the_layer_by_its_name(self, tmp_path: Path):
        with pytest.raises(WorkloadError, match=r"layer 'stem' lacks the key 'out_channels'"):
            layers(tmp_path, "name: stem, op: conv")

    def test_name_the_layer_by_its_number(self, tmp_path: Path):
        with pytest.raises(WorkloadError, match=r"layer 2 lacks the key 'out_channels'"):
            layers(tmp_path, "op: avg_pool", "op: conv")

    @pytest.mark.parametrize(
        ("shape", "entry", "message"),
        [
            ("[2, 5]", "op: conv, out_channels: 2", "expected [batch, channels, height, width]"),
            ("[5]", "op: matmul, inputs: [input, input]", "expected matrices"),
            ("[2, 5, 8]", "op: matmul, inputs: [input, input]", "whose inner sizes differ"),
        ],
    )
    def test_of_shapes(self, tmp_path: Path, shape: str, entry: str, message: str):
        with pytest.raises(WorkloadError, match=re.escape(message)):
            layers(tmp_path, entry, shape=shape)

    def test_of_shapes_that_do_not_meet(self, tmp_path: Path):
        with pytest.raises(WorkloadError, match="do not fit"):
            layers(tmp_path, "name: a, op: max_pool, kernel: 2", "op: add, inputs: [a, input]")
        with pytest.raises(WorkloadError, match="differ on axes other than 1"):
            layers(tmp_path, "name: a, op: max_pool, kernel: 2", "op: concat, inputs: [a, input]")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is None, expected keys and values"),
            ("[1, 2]", "is [1, 2], expected keys and values"),
            ("input: [1, 4, 8, 8]", "lacks the key 'layers'"),
            ("layers: {}", "Allowed: a list of at least one layer"),
            ("layers: []", "Allowed: a list of at least one layer"),
            ("layers: [conv]", "layer 1 is 'conv', expected keys and values"),
            ("layers: [{op: flatten}]", "has nothing to read"),
            (
                "input: [1, 3]\ninputs: {a: [1]}\nlayers: [{op: flatten}]",
                "both 'input' and 'inputs'",
            ),
            ("inputs: [1, 3]\nlayers: [{op: flatten}]", "names and shapes"),
            ("input: big\nlayers: [{op: flatten}]", "input 'input' has shape = 'big'"),
            ("input: {shape: [1, 3], size: 3}\nlayers: [{op: flatten}]", "Unknown key 'size'"),
            ("input: [1, 3]\nlayrs: []\nlayers: [{op: flatten}]", "Unknown key 'layrs'"),
            ("layers: [", "not a readable YAML file"),
            ("layers: !!python/object/apply:os.system [ls]", "not a readable YAML file"),
        ],
    )
    def test_of_the_file(self, tmp_path: Path, text: str, message: str):
        with pytest.raises(WorkloadError, match=re.escape(message)) as info:
            read(tmp_path, text)
        assert "net.yaml" in str(info.value)

    def test_of_a_missing_file(self, tmp_path: Path):
        with pytest.raises(WorkloadError, match="There is no file"):
            read_layers(tmp_path / "none.yaml")

    def test_of_a_file_that_is_no_text(self, tmp_path: Path):
        path = tmp_path / "net.yaml"
        path.write_bytes(b"\xff\xfe\x00layers")
        with pytest.raises(WorkloadError, match="not a readable YAML file"):
            read_layers(path)

    @settings(max_examples=40)
    @given(
        entry=st.dictionaries(
            st.sampled_from(["op", "out_channels", "kernel", "inputs", "bits", "K", "axis"]),
            st.one_of(
                st.none(), st.integers(-2, 9), st.text(max_size=4), st.lists(st.integers(0, 4)),
                st.sampled_from([*OPERATORS, "input"]),
            ),
        )
    )  # fmt: skip
    def test_never_end_in_anything_else(
        self, tmp_path_factory: pytest.TempPathFactory, entry: dict[str, Any]
    ):
        path = tmp_path_factory.getbasetemp() / "any.yaml"
        path.write_text(yaml.safe_dump({"input": [1, 4, 8, 8], "layers": [entry]}))
        try:
            found = read_layers(path)
        except WorkloadError:
            return
        assert len(found) == 1
