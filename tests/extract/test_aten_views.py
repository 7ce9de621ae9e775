"""Torch operators that only address their input differently, or put inputs together."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from extract_nets import Apply, single, workload
from torch import nn

from hwflow.workload import Layer

SHAPE = (1, 6, 4, 8)


def view(function, shape: tuple[int, ...] = SHAPE) -> Layer:  # type: ignore[no-untyped-def]
    """Return the single layer a function of one tensor is."""
    return single(Apply(lambda _, x: function(x)), shape)


def ops(function, shape: tuple[int, ...] = SHAPE) -> list[str]:  # type: ignore[no-untyped-def]
    return [layer.op for layer in workload(Apply(lambda _, x: function(x)), shape)]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flatten(1), lambda x: x.view(1, 6, 32), lambda x: x.reshape(6, -1),
        lambda x: x.squeeze(0), lambda x: x.unsqueeze(2), lambda x: x.unflatten(1, (2, 3)),
    ],
)  # fmt: skip
def test_reshapes_keep_the_order_of_elements(function):
    layer = view(function)
    assert layer.op == "reshape"
    assert layer.out_shape == tuple(function(torch.zeros(SHAPE)).shape)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.reshape(SHAPE), lambda x: x.squeeze(1), lambda x: x.permute(0, 1, 2, 3),
        lambda x: x[:, :], lambda x: x.expand(1, 6, 4, 8), lambda x: F.pad(x, (0, 0, 0, 0)),
        lambda x: x.narrow(1, 0, 6),
    ],
)  # fmt: skip
def test_views_of_everything_vanish(function):
    assert ops(lambda x: torch.relu(function(x))) == ["act"]


@pytest.mark.parametrize(
    ("function", "dims"),
    [
        (lambda x: x.permute(0, 2, -1, 1), (0, 2, 3, 1)),
        (lambda x: x.transpose(1, -1), (0, 3, 2, 1)),
        (lambda x: x.swapaxes(1, 2), (0, 2, 1, 3)),
        (lambda x: x.movedim(1, -1), (0, 2, 3, 1)),
        (lambda x: x.movedim((0, 1), (-1, -2)), (2, 3, 1, 0)),
        (lambda x: x.mT, (0, 1, 3, 2)),
    ],
)
def test_permutations_say_where_each_axis_comes_from(function, dims):
    layer = view(function)
    assert (layer.op, layer.attr("dims")) == ("permute", dims)
    assert layer.out_shape == tuple(SHAPE[axis] for axis in dims)


def test_transpose_of_a_matrix():
    assert view(lambda x: x.t(), (3, 5)).attr("dims") == (1, 0)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x[:, 1:4], (1, 1, 4, 1)),
        (lambda x: x[:, -2:], (1, 4, 6, 1)),
        (lambda x: x[:, :100:2], (1, 0, 6, 2)),
        (lambda x: x.narrow(1, 2, 3), (1, 2, 5, 1)),
        (lambda x: x[:, 3], (1, 3, 4, 1)),
        (lambda x: x.select(-1, -1), (3, 7, 8, 1)),
        (lambda x: x.chunk(2, 1)[1], (1, 3, 6, 1)),
        (lambda x: x.split(4, 1)[1], (1, 4, 6, 1)),
        (lambda x: x.split((1, 2, 3), 1)[-1], (1, 3, 6, 1)),
        (lambda x: x.unbind(2)[1], (2, 1, 2, 1)),
        (lambda x: x.tensor_split(3, 3)[0], (3, 0, 3, 1)),
    ],
)
def test_slices_say_what_they_take(function, expected):
    layer = view(function)
    assert layer.op == "slice"
    assert tuple(layer.attr(key) for key in ("dim", "start", "stop", "step")) == expected
    assert layer.out_shape == tuple(function(torch.zeros(SHAPE)).shape)


def test_slices_of_several_axes_follow_one_another():
    assert ops(lambda x: x[:, :, ::2, ::2]) == ["slice", "slice"]


def test_all_pieces_of_a_split_read_the_same_tensor():
    found = workload(Apply(lambda _, x: torch.cat(x.chunk(3, 1)[::-1], 1)), SHAPE)
    assert [layer.op for layer in found] == ["slice", "slice", "slice", "concat"]
    assert {layer.inputs for layer in found.layers[:3]} == {("x",)}


@pytest.mark.parametrize(
    "function",
    [lambda x, i: x[:, i], lambda x, i: torch.index_select(x, 1, i)],
    ids=["brackets", "index_select"],
)
def test_rows_picked_by_a_constant_are_a_slice(function):
    net = Apply(lambda m, x: function(x, m.rows))
    net.register_buffer("rows", torch.tensor([2, 0, 1]))
    layer = single(net, SHAPE)
    assert (layer.op, layer.attr("dim"), layer.attr("start")) == ("slice", 1, None)


def test_rows_picked_by_the_input_are_unknown():
    net = Apply(lambda _, x: x[x.argmax(0)])
    assert workload(net, (4, 5)).unknown[0].attr("target") == "aten.index.Tensor"


@pytest.mark.parametrize(
    ("function", "mode", "value", "before", "after"),
    [
        (lambda x: F.pad(x, (1, 2)), "constant", 0, (0, 0, 0, 1), (0, 0, 0, 2)),
        (lambda x: F.pad(x, (0, 0, 0, 0, 3, 3)), "constant", 0, (0, 3, 0, 0), (0, 3, 0, 0)),
        (lambda x: F.pad(x, (1, 1), value=2.0), "constant", 2.0, (0, 0, 0, 1), (0, 0, 0, 1)),
        (lambda x: F.pad(x, (1, 2, 3, 2), "reflect"), "reflect", 0, (0, 0, 3, 1), (0, 0, 2, 2)),
        (lambda x: F.pad(x, (1, 2, 3, 2), "replicate"), "replicate", 0, (0, 0, 3, 1), (0, 0, 2, 2)),
    ],
)  # fmt: skip
def test_pads_say_what_they_add(function, mode, value, before, after):
    layer = view(function)
    assert (layer.op, layer.attr("mode"), layer.attr("value")) == ("pad", mode, value)
    assert (layer.attr("before"), layer.attr("after")) == (before, after)


def test_zero_padding_module_folds_onto_the_convolution():
    layer = single(nn.Sequential(nn.ZeroPad2d((1, 2, 3, 4)), nn.Conv2d(3, 4, 3, padding=1)))
    assert layer.padding == (4, 2, 5, 3)
    assert layer.inputs == ("input",)


def test_reflecting_convolution_pads_first():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"))
    found = workload(net)
    assert [(layer.name, layer.op) for layer in found] == [("0.pad", "pad"), ("0", "conv")]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.expand(5, 6, 4, 8), lambda x: x.repeat(1, 2, 1, 1), lambda x: x.tile(2),
        lambda x: x.repeat_interleave(2, 1), lambda x: x.broadcast_to(2, 6, 4, 8),
    ],
)  # fmt: skip
def test_expansions(function):
    assert view(function).op == "expand"


def test_roll_says_how_far():
    layer = view(lambda x: torch.roll(x, (1, -2), (2, 3)))
    assert (layer.op, layer.attr("shifts"), layer.attr("dims")) == ("roll", (1, -2), (2, 3))


def test_flip_is_a_roll():
    assert view(lambda x: x.flip(3)).attr("flip") == (3,)


class TestConcat:
    def test_says_where_each_part_begins(self):
        layer = workload(Apply(lambda _, x: torch.cat([x, x[:, :2], x], 1)), SHAPE).layers[-1]
        assert (layer.op, layer.attr("dim"), layer.attr("offsets")) == ("concat", 1, (0, 6, 8))

    def test_of_one_part_vanishes(self):
        assert ops(lambda x: torch.cat([x], 1).relu()) == ["act"]

    def test_leaves_constants_out(self):
        net = Apply(
            lambda m, x: torch.cat([m.token.expand(len(x), -1, -1), x], 1),
            token=nn.Parameter(torch.zeros(1, 1, 8)),
        )
        found = workload(net, (2, 5, 8))
        (layer,) = found.layers
        assert (layer.inputs, layer.attr("offsets")) == (("x",), (1,))
        assert found.loose_params == 8

    def test_stack_gives_each_part_an_axis_first(self):
        found = workload(Apply(lambda _, x: torch.stack([x, x], 1)), SHAPE)
        assert [layer.op for layer in found] == ["reshape", "reshape", "concat"]
        assert found.layers[-1].attr("offsets") == (0, 1)


@pytest.mark.parametrize(
    ("module", "turned"),
    [
        (nn.PixelShuffle(2), (1, 2, 4, 2, 8, 2)),
        (nn.PixelUnshuffle(2), (1, 8, 2, 2, 2, 4)),
        (nn.ChannelShuffle(2), (1, 4, 2, 4, 8)),
    ],
)
def test_shuffles_are_reshape_permute_reshape(module: nn.Module, turned: tuple[int, ...]):
    shape = (1, 8, 4, 8)
    found = workload(nn.Sequential(module), shape)
    assert [layer.op for layer in found] == ["reshape", "permute", "reshape"]
    assert found.layers[1].out_shape == turned
    # the description computes what the module computes
    x = torch.arange(256.0).reshape(shape)
    split, permute, last = found.layers
    rebuilt = x.reshape(split.out_shape).permute(permute.attr("dims")).reshape(last.out_shape)
    assert torch.equal(rebuilt, module(x))


def test_gated_linear_unit_is_one_half_times_the_sigmoid_of_the_other():
    found = workload(Apply(lambda _, x: F.glu(x, 1)), SHAPE)
    assert [layer.op for layer in found] == ["slice", "slice", "act", "mul"]
    assert [layer.attr("start") for layer in found.layers[:2]] == [0, 3]


class TestWritingIntoPart:
    def test_is_what_lies_around_and_the_new_part(self):
        def net(_: nn.Module, x: torch.Tensor) -> torch.Tensor:
            y = x.clone()
            y[:, 2:4] = x[:, :2]
            return y

        found = workload(Apply(net), SHAPE)
        assert not found.unknown
        concat = found.layers[-1]
        assert (concat.op, concat.attr("offsets")) == ("concat", (0, 2, 4))

    def test_of_the_first_rows_has_nothing_before(self):
        def net(_: nn.Module, x: torch.Tensor) -> torch.Tensor:
            y = x.clone()
            y[:, :2] += 1
            return y

        concat = workload(Apply(net), SHAPE).layers[-1]
        assert (concat.op, concat.attr("offsets")) == ("concat", (0, 2))

    def test_in_steps_is_unknown_but_kept(self):
        def net(_: nn.Module, x: torch.Tensor) -> torch.Tensor:
            y = x.clone()
            y[:, ::2] += 1
            return y

        assert workload(Apply(net), SHAPE).unknown[0].attr("target") == "aten.slice_scatter.default"

    def test_into_a_constant_reads_only_what_is_written(self):
        def net(_: nn.Module, x: torch.Tensor) -> torch.Tensor:
            y = torch.zeros(1, 10, 4, 8)
            y[:, 2:8] = x
            return y

        concat = workload(Apply(net), SHAPE).layers[-1]
        assert (concat.op, concat.inputs, concat.attr("offsets")) == ("concat", ("x",), (2,))
