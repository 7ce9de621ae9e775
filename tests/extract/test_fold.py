"""Folding on hand-made nodes: what goes onto its producer, what does not, names and bits."""

from __future__ import annotations

from typing import Any

import pytest

from hwflow.errors import WorkloadError
from hwflow.extract.fold import Folded, fold
from hwflow.extract.nodes import BATCH_NORM, BIAS, IDENTITY, QUANTIZE, Graph, Label, Node
from hwflow.workload import Input, Layer

SHAPE = (1, 4, 8, 8)
ZERO_PAD = (
    ("mode", "constant"), ("value", 0), ("before", (0, 0, 1, 2)), ("after", (0, 0, 3, 4)),
)  # fmt: skip


def node(
    value: str, op: str, *inputs: str, label: Label | None = None, params: tuple[str, ...] = (),
    bits: int | None = None, foldable: bool = True, weight: str = "", **fields: Any,
) -> Node:  # fmt: skip
    """Return a node whose tensors all have one shape, unless said otherwise."""
    fields.setdefault("in_shapes", (SHAPE,) * len(inputs))
    fields.setdefault("out_shape", SHAPE)
    layer = Layer(name="", op=op, inputs=inputs, **fields)
    return Node(value, layer, label or Label(suffix=op), params, weight, bits, foldable)


def conv(value: str, source: str, **fields: Any) -> Node:
    label = fields.pop("label", Label(weight=value))
    return node(
        value, "conv", source, label=label, in_channels=4, out_channels=4, out_size=(8, 8),
        kernel=(3, 3), **fields,
    )  # fmt: skip


def folded(*nodes: Node, outputs: tuple[str, ...] = (), **more: Any) -> Folded:
    """Fold nodes over the one input "x"; the last one leaves the network."""
    leaving = outputs or (nodes[-1].value,)
    return fold(Graph("net", {"x": Input("x", SHAPE)}, nodes, leaving, **more))


def names(result: Folded) -> list[str]:
    return [layer.name for layer in result.workload]


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


class TestBits:
    def test_of_a_quantiser_are_those_of_the_tensor(self):
        result = folded(conv("c", "x"), node("q", QUANTIZE, "c", bits=3), conv("d", "q"))
        assert result.workload["c"].output_bits == 3
        assert result.workload["d"].input_bits == (3,)
        assert names(result) == ["c", "d"]

    def test_of_the_input(self):
        result = folded(node("q", QUANTIZE, "x", bits=8), conv("c", "q"))
        assert result.workload.inputs[0].bits == 8
        assert result.workload["c"].input_bits == (8,)

    def test_close_a_layer_for_folding(self):
        result = folded(
            conv("c", "x"), node("q", QUANTIZE, "c", bits=3), node("r", "act", "q", act=("relu",))
        )
        assert [layer.op for layer in result.workload] == ["conv", "act"]

    def test_are_the_widest_where_a_tensor_has_two_quantisers(self):
        result = folded(
            conv("c", "x"), node("q", QUANTIZE, "c", bits=3), node("p", QUANTIZE, "c", bits=5),
            node("a", "add", "q", "p"),
        )  # fmt: skip
        assert result.workload["c"].output_bits == 5

    @pytest.mark.parametrize("op", ["reshape", "permute", "slice", "pad", "max_pool"])
    def test_pass_through_what_only_moves_values(self, op: str):
        result = folded(node("q", QUANTIZE, "x", bits=6), node("v", op, "q"), conv("c", "v"))
        assert result.workload["c"].input_bits == (6,)

    def test_of_a_concatenation_are_the_widest(self):
        result = folded(
            conv("c", "x"), node("q", QUANTIZE, "c", bits=3), conv("d", "x"),
            node("p", QUANTIZE, "d", bits=5), node("j", "concat", "q", "p"),
        )  # fmt: skip
        assert result.workload.layers[-1].output_bits == 5

    def test_do_not_pass_through_arithmetic(self):
        result = folded(node("q", QUANTIZE, "x", bits=6), node("a", "avg_pool", "q"))
        assert result.workload.layers[0].output_bits == 32

    def test_of_a_folded_activation_do_not_pass(self):
        result = folded(
            node("q", QUANTIZE, "x", bits=6), node("m", "max_pool", "q"),
            node("r", "act", "m", act=("relu",)),
        )  # fmt: skip
        assert result.workload.layers[0].output_bits == 32

    def test_of_a_products_second_operand_are_its_weight_bits(self):
        result = folded(
            conv("c", "x"), node("q", QUANTIZE, "c", bits=3), node("m", "matmul", "x", "q")
        )
        assert result.workload.layers[-1].weight_bits == 3

    def test_noted_beside_the_graph_win(self):
        result = folded(
            node("q", QUANTIZE, "x", bits=8), conv("c", "q"), node("v", "reshape", "c"),
            tensor_bits={"x": 4, "c": 2}, weight_bits={"c": 1},
        )  # fmt: skip
        assert result.workload.inputs[0].bits == 4
        assert result.workload["c"].weight_bits == 1
        assert result.workload.layers[-1].output_bits == 2


class TestNames:
    def test_come_from_the_weight_first(self):
        label = Label("layer1.conv", "layer1.conv", True, "conv")
        assert names(folded(conv("c", "x", label=label))) == ["layer1.conv"]

    def test_come_from_a_leaf_module(self):
        label = Label("", "stem.pool", True, "max_pool")
        assert names(folded(node("p", "max_pool", "x", label=label))) == ["stem.pool"]

    def test_come_from_the_enclosing_module_and_the_operator(self):
        label = Label("", "layer1.0", False, "add")
        assert names(folded(node("a", "add", "x", "x", label=label))) == ["layer1.0.add"]

    def test_at_the_root_are_the_operator(self):
        assert names(folded(node("a", "add", "x", "x"))) == ["add"]

    def test_repeated_are_numbered_in_order(self):
        nodes = [node(f"a{i}", "add", f"a{i - 1}" if i else "x", "x") for i in range(3)]
        assert names(folded(*nodes)) == ["add", "add#2", "add#3"]

    def test_of_a_weight_are_not_taken_by_another_operator_of_its_module(self):
        pad = node(
            "p", "pad", "x", label=Label("", "conv", True, "pad"), attrs=(("mode", "reflect"),)
        )
        result = folded(pad, conv("c", "p", label=Label("conv", "conv", True, "conv")))
        assert names(result) == ["conv.pad", "conv"]

    def test_do_not_collide_with_the_input(self):
        assert names(folded(node("a", "add", "x", "x", label=Label("", "x", True, "add")))) == [
            "x#2"
        ]

    def test_of_the_products_of_attention(self):
        label = Label("", "attn", False, "matmul")
        result = folded(
            node("k", "permute", "x"), node("m", "matmul", "x", "k", label=label),
            node("s", "act", "m", act=("scale",)), node("w", "softmax", "s"),
            node("v", "matmul", "w", "x", label=label), node("u", "matmul", "v", "x", label=label),
        )  # fmt: skip
        assert [n for n in names(result) if n.startswith("attn")] == [
            "attn.qk", "attn.av", "attn.matmul",
        ]  # fmt: skip


class TestGraph:
    def test_leaves_out_what_no_output_needs(self):
        result = folded(conv("c", "x"), conv("dead", "c"), outputs=("c",))
        assert names(result) == ["c"]

    def test_what_is_left_out_does_not_keep_others_from_folding(self):
        result = folded(
            conv("c", "x"), conv("dead", "c"), node("r", "act", "c", act=("relu",)), outputs=("r",)
        )
        assert result.workload["c"].act == ("relu",)

    def test_counts_shared_parameters_once(self):
        result = folded(
            conv("c", "x", params=("w",)), conv("d", "c", params=("w",)), sizes={"w": 144}
        )
        assert (result.workload["c"].params, result.workload["d"].params) == (144, 0)
        assert result.workload.params == 144

    def test_names_the_constant_weight_of_multiplying_layers_only(self):
        result = folded(
            conv("c", "x", weight="w"), node("n", "norm", "c", weight="g"),
            node("a", "add", "n", "c"),
        )  # fmt: skip
        assert result.weights == {"c": "w"}

    def test_maps_tensors_to_their_values(self):
        result = folded(
            conv("c", "x"), node("r", "act", "c", act=("relu",)), node("p", "max_pool", "r")
        )
        assert result.values == {"x": "x", "c": "r", "max_pool": "p"}

    def test_that_contradicts_itself_is_refused(self):
        with pytest.raises(WorkloadError, match="cannot be divided into 3 groups"):
            folded(conv("c", "x", groups=3))
