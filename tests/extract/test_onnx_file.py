"""ONNX files as a whole: bits, names, open batches, constants, and files that cannot be read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_nets import SHAPE, ints, model, node, ones, read

from hwflow.errors import ModelError, WorkloadError
from hwflow.extract import extract
from hwflow.extract.onnx_file import BITS_KEY, read_onnx


def two_convolutions() -> onnx.ModelProto:
    nodes = [node("Conv", "x a.weight", "c"), node("Relu", "c", "r"), node("Conv", "r b.weight")]
    return model(nodes, {"a.weight": ones(6, 4, 3, 3), "b.weight": ones(2, 6, 1, 1)})


class TestBits:
    def quantised(self, kind: type, activation: type = np.uint8) -> onnx.ModelProto:
        """Return two convolutions with quantisers before each and on each weight."""
        nodes = [
            node("QuantizeLinear", "x s za", "xq"), node("DequantizeLinear", "xq s za", "xd"),
            node("DequantizeLinear", "a.weight s zw", "ad"), node("Conv", "xd ad", "c"),
            node("Relu", "c", "r"),
            node("QuantizeLinear", "r s za", "rq"), node("DequantizeLinear", "rq s za", "rd"),
            node("QuantizeLinear", "b.weight s zw", "bq"),
            node("DequantizeLinear", "bq s zw", "bd"),
            node("Conv", "rd bd"),
        ]  # fmt: skip
        constants = {
            "s": np.array(0.1, dtype=np.float32), "za": np.array(0, dtype=activation),
            "zw": np.array(0, dtype=kind), "a.weight": np.ones((6, 4, 3, 3), dtype=kind),
            "b.weight": ones(2, 6, 1, 1),
        }  # fmt: skip
        return model(nodes, constants, opset=21)

    @pytest.mark.parametrize("kind", [np.int8, np.int16])
    def test_come_from_quantizers(self, tmp_path: Path, kind: type):
        found = read(self.quantised(kind), tmp_path)
        bits = np.dtype(kind).itemsize * 8
        assert [layer.name for layer in found] == ["a", "b"]
        assert [layer.weight_bits for layer in found] == [bits, bits]
        assert [layer.input_bits for layer in found] == [(8,), (8,)]
        assert found.inputs[0].bits == 8
        assert found["b"].output_bits == 32

    def test_of_quantised_weights_count_their_parameters_and_not_the_scales(self, tmp_path: Path):
        found = read(self.quantised(np.int8), tmp_path)
        assert found.params == 6 * 4 * 9 + 2 * 6
        assert found.loose_params == 0

    def test_of_activations_may_be_wider(self, tmp_path: Path):
        assert read(self.quantised(np.int8, np.uint16), tmp_path).inputs[0].bits == 16

    def test_of_four_come_from_the_type(self, tmp_path: Path):
        made = self.quantised(np.int8)
        for name in ("zw", "a.weight"):
            tensor = next(t for t in made.graph.initializer if t.name == name)
            array = numpy_helper.to_array(tensor)
            packed = helper.make_tensor(name, TensorProto.INT4, array.shape, array.reshape(-1))
            tensor.CopyFrom(packed)
        assert [layer.weight_bits for layer in read(made, tmp_path)] == [4, 4]

    def note(self, made: onnx.ModelProto, text: str) -> onnx.ModelProto:
        entry = made.graph.metadata_props.add()
        entry.key, entry.value = BITS_KEY, text
        return made

    def test_noted_in_the_metadata_are_those_of_the_layers(self, tmp_path: Path):
        noted = {"weights": {"a": 3}, "tensors": {"x": 5, "a": 2}}
        found = read(self.note(two_convolutions(), json.dumps(noted)), tmp_path)
        assert found["a"].weight_bits == 3
        assert found["a"].input_bits == (5,)
        assert found["b"].input_bits == (2,)
        assert found["b"].weight_bits == 32

    def test_noted_pass_through_what_only_moves_values(self, tmp_path: Path):
        nodes = [
            node("Conv", "x a.weight", "c"), node("Transpose", "c", "t", perm=[0, 2, 3, 1]),
            node("Identity", "t"),
        ]  # fmt: skip
        made = model(nodes, {"a.weight": ones(6, 4, 1, 1)})
        found = read(self.note(made, '{"tensors": {"a": 3}}'), tmp_path)
        assert found.layers[-1].output_bits == 3

    @pytest.mark.parametrize("text", ["no json", "[1]", '{"weights": {"a": "two"}}'])
    def test_noted_in_another_form_are_refused(self, tmp_path: Path, text: str):
        with pytest.raises(ModelError, match=r"metadata entry 'hwflow.bits' but not in the form"):
            read(self.note(two_convolutions(), text), tmp_path)

    def test_of_simulated_grids_are_those_of_hwflows_functions(self, tmp_path: Path):
        grid = onnx.parser.parse_function(
            """<domain: "hwflow", opset_import: ["" : 18]>
            FakeQuantize <bits, signed, low, high> (x, scale, zero) => (y)
            { z = Div (x, scale)  r = Round (z)  y = Mul (r, scale) }"""
        )
        call = node("FakeQuantize", "c s z", "q", bits=3, signed=0, low=0.0, high=7.0)
        call.domain = "hwflow"
        nodes = [node("Conv", "x a.weight", "c"), call, node("Relu", "q")]
        constants = {"a.weight": ones(6, 4, 1, 1), "s": ones(1), "z": ones(1)}
        made = model(nodes, constants, functions=[grid])
        made.opset_import.append(helper.make_opsetid("hwflow", 1))
        found = read(made, tmp_path)
        assert [layer.op for layer in found] == ["conv", "act"]
        assert found["a"].output_bits == 3
        assert found.loose_params == 0


class TestBatch:
    @pytest.mark.parametrize("first", ["batch", None, -1, 0])
    def test_that_is_open_is_one(self, tmp_path: Path, first: object):
        made = two_convolutions()
        dim = made.graph.input[0].type.tensor_type.shape.dim[0]
        if isinstance(first, int):
            dim.dim_value = first
        elif first is None:
            dim.ClearField("value")
        else:
            dim.dim_param = str(first)
        found = read(made, tmp_path)
        assert found.inputs[0].shape == SHAPE
        assert found["a"].batch == 1

    def test_of_two_is_kept(self, tmp_path: Path):
        made = two_convolutions()
        made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
        assert read(made, tmp_path)["b"].batch == 2

    def test_may_pass_through_shape_arithmetic(self, tmp_path: Path):
        nodes = [
            node("Shape", "x", "batch", start=0, end=1), node("Concat", "batch rest", "to", axis=0),
            node("Reshape", "x to", "flat"), node("Gemm", "flat fc.weight"),
        ]  # fmt: skip
        constants = {"rest": ints(-1), "fc.weight": ones(256, 3)}
        found = read(model(nodes, constants, shape=("n", 4, 8, 8)), tmp_path)
        assert [layer.name for layer in found] == ["reshape", "fc"]
        assert found["fc"].out_shape == (1, 3)

    def test_other_open_axes_are_refused_by_name(self, tmp_path: Path):
        made = two_convolutions()
        made.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
        with pytest.raises(ModelError, match=r"Input 'x' has no size on axis 2 \(height\)"):
            read(made, tmp_path)


class TestConstants:
    def test_arithmetic_on_them_is_no_layer(self, tmp_path: Path):
        nodes = [
            node("Mul", "w two", "scaled"), node("Transpose", "scaled", "turned", perm=[1, 0]),
            node("MatMul", "x turned"),
        ]  # fmt: skip
        constants = {"w": ones(3, 8), "two": np.array(2, dtype=np.float32)}
        (layer,) = read(model(nodes, constants, shape=(1, 8)), tmp_path).layers
        assert (layer.op, layer.params) == ("linear", 24)

    def test_in_nodes_are_read(self, tmp_path: Path):
        value = numpy_helper.from_array(ints(1, 256), "v")
        nodes = [node("Constant", "", "s", value=value), node("Reshape", "x s")]
        assert read(model(nodes), tmp_path).layers[0].out_shape == (1, 256)

    def test_among_the_inputs_of_old_files_are_no_inputs(self, tmp_path: Path):
        made = two_convolutions()
        weight = helper.make_tensor_value_info("a.weight", TensorProto.FLOAT, (6, 4, 3, 3))
        made.graph.input.append(weight)
        assert [i.name for i in read(made, tmp_path).inputs] == ["x"]

    def test_beside_the_file_are_not_needed(self, tmp_path: Path):
        path = tmp_path / "net.onnx"
        onnx.save(
            two_convolutions(), path, save_as_external_data=True, location="weights.bin",
            size_threshold=0,
        )  # fmt: skip
        whole = read_onnx(path)
        (tmp_path / "weights.bin").unlink()
        assert read_onnx(path) == whole
        assert whole.params == 6 * 4 * 9 + 12

    def test_beside_the_file_that_shapes_need_are_missed_by_name(self, tmp_path: Path):
        path = tmp_path / "net.onnx"
        made = model(
            [node("Reshape", "x s"), node("Relu", "y", "z")], {"s": ints(1, -1)}, output="z"
        )
        onnx.save(made, path, save_as_external_data=True, location="w.bin", size_threshold=0)
        (tmp_path / "w.bin").unlink()
        with pytest.raises(ModelError, match=r"shape of value 'y' that Reshape node"):
            read_onnx(path)

    def test_that_nobody_learns_are_no_parameters(self, tmp_path: Path):
        nodes = [
            node("BatchNormalization", "x g b m v", "n"), node("Relu", "n", "r"),
            node("Resize", "r - scales"),
        ]  # fmt: skip
        constants = {name: ones(4) for name in "gbmv"} | {"scales": ones(4) * 2}
        assert read(model(nodes, constants), tmp_path).params == 8

    def test_shared_by_two_layers_count_once(self, tmp_path: Path):
        nodes = [node("Conv", "x w", "c"), node("Conv", "c w")]
        found = read(model(nodes, {"w": ones(4, 4, 1, 1)}), tmp_path)
        assert [layer.params for layer in found] == [16, 0]


class TestNames:
    def test_of_weights(self, tmp_path: Path):
        assert [layer.name for layer in read(two_convolutions(), tmp_path)] == ["a", "b"]

    def test_of_modules_by_the_node_name(self, tmp_path: Path):
        nodes = [
            node("Conv", "x a.weight", "c"),
            node("Add", "c c", "s", name="/layer1/layer1.0/Add"),
            node("MaxPool", "s", "p", name="/layer1/layer1.0/pool/MaxPool", kernel_shape=[2, 2]),
            node("Relu", "p", "r", name="/layer1/layer1.0/act/Relu"), node("Flatten", "r"),
        ]  # fmt: skip
        found = read(model(nodes, {"a.weight": ones(6, 4, 1, 1)}), tmp_path)
        names = [layer.name for layer in found]
        assert names == ["a", "layer1.0.add", "layer1.0.pool", "reshape"]

    def test_of_modules_by_the_exporters_notes(self, tmp_path: Path):
        pool = node("GlobalAveragePool", "x")
        notes = {
            "pkg.torch.onnx.name_scopes": "['', 'head', 'head.pool', 'mean']",
            "pkg.torch.onnx.class_hierarchy": (
                "['net.Net', 'net.Head', 'torch.nn.modules.pooling.AdaptiveAvgPool2d', 'aten.mean']"
            ),
        }
        for key, value in notes.items():
            entry = pool.metadata_props.add()
            entry.key, entry.value = key, value
        assert read(model([pool]), tmp_path).layers[0].name == "head.pool"

    def test_of_the_network_is_that_of_the_file(self, tmp_path: Path):
        assert read(two_convolutions(), tmp_path).name == "net"


class TestOperators:
    def test_unknown_are_kept_with_their_domain(self, tmp_path: Path):
        made = node("Grid", "x", "g")
        made.domain = "custom"
        network = model([made, node("Relu", "g")])
        info = helper.make_tensor_value_info("g", TensorProto.FLOAT, SHAPE)
        network.graph.value_info.append(info)
        found = read(network, tmp_path)
        assert [layer.attr("target") for layer in found.unknown] == ["custom.Grid"]
        assert [layer.op for layer in found] == ["unknown", "act"]

    def test_of_the_standard_without_a_rule_are_kept(self, tmp_path: Path):
        found = read(model([node("CumSum", "x a")], {"a": ints(1)}), tmp_path)
        assert found.unknown[0].attr("target") == "CumSum"

    def test_of_the_files_own_are_opened(self, tmp_path: Path):
        body = helper.make_function(
            "custom", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
            [helper.make_opsetid("", 18)],
        )  # fmt: skip
        made = node("Twice", "x")
        made.domain = "custom"
        found = read(model([made], functions=[body]), tmp_path)
        assert [layer.op for layer in found] == ["add"]

    def test_whose_shape_nobody_knows_are_refused_by_name(self, tmp_path: Path):
        made = node("Grid", "x", "g", name="strange")
        made.domain = "custom"
        with pytest.raises(ModelError, match=r"'g' that Grid node 'strange' makes cannot be found"):
            read(model([made, node("Relu", "g")]), tmp_path)


class TestRefuses:
    def test_missing_file(self, tmp_path: Path):
        with pytest.raises(ModelError, match="There is no file"):
            read_onnx(tmp_path / "none.onnx")

    @pytest.mark.parametrize("content", [b"", b"no model at all", bytes(range(256)) * 40])
    def test_files_that_are_no_model(self, tmp_path: Path, content: bytes):
        path = tmp_path / "bad.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"bad.onnx' is not"):
            read_onnx(path)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
    def test_truncated_files(self, tmp_path: Path, share: float):
        path = tmp_path / "net.onnx"
        onnx.save(two_convolutions(), path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ModelError, match="is not a readable ONNX file"):
            read_onnx(path)

    def test_folders(self, tmp_path: Path):
        path = tmp_path / "folder.onnx"
        path.mkdir()
        with pytest.raises(ModelError, match="is not a readable ONNX file"):
            read_onnx(path)

    def test_models_without_a_graph(self, tmp_path: Path):
        path = tmp_path / "empty.onnx"
        path.write_bytes(onnx.ModelProto(ir_version=8).SerializeToString())
        with pytest.raises(ModelError, match="its graph is empty"):
            read_onnx(path)

    def test_groups_that_do_not_divide(self, tmp_path: Path):
        made = model([node("Conv", "x w", group=2)], {"w": ones(5, 2, 1, 1)})
        with pytest.raises(WorkloadError, match="cannot be divided into 2 groups"):
            read(made, tmp_path)

    @pytest.mark.parametrize("name", ["net.tflite", "net", "folder/"])
    def test_other_kinds_of_file(self, name: str):
        with pytest.raises(ModelError, match=r"expected a file that ends in \.onnx"):
            extract(name)


def test_needs_no_torch(tmp_path: Path):
    path = tmp_path / "net.onnx"
    onnx.save(two_convolutions(), path)
    code = (
        "import sys; from hwflow.extract import extract; "
        f"assert extract({str(path)!r}).macs; sys.exit('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
