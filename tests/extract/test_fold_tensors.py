"""Folding on hand-made nodes: bits, names, parameters and values of what is left."""

from __future__ import annotations

import pytest
from fold_nodes import conv, folded, names, node

from hwflow.errors import WorkloadError
from hwflow.extract.nodes import QUANTIZE, Label


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
