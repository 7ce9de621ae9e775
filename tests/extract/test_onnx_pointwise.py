"""ONNX operators that work element by element, in windows or along axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_nets import ints, model, node, ones, read, single

SCALAR = np.array(6.0, dtype=np.float32)


def behind_conv(folder: Path, nodes, constants=None, opset: int = 20):  # type: ignore[no-untyped-def]
    """Return the layers of a convolution "c" and what follows."""
    conv = node("Conv", "x conv.weight", "c")
    known = {"conv.weight": ones(4, 4, 1, 1)} | (constants or {})
    return read(model([conv, *nodes], known, opset=opset), folder).layers


@pytest.mark.parametrize(
    ("kind", "act"),
    [
        ("Relu", "relu"), ("Sigmoid", "sigmoid"), ("HardSwish", "hardswish"), ("Gelu", "gelu"),
        ("HardSigmoid", "hardsigmoid"), ("LeakyRelu", "leaky_relu"), ("Elu", "elu"),
        ("Tanh", "tanh"), ("Softplus", "softplus"), ("Mish", "mish"), ("Erf", "erf"),
        ("Sqrt", "sqrt"), ("Exp", "exp"), ("Neg", "neg"), ("Reciprocal", "reciprocal"),
    ],
)  # fmt: skip
def test_activations_fold_onto_the_convolution(tmp_path: Path, kind: str, act: str):
    (layer,) = behind_conv(tmp_path, [node(kind, "c")])
    assert layer.act == (act,)


@pytest.mark.parametrize(
    ("inputs", "act"), [("c zero six", "relu6"), ("c zero", "relu"), ("c six", "clamp")]
)
def test_clips_are_named_by_their_limits(tmp_path: Path, inputs: str, act: str):
    constants = {"zero": np.array(0.0, dtype=np.float32), "six": SCALAR}
    (layer,) = behind_conv(tmp_path, [node("Clip", inputs)], constants)
    assert layer.act == (act,)


def test_clip_by_attributes_of_old_files(tmp_path: Path):
    layer = single(tmp_path, "Clip", min=0.0, max=6.0, opset=6)
    assert layer.act == ("relu6",)


def test_sigmoid_times_its_input_is_silu(tmp_path: Path):
    (layer,) = behind_conv(tmp_path, [node("Sigmoid", "c", "s"), node("Mul", "s c")])
    assert layer.act == ("silu",)


def test_prelu_brings_its_slopes(tmp_path: Path):
    (layer,) = behind_conv(tmp_path, [node("PRelu", "c slope")], {"slope": ones(4, 1, 1)})
    assert (layer.act, layer.params) == (("prelu",), 20)


@pytest.mark.parametrize(
    ("kind", "act"),
    [("Add", "shift"), ("Sub", "shift"), ("Mul", "scale"), ("Div", "scale"), ("Pow", "pow")],
)
def test_arithmetic_with_a_number_folds_like_an_activation(tmp_path: Path, kind: str, act: str):
    (layer,) = behind_conv(tmp_path, [node(kind, "c six")], {"six": SCALAR})
    assert layer.act == (act,)


class TestArithmetic:
    @pytest.mark.parametrize(
        ("kind", "op"),
        [("Add", "add"), ("Sub", "add"), ("Mul", "mul"), ("Div", "mul"), ("Max", "mul")],
    )
    def test_of_two_tensors(self, tmp_path: Path, kind: str, op: str):
        layers = behind_conv(tmp_path, [node(kind, "c x")])
        assert (layers[1].op, layers[1].inputs) == (op, ("conv", "x"))

    def test_of_several_tensors(self, tmp_path: Path):
        layers = behind_conv(tmp_path, [node("Sum", "c x c")])
        assert layers[1].inputs == ("conv", "x", "conv")

    def test_bias_per_channel_is_the_convolutions(self, tmp_path: Path):
        (layer,) = behind_conv(tmp_path, [node("Add", "c b")], {"b": ones(1, 4, 1, 1)})
        assert (layer.bias, layer.params) == (True, 20)

    def test_table_is_an_addition_with_one_input(self, tmp_path: Path):
        layers = behind_conv(tmp_path, [node("Add", "c b")], {"b": ones(4, 8, 8)})
        assert (layers[1].op, layers[1].inputs) == ("add", ("conv",))

    def test_choice_by_a_constant_is_a_mask(self, tmp_path: Path):
        constants = {"keep": np.ones((8, 8), dtype=bool), "six": SCALAR}
        (layer,) = behind_conv(tmp_path, [node("Where", "keep c six")], constants)
        assert layer.act == ("where",)

    def test_choice_between_two_reads_both(self, tmp_path: Path):
        constants = {"keep": np.ones((8, 8), dtype=bool)}
        layers = behind_conv(tmp_path, [node("Where", "keep c x")], constants)
        assert (layers[1].op, layers[1].inputs) == ("mul", ("conv", "x"))


class TestNorms:
    @pytest.mark.parametrize(
        ("kind", "inputs", "size", "more", "name"),
        [
            ("LayerNormalization", "x g b", 8, {}, "layer"),
            ("InstanceNormalization", "x g b", 4, {}, "instance"),
            ("GroupNormalization", "x g b", 4, {"num_groups": 2}, "group"),
            ("RMSNormalization", "x g", 8, {}, "rms"),
        ],
    )
    def test_are_layers_with_their_parameters(
        self, tmp_path: Path, kind: str, inputs: str, size: int, more, name: str
    ):
        constants = {key: ones(size) for key in inputs.split()[1:]}
        layer = single(tmp_path, kind, inputs, constants, opset=23, **more)
        assert (layer.op, layer.attr("kind")) == ("norm", name)
        assert layer.params == size * len(constants)

    def test_of_groups_say_how_many(self, tmp_path: Path):
        constants = {"g": ones(4), "b": ones(4)}
        layer = single(tmp_path, "GroupNormalization", "x g b", constants, opset=21, num_groups=2)
        assert layer.attr("groups") == 2

    def test_of_batches_alone_are_layers(self, tmp_path: Path):
        constants = {name: ones(4) for name in "gbmv"}
        layer = single(tmp_path, "BatchNormalization", "x g b m v", constants)
        assert (layer.op, layer.params) == ("norm", 8)

    def test_in_training_do_not_fold(self, tmp_path: Path):
        batch_norm = node("BatchNormalization", "c g b m v", "y t u", training_mode=1)
        layers = behind_conv(tmp_path, [batch_norm], {name: ones(4) for name in "gbmv"})
        assert [layer.op for layer in layers] == ["conv", "norm"]


class TestPools:
    @pytest.mark.parametrize(("kind", "op"), [("MaxPool", "max_pool"), ("AveragePool", "avg_pool")])
    def test_in_windows(self, tmp_path: Path, kind: str, op: str):
        layer = single(tmp_path, kind, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
        assert (layer.op, layer.kernel, layer.stride) == (op, (3, 3), (2, 2))
        assert (layer.padding, layer.out_size, layer.in_channels) == ((0, 0, 1, 1), (4, 4), 4)

    def test_padded_by_a_mode(self, tmp_path: Path):
        layer = single(
            tmp_path, "MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"
        )
        assert layer.padding == (0, 0, 1, 1)

    @pytest.mark.parametrize(
        ("kind", "op"), [("GlobalAveragePool", "avg_pool"), ("GlobalMaxPool", "max_pool")]
    )
    def test_over_everything(self, tmp_path: Path, kind: str, op: str):
        layer = single(tmp_path, kind)
        assert (layer.op, layer.kernel, layer.out_size) == (op, (8, 8), (1, 1))

    def test_mean_over_height_and_width_is_one(self, tmp_path: Path):
        layer = single(tmp_path, "ReduceMean", "x a", {"a": ints(-1, 2)}, keepdims=0)
        assert (layer.op, layer.kernel, layer.out_shape) == ("avg_pool", (8, 8), (1, 4))


@pytest.mark.parametrize(
    ("kind", "more", "function", "dims"),
    [
        ("ReduceMean", {"axes": [1], "opset": 13}, "mean", (1,)),
        ("ReduceMax", {"opset": 13}, "max", (0, 1, 2, 3)), ("ArgMax", {"axis": 1}, "argmax", (1,)),
    ],
)  # fmt: skip
def test_reductions_say_function_and_axes(tmp_path: Path, kind: str, more, function: str, dims):
    layer = single(tmp_path, kind, **more)
    assert (layer.op, layer.attr("function"), layer.attr("dims")) == ("reduce", function, dims)


@pytest.mark.parametrize(("opset", "dim"), [(18, 3), (11, 1)])
def test_softmax_says_its_axis(tmp_path: Path, opset: int, dim: int):
    layer = single(tmp_path, "Softmax", opset=opset)
    assert (layer.op, layer.attr("dim")) == ("softmax", dim)


@pytest.mark.parametrize(
    ("inputs", "constants"),
    [
        ("x - s", {"s": np.array([1, 1, 2, 2], dtype=np.float32)}),
        ("x - - n", {"n": ints(1, 4, 16, 16)}),
    ],
    ids=["scales", "sizes"],
)
def test_resize(tmp_path: Path, inputs: str, constants):
    layer = single(tmp_path, "Resize", inputs, constants, mode="linear")
    assert (layer.op, layer.attr("mode"), layer.out_shape) == ("resize", "linear", (1, 4, 16, 16))


def test_cast_to_integers_is_kept(tmp_path: Path):
    assert single(tmp_path, "Cast", to=6).act == ("cast",)
