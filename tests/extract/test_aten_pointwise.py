"""Torch operators that work element by element, in windows or along axes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from extract_nets import Apply, counted_params, single, workload
from torch import Tensor, nn

from hwflow.workload import Layer

SHAPE = (1, 6, 8, 8)


def apply(function, shape: tuple[int, ...] = SHAPE, **parts: nn.Parameter) -> Layer:  # type: ignore[no-untyped-def]
    return single(Apply(function, **parts), shape)


@pytest.mark.parametrize(
    ("module", "act"),
    [
        (nn.ReLU(), "relu"), (nn.ReLU6(), "relu6"), (nn.Hardtanh(), "hardtanh"),
        (nn.SiLU(), "silu"), (nn.Hardswish(), "hardswish"), (nn.Hardsigmoid(), "hardsigmoid"),
        (nn.GELU(), "gelu"), (nn.Sigmoid(), "sigmoid"), (nn.LeakyReLU(), "leaky_relu"),
        (nn.ELU(), "elu"), (nn.Tanh(), "tanh"), (nn.SELU(), "selu"), (nn.CELU(), "celu"),
        (nn.Softplus(), "softplus"), (nn.Mish(), "mish"), (nn.Hardshrink(), "hardshrink"),
        (nn.Softshrink(), "softshrink"), (nn.LogSigmoid(), "log_sigmoid"),
        (nn.Threshold(0.1, 0), "threshold"), (nn.PReLU(), "prelu"), (nn.ReLU(inplace=True), "relu"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_activations_fold_onto_the_convolution(module: nn.Module, act: str):
    layer = single(nn.Sequential(nn.Conv2d(3, 4, 1), module))
    assert layer.act == (act,)
    assert layer.op == "conv"


def test_prelu_brings_its_slopes():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.PReLU(4))
    assert single(net).params == counted_params(net)


def test_swish_written_out_is_silu():
    net = Apply(lambda m, x: (y := m.conv(x)) * torch.sigmoid(y), conv=nn.Conv2d(3, 4, 1))
    assert single(net).act == ("silu",)


@pytest.mark.parametrize(
    ("function", "act"),
    [
        (lambda x: x + 3, "shift"), (lambda x: 1 - x, "shift"), (lambda x: x * 0.5, "scale"),
        (lambda x: x / 6, "scale"), (lambda x: x**2, "pow"), (lambda x: torch.exp(x), "exp"),
        (lambda x: -x, "neg"), (lambda x: x.clamp(0, 1), "clamp"),
        (lambda x: x.clamp(0, 6), "relu6"), (lambda x: x.clamp(min=0), "relu"),
        (lambda x: x.clamp_min(0.5), "clamp_min"), (lambda x: x.abs(), "abs"),
        (lambda x: x.sqrt(), "sqrt"), (lambda x: x.rsqrt(), "rsqrt"), (lambda x: x.erf(), "erf"),
    ],
)  # fmt: skip
def test_arithmetic_with_a_number_folds_like_an_activation(function, act: str):
    layer = single(Apply(lambda m, x: function(m.conv(x)), conv=nn.Conv2d(3, 4, 1)))
    assert layer.act == (act,)


def test_one_learned_number_counts_as_a_number():
    net = Apply(
        lambda m, x: m.conv(x) * m.gain, conv=nn.Conv2d(3, 4, 1), gain=nn.Parameter(torch.ones(1))
    )
    found = workload(net)
    assert found.layers[0].act == ("scale",)
    assert found.loose_params == 1


class TestArithmetic:
    @pytest.mark.parametrize(
        ("function", "op"),
        [
            (lambda x, y: x + y, "add"), (lambda x, y: x - y, "add"),
            (lambda x, y: torch.add(x, y, alpha=2), "add"), (lambda x, y: x * y, "mul"),
            (lambda x, y: x / y, "mul"), (lambda x, y: torch.maximum(x, y), "mul"),
            (lambda x, y: torch.where(x > 0, x, y), "mul"),
        ],
    )  # fmt: skip
    def test_of_two_tensors_reads_both(self, function, op: str):
        net = Apply(
            lambda m, x: function(m.a(x), m.b(x)), a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 4, 1)
        )
        layer = workload(net).layers[-1]
        assert layer.op == op
        assert {"a", "b"} <= set(layer.inputs)

    def test_says_which_function_it_is_where_the_operator_does_not(self):
        layer = workload(Apply(lambda _, x: torch.minimum(x, x.relu()))).layers[-1]
        assert layer.attr("function") == "minimum"

    def test_with_a_constant_tensor_reads_one_input(self):
        layer = apply(lambda m, x: x + m.table, table=nn.Parameter(torch.zeros(6, 8, 8)))
        assert (layer.op, layer.inputs) == ("add", ("x",))

    def test_table_of_positions_is_a_loose_parameter(self):
        net = Apply(lambda m, x: x + m.table, table=nn.Parameter(torch.zeros(6, 8, 8)))
        assert workload(net, SHAPE).loose_params == 384

    def test_scale_per_channel_is_a_product_with_one_input(self):
        layer = apply(lambda m, x: x * m.gain, gain=nn.Parameter(torch.ones(6, 1, 1)))
        assert (layer.op, layer.inputs) == ("mul", ("x",))

    def test_twice_the_same_tensor_reads_it_twice(self):
        assert apply(lambda _, x: x * x).inputs == ("x", "x")

    def test_mask_by_a_constant_is_an_activation(self):
        net = Apply(lambda m, x: torch.where(m.keep > 0, m.conv(x), -1.0), conv=nn.Conv2d(3, 4, 1))
        net.register_buffer("keep", torch.ones(16, 16))
        assert single(net).act == ("where",)

    def test_squeeze_and_excitation(self):
        net = Apply(
            lambda m, x: (y := m.conv(x)) * torch.sigmoid(m.fc(F.adaptive_avg_pool2d(y, 1))),
            conv=nn.Conv2d(3, 4, 1), fc=nn.Conv2d(4, 4, 1),
        )  # fmt: skip
        found = workload(net)
        assert [layer.op for layer in found] == ["conv", "avg_pool", "conv", "mul"]
        assert found["fc"].act == ("sigmoid",)


class TestNorms:
    @pytest.mark.parametrize(
        ("module", "kind"),
        [
            (nn.LayerNorm([6, 8, 8]), "layer"), (nn.GroupNorm(3, 6), "group"),
            (nn.InstanceNorm2d(6, affine=True), "instance"), (nn.RMSNorm(8), "rms"),
            (nn.BatchNorm2d(6), "batch"),
        ],
    )  # fmt: skip
    def test_alone_are_layers_with_their_parameters(self, module: nn.Module, kind: str):
        layer = single(nn.Sequential(module), SHAPE)
        assert (layer.op, layer.attr("kind")) == ("norm", kind)
        assert layer.params == counted_params(module)
        assert layer.name == "0"

    def test_over_groups_say_how_many(self):
        assert single(nn.GroupNorm(3, 6), SHAPE).attr("groups") == 3

    def test_take_the_activation_after_them(self):
        assert single(nn.Sequential(nn.BatchNorm2d(6), nn.ReLU()), SHAPE).act == ("relu",)

    @pytest.mark.parametrize(
        ("net", "shape"),
        [
            (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), (1, 3, 16, 16)),
            (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)), (1, 3, 16, 16)),
            (nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d(4)), (1, 3, 16, 16)),
            (nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)), (1, 3, 16)),
            (nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4)), (1, 3, 4, 8, 8)),
            (nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4)), (2, 8)),
            (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(), nn.BatchNorm2d(4)), (1, 3, 16, 16)),
        ],
        ids=["conv", "without factors", "transposed", "1d", "3d", "linear", "behind dropout"],
    )  # fmt: skip
    def test_by_running_statistics_fold(self, net: nn.Module, shape: tuple[int, ...]):
        layer = single(net, shape)
        assert layer.norm == "batch"
        assert layer.params == counted_params(net)

    @pytest.mark.parametrize(
        ("net", "shape"),
        [
            (
                nn.Sequential(
                    nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)
                ),
                (2, 3, 9, 9),
            ),
            (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), (1, 3, 9, 9)),
            (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), (1, 3, 9, 9)),
            (nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(5)), (2, 5, 8)),
            (nn.Sequential(nn.MaxPool2d(2), nn.BatchNorm2d(3)), (1, 3, 8, 8)),
        ],
        ids=["statistics of the batch", "after relu", "group norm", "over tokens", "after pooling"],
    )  # fmt: skip
    def test_of_other_kinds_stay(self, net: nn.Module, shape: tuple[int, ...]):
        found = workload(net, shape)
        assert [layer.op for layer in found][-1] == "norm"
        assert all(layer.norm is None for layer in found)

    def test_of_a_convolution_called_twice_stay(self):
        net = Apply(
            lambda m, x: m.bn(m.conv(m.conv(x))), conv=nn.Conv2d(3, 3, 1), bn=nn.BatchNorm2d(3)
        )
        assert [layer.op for layer in workload(net)] == ["conv", "conv", "norm"]

    @pytest.mark.parametrize("affine", [True, False])
    def test_called_twice_stay(self, affine: bool):
        net = Apply(
            lambda m, x: m.bn(m.b(m.bn(m.a(x)))),
            a=nn.Conv2d(3, 3, 1), b=nn.Conv2d(3, 3, 1), bn=nn.BatchNorm2d(3, affine=affine),
        )  # fmt: skip
        assert [layer.op for layer in workload(net)] == ["conv", "norm", "conv", "norm"]

    def test_as_bare_functions_stay(self):
        def bare(m: nn.Module, x: Tensor) -> Tensor:
            return F.batch_norm(m.conv(x), m.bn.running_mean, m.bn.running_var)

        net = Apply(bare, conv=nn.Conv2d(3, 4, 1), bn=nn.BatchNorm2d(4))
        assert [layer.op for layer in workload(net)] == ["conv", "norm"]

    def test_after_a_bias_outside_the_convolution_stay(self):
        net = Apply(
            lambda m, x: m.bn(m.conv(x) + m.shift), conv=nn.Conv2d(3, 4, 1, bias=False),
            bn=nn.BatchNorm2d(4), shift=nn.Parameter(torch.zeros(4, 1, 1)),
        )  # fmt: skip
        found = workload(net)
        assert [layer.op for layer in found] == ["conv", "norm"]
        assert found["conv"].bias


class TestPools:
    @pytest.mark.parametrize(
        ("module", "op"),
        [
            (nn.MaxPool2d(3, 2, 1), "max_pool"), (nn.AvgPool2d(3, 2, 1), "avg_pool"),
            (nn.MaxPool2d(3, 2, 1, return_indices=True), "max_pool"),
        ],
    )  # fmt: skip
    def test_in_windows(self, module: nn.Module, op: str):
        net = Apply(lambda m, x: y[0] if isinstance(y := m.pool(x), tuple) else y, pool=module)
        layer = single(net, SHAPE)
        assert (layer.op, layer.name) == (op, "pool")
        assert (layer.kernel, layer.stride, layer.padding) == ((3, 3), (2, 2), (1, 1, 1, 1))
        assert (layer.out_size, layer.in_channels) == ((4, 4), 6)

    def test_stride_is_the_window_unless_given(self):
        assert single(nn.MaxPool2d(2), SHAPE).stride == (2, 2)

    def test_dilated(self):
        assert single(nn.MaxPool2d(2, dilation=2), SHAPE).dilation == (2, 2)

    def test_rounded_up_has_more_windows(self):
        assert single(nn.MaxPool2d(3, 2, ceil_mode=True), SHAPE).out_size == (4, 4)

    def test_over_a_line(self):
        layer = single(nn.AvgPool1d(3, 2), (1, 6, 9))
        assert (layer.kernel, layer.out_size) == ((1, 3), (1, 4))

    @pytest.mark.parametrize(
        "module", [nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)], ids=["mean", "maximum"]
    )
    def test_to_one_position_are_over_everything(self, module: nn.Module):
        layer = single(module, SHAPE)
        assert (layer.kernel, layer.out_size) == ((8, 8), (1, 1))

    def test_to_a_size(self):
        layer = single(nn.AdaptiveAvgPool2d((4, 2)), SHAPE)
        assert (layer.kernel, layer.stride, layer.out_size) == ((2, 4), (2, 4), (4, 2))

    def test_to_the_size_that_is_there_vanish(self):
        net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(16), nn.ReLU())
        assert single(net).act == ("relu",)

    def test_to_a_larger_size_have_windows_of_one(self):
        layer = single(nn.AdaptiveAvgPool2d(12), SHAPE)
        assert (layer.kernel, layer.stride) == ((1, 1), (1, 1))

    @pytest.mark.parametrize("keep", [True, False])
    def test_mean_over_height_and_width_is_one(self, keep: bool):
        layer = apply(lambda _, x: x.mean((-1, 2), keepdim=keep))
        assert (layer.op, layer.kernel) == ("avg_pool", (8, 8))
        assert layer.out_shape == ((1, 6, 1, 1) if keep else (1, 6))

    def test_maximum_and_its_place_are_one_layer(self):
        found = workload(Apply(lambda _, x: torch.cat(x.max(1, keepdim=True)[:1], 1)), SHAPE)
        assert found.layers[0].attr("function") == "max"


@pytest.mark.parametrize(
    ("function", "name", "dims"),
    [
        (lambda x: x.mean(1), "mean", (1,)), (lambda x: x.sum((0, -1)), "sum", (0, 3)),
        (lambda x: x.amax(1), "amax", (1,)), (lambda x: x.mean(), "mean", (0, 1, 2, 3)),
        (lambda x: x.mean((1, 2)), "mean", (1, 2)), (lambda x: x.var(1), "var", (1,)),
    ],
)  # fmt: skip
def test_reductions_say_function_and_axes(function, name: str, dims: tuple[int, ...]):
    layer = apply(lambda _, x: function(x))
    assert (layer.op, layer.attr("function"), layer.attr("dims")) == ("reduce", name, dims)


@pytest.mark.parametrize("function", [F.softmax, F.log_softmax])
def test_softmax_says_its_axis(function):
    layer = apply(lambda _, x: function(x, dim=-3))
    assert (layer.op, layer.attr("dim")) == ("softmax", 1)


@pytest.mark.parametrize(
    ("mode", "name"),
    [("nearest", "nearest2d"), ("bilinear", "bilinear2d"), ("bicubic", "bicubic2d")],
)
def test_resize_says_its_mode(mode: str, name: str):
    layer = apply(lambda _, x: F.interpolate(x, scale_factor=2, mode=mode))
    assert (layer.op, layer.attr("mode"), layer.out_shape) == ("resize", name, (1, 6, 16, 16))


class TestWhatChangesNothing:
    @pytest.mark.parametrize(
        "function",
        [
            lambda x: x.contiguous(), lambda x: x.clone(), lambda x: x.detach(),
            lambda x: F.dropout(x, 0.5, training=False), lambda x: x.half().float(),
            lambda x: x.to(torch.float64), lambda x: F.dropout2d(x, 0.5, training=False),
        ],
    )  # fmt: skip
    def test_vanishes(self, function):
        net = Apply(lambda m, x: torch.relu(function(m.conv(x))), conv=nn.Conv2d(3, 4, 1))
        assert single(net).act == ("relu",)

    def test_cast_to_integers_does_not(self):
        assert apply(lambda _, x: x.to(torch.int32)).act == ("cast",)

    def test_dropout_that_never_stops_does_not(self):
        assert apply(lambda _, x: F.dropout(x, 0.5, training=True)).act == ("dropout",)


class TestConstants:
    def test_are_no_layers(self):
        def shifted(m: nn.Module, x: Tensor) -> Tensor:
            grid = torch.stack([torch.arange(8.0), torch.zeros(8)]).sum(0).relu()
            return m.conv(x) + grid

        found = workload(Apply(shifted, conv=nn.Conv2d(6, 4, 1)), SHAPE)
        assert [layer.op for layer in found] == ["conv", "add"]

    def test_of_the_inputs_shape_alone_are_no_layers(self):
        net = Apply(lambda m, x: m.conv(x) + torch.zeros_like(x[:, :4]), conv=nn.Conv2d(6, 4, 1))
        assert [layer.op for layer in workload(net, SHAPE)] == ["conv", "add"]

    def test_that_are_learned_are_loose(self):
        net = Apply(
            lambda m, x: x + m.net(m.seed), net=nn.Linear(3, 8), seed=nn.Parameter(torch.ones(3))
        )
        assert workload(net, SHAPE).loose_params == 8 * 3 + 8 + 3


class TestUnknown:
    def test_operator_is_kept_with_its_name_inputs_and_shape(self):
        layer = apply(lambda _, x: torch.cumsum(x, 1))
        assert (layer.op, layer.attr("target")) == ("unknown", "aten.cumsum.default")
        assert (layer.inputs, layer.out_shape) == (("x",), SHAPE)

    # how torch keeps the weights of an LSTM is its own affair
    @pytest.mark.filterwarnings("ignore:The tensor attributes self.lstm._flat_weights")
    def test_operator_holds_its_parameters(self):
        found = workload(Apply(lambda m, x: m.lstm(x)[0], lstm=nn.LSTM(8, 5)), (7, 2, 8))
        (layer,) = found.unknown
        assert layer.params == found.params == counted_params(nn.LSTM(8, 5))
        assert layer.out_shape == (7, 2, 5)

    def test_operator_separates_layers_as_any_other(self):
        net = Apply(
            lambda m, x: m.b(torch.cumsum(m.a(x), 1)), a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(4, 4, 1)
        )
        assert workload(net).mac_readers("a") == ("b",)
