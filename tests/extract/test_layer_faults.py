"""Faults in layer lists: each is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_lists import layers, read

from hwflow.errors import WorkloadError
from hwflow.extract.layer_list import read_layers
from hwflow.extract.layer_ops import OPERATORS


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
