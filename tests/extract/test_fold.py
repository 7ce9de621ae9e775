"""Folding on hand-made nodes: what goes onto its producer and what does not."""

from __future__ import annotations

from typing import Any

import pytest
from fold_nodes import SHAPE, ZERO_PAD, conv, folded, names, node

from hwflow.extract.nodes import BATCH_NORM, BIAS, IDENTITY, QUANTIZE, Label, Node


class TestBatchNorm:
    def test_goes_onto_the_convolution_that_it_alone_reads(self):
        result = folded(conv("c", "x"), node("b", BATCH_NORM, "c"))
        assert names(result) == ["c"]
        assert result.workload["c"].norm == "batch"
        assert result.values["c"] == "b"

    def test_stays_when_somebody_else_reads_the_convolution(self):
        result = folded(conv("c", "x"), node("b", BATCH_NORM, "c"), node("s", "add", "b", "c"))
        assert [layer.op for layer in result.workload] == ["conv", "norm", "add"]

    def test_stays_when_the_convolution_leaves_the_network(self):
        result = folded(conv("c", "x"), node("b", BATCH_NORM, "c"), outputs=("c", "b"))
        assert result.workload["c"].norm is None

    @pytest.mark.parametrize("where", ["conv", "norm"])
    def test_stays_when_either_side_may_not_fold(self, where: str):
        nodes = (
            conv("c", "x", foldable=where != "conv"),
            node("b", BATCH_NORM, "c", foldable=where != "norm"),
        )
        assert [layer.op for layer in folded(*nodes).workload] == ["conv", "norm"]

    def test_stays_after_an_activation(self):
        result = folded(
            conv("c", "x"), node("r", "act", "c", act=("relu",)), node("b", BATCH_NORM, "r")
        )
        assert [layer.op for layer in result.workload] == ["conv", "norm"]

    def test_stays_after_another_norm(self):
        result = folded(conv("c", "x"), node("b", BATCH_NORM, "c"), node("d", BATCH_NORM, "b"))
        assert [layer.op for layer in result.workload] == ["conv", "norm"]

    def test_stays_after_what_has_no_weight(self):
        result = folded(node("p", "max_pool", "x"), node("b", BATCH_NORM, "p"))
        assert [layer.op for layer in result.workload] == ["max_pool", "norm"]

    def test_stays_where_it_normalises_tokens_and_not_features(self):
        shape = (1, 5, 4)
        linear = node(
            "l", "linear", "x", label=Label(weight="l"), in_channels=8, out_channels=4,
            out_size=(5, 1), out_shape=shape,
        )  # fmt: skip
        result = folded(linear, node("b", BATCH_NORM, "l", in_shapes=(shape,), out_shape=shape))
        assert result.workload["l"].norm is None

    def test_brings_its_parameters(self):
        result = folded(
            conv("c", "x", params=("c.w",)), node("b", BATCH_NORM, "c", params=("b.w", "b.b")),
            sizes={"c.w": 100, "b.w": 4, "b.b": 4, "head": 7},
        )  # fmt: skip
        assert result.workload["c"].params == 108
        assert result.workload.loose_params == 7


class TestActivation:
    @pytest.mark.parametrize("op", ["conv", "add", "norm", "avg_pool", "concat", "max_pool", "mul"])
    def test_goes_onto_whatever_computes(self, op: str):
        result = folded(node("a", op, "x"), node("r", "act", "a", act=("relu",)))
        assert [(layer.op, layer.act) for layer in result.workload] == [(op, ("relu",))]

    @pytest.mark.parametrize("op", ["reshape", "permute", "slice", "unknown"])
    def test_does_not_go_onto_views_and_unknowns(self, op: str):
        result = folded(node("v", op, "x"), node("r", "act", "v", act=("relu",)))
        assert [layer.op for layer in result.workload] == [op, "act"]

    def test_does_not_go_onto_the_input(self):
        result = folded(node("r", "act", "x", act=("relu",)))
        assert result.workload.layers[0].op == "act"

    def test_several_fold_in_order(self):
        result = folded(
            conv("c", "x"), node("s", "act", "c", act=("shift",)),
            node("r", "act", "s", act=("relu6",)), node("m", "act", "r", act=("scale",)),
        )  # fmt: skip
        assert result.workload["c"].act == ("shift", "relu6", "scale")
        assert result.values["c"] == "m"

    def test_stays_when_somebody_else_reads_its_input(self):
        result = folded(
            conv("c", "x"), node("r", "act", "c", act=("relu",)), node("s", "add", "r", "c")
        )
        assert [layer.op for layer in result.workload] == ["conv", "act", "add"]

    def test_that_changes_the_shape_stays(self):
        result = folded(
            conv("c", "x"), node("r", "act", "c", act=("where",), out_shape=(2, *SHAPE))
        )
        assert [layer.op for layer in result.workload] == ["conv", "act"]

    def test_brings_its_parameters(self):
        result = folded(
            conv("c", "x", params=("w",)), node("p", "act", "c", act=("prelu",), params=("slope",)),
            sizes={"w": 10, "slope": 4},
        )  # fmt: skip
        assert result.workload["c"].params == 14


class TestGate:
    """x * sigmoid(x) is one activation."""

    @pytest.mark.parametrize(("gate", "act"), [("sigmoid", "silu"), ("hardsigmoid", "hardswish")])
    @pytest.mark.parametrize("order", [("c", "s"), ("s", "c")])
    def test_is_recognised_and_folds(self, gate: str, act: str, order: tuple[str, str]):
        result = folded(
            conv("c", "x"), node("s", "act", "c", act=(gate,)), node("m", "mul", *order)
        )
        assert [(layer.name, layer.act) for layer in result.workload] == [("c", (act,))]
        assert result.values["c"] == "m"

    def test_stands_alone_when_others_read_its_input(self):
        result = folded(
            conv("c", "x"), node("s", "act", "c", act=("sigmoid",)), node("m", "mul", "c", "s"),
            node("a", "add", "m", "c"),
        )  # fmt: skip
        assert [(layer.op, layer.act) for layer in result.workload] == [
            ("conv", ()), ("act", ("silu",)), ("add", ()),
        ]  # fmt: skip
        assert result.workload.layers[1].inputs == ("c",)

    def test_of_another_tensor_is_a_product(self):
        result = folded(
            conv("c", "x"), conv("d", "x"), node("s", "act", "d", act=("sigmoid",)),
            node("m", "mul", "c", "s"),
        )  # fmt: skip
        assert [(layer.op, layer.act) for layer in result.workload] == [
            ("conv", ()), ("conv", ("sigmoid",)), ("mul", ()),
        ]  # fmt: skip

    def test_whose_sigmoid_is_read_again_is_a_product(self):
        result = folded(
            conv("c", "x"), node("s", "act", "c", act=("sigmoid",)), node("m", "mul", "c", "s"),
            node("a", "add", "m", "s"),
        )  # fmt: skip
        assert [layer.op for layer in result.workload] == ["conv", "act", "mul", "add"]

    def test_quantised_between_is_a_product(self):
        result = folded(
            conv("c", "x"), node("s", "act", "c", act=("sigmoid",)),
            node("q", QUANTIZE, "s", bits=8), node("m", "mul", "c", "q"),
        )  # fmt: skip
        assert [layer.op for layer in result.workload] == ["conv", "act", "mul"]

    def test_square_is_a_product(self):
        result = folded(conv("c", "x"), node("m", "mul", "c", "c"))
        assert result.workload.layers[1].inputs == ("c", "c")


class TestPadding:
    def pad(self, **changes: Any) -> Node:
        attrs = tuple((dict(ZERO_PAD) | changes).items())
        return node("p", "pad", "x", attrs=attrs, out_shape=(1, 4, 12, 14))

    def test_goes_onto_the_convolution_that_alone_reads_it(self):
        result = folded(self.pad(), conv("c", "p", padding=(1, 1, 1, 1)))
        layer = result.workload["c"]
        assert layer.padding == (2, 3, 4, 5)
        assert layer.inputs == ("x",)
        assert layer.in_shapes == (SHAPE,)

    @pytest.mark.parametrize(
        "change",
        [
            {"mode": "reflect"}, {"value": 1.0}, {"before": (0, 2, 1, 1)}, {"after": (0, 0, -1, 0)},
        ],
        ids=["reflecting", "of ones", "of channels", "that crops"],
    )  # fmt: skip
    def test_of_another_kind_stays(self, change: dict[str, Any]):
        result = folded(self.pad(**change), conv("c", "p"))
        assert [layer.op for layer in result.workload] == ["pad", "conv"]

    def test_that_two_read_stays(self):
        result = folded(
            self.pad(), conv("c", "p"), conv("d", "p"), node("a", "add", "c", "d")
        )  # fmt: skip
        assert [layer.op for layer in result.workload] == ["pad", "conv", "conv", "add"]

    def test_before_pooling_stays(self):
        result = folded(self.pad(), node("m", "max_pool", "p"))
        assert [layer.op for layer in result.workload] == ["pad", "max_pool"]

    def test_that_is_quantised_stays(self):
        result = folded(self.pad(), node("q", QUANTIZE, "p", bits=4), conv("c", "q"))
        assert [layer.op for layer in result.workload] == ["pad", "conv"]


class TestBias:
    def added(self, shape: tuple[int, ...]) -> Node:
        label = Label(suffix="add")
        return node("b", BIAS, "c", attrs=(("constant", shape),), label=label, params=("bias",))

    @pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1)])
    def test_with_one_value_per_channel_is_the_layers(self, shape: tuple[int, ...]):
        result = folded(conv("c", "x"), self.added(shape), sizes={"bias": 4})
        assert result.workload["c"].bias
        assert result.workload["c"].params == 4

    @pytest.mark.parametrize("shape", [(4,), (8,), (1, 4, 8, 8), (1, 1, 1, 8), (2, 1, 4, 1, 1)])
    def test_of_another_shape_is_an_addition(self, shape: tuple[int, ...]):
        result = folded(conv("c", "x"), self.added(shape), sizes={"bias": 4})
        assert names(result) == ["c", "add"]
        assert result.workload.loose_params == 4

    def test_of_features_goes_onto_a_linear_layer(self):
        shape = (1, 5, 4)
        linear = node(
            "c", "linear", "x", label=Label(suffix="linear"), in_channels=8, out_channels=4,
            out_size=(5, 1), out_shape=shape,
        )  # fmt: skip
        label = Label(weight="attention.qkv", suffix="add")
        bias = node("b", BIAS, "c", attrs=(("constant", (4,)),), label=label, out_shape=shape)
        result = folded(linear, bias)
        assert names(result) == ["attention.qkv"]
        assert result.workload.layers[0].bias

    def test_second_is_an_addition(self):
        result = folded(conv("c", "x", bias=True), self.added((4, 1, 1)), sizes={"bias": 4})
        assert names(result) == ["c", "add"]

    def test_outside_the_module_keeps_a_norm_from_folding(self):
        result = folded(
            conv("c", "x"), self.added((4, 1, 1)), node("n", BATCH_NORM, "b"), sizes={"bias": 4}
        )
        assert [layer.op for layer in result.workload] == ["conv", "norm"]


class TestIdentities:
    def test_vanish(self):
        result = folded(
            conv("c", "x"), node("i", IDENTITY, "c"), node("j", IDENTITY, "i"),
            node("r", "act", "j", act=("relu",)),
        )  # fmt: skip
        assert names(result) == ["c"]
        assert result.workload["c"].act == ("relu",)

    def test_count_as_what_they_pass_on(self):
        result = folded(
            conv("c", "x"), node("i", IDENTITY, "c"), node("r", "act", "i", act=("relu",)),
            node("a", "add", "r", "c"),
        )  # fmt: skip
        assert [layer.op for layer in result.workload] == ["conv", "act", "add"]

    def test_of_the_input_may_leave_the_network(self):
        result = folded(conv("c", "x"), node("i", IDENTITY, "x"), outputs=("c", "i"))
        assert result.workload.outputs == ("c", "x")

    def test_after_a_quantiser_lead_to_what_was_quantised(self):
        result = folded(
            conv("c", "x"), node("q", QUANTIZE, "c", bits=4), node("i", IDENTITY, "q"),
            conv("d", "i"),
        )  # fmt: skip
        assert result.workload["d"].inputs == ("c",)
        assert result.workload["d"].input_bits == (4,)
