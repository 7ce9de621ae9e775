"""ONNX operators that only address their input differently, or put inputs together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_nets import SHAPE, ints, model, node, ones, read, single

from hwflow.workload import Layer


def slice_attrs(layer: Layer) -> tuple[object, ...]:
    assert layer.op == "slice"
    return tuple(layer.attr(key) for key in ("dim", "start", "stop", "step"))


@pytest.mark.parametrize(
    ("kind", "inputs", "constants", "more", "out"),
    [
        ("Reshape", "x s", {"s": ints(1, -1)}, {}, (1, 256)),
        ("Reshape", "x s", {"s": ints(0, 2, 2, 64)}, {}, (1, 2, 2, 64)),
        ("Flatten", "x", {}, {}, (1, 256)),
        ("Squeeze", "x a", {"a": ints(0)}, {}, (4, 8, 8)),
        ("Unsqueeze", "x a", {"a": ints(1)}, {}, (1, 1, 4, 8, 8)),
    ],
)
def test_reshapes(tmp_path: Path, kind: str, inputs: str, constants, more, out):
    layer = single(tmp_path, kind, inputs, constants, **more)
    assert (layer.op, layer.out_shape) == ("reshape", out)


@pytest.mark.parametrize(
    ("kind", "inputs", "constants", "more"),
    [
        ("Reshape", "x s", {"s": ints(*SHAPE)}, {}), ("Transpose", "x", {}, {"perm": [0, 1, 2, 3]}),
        ("Identity", "x", {}, {}), ("Dropout", "x", {}, {}), ("Cast", "x", {}, {"to": 10}),
        ("Expand", "x s", {"s": ints(1, 1, 1, 1)}, {}), ("Pad", "x p", {"p": ints(*[0] * 8)}, {}),
        ("Slice", "x s e", {"s": ints(0), "e": ints(99)}, {}),
        ("Gather", "x i", {"i": ints(0, 1, 2, 3)}, {"axis": 1}),
        ("Resize", "x - s", {"s": ones(4)}, {}),
    ],
)  # fmt: skip
def test_what_changes_nothing_vanishes(tmp_path: Path, kind: str, inputs: str, constants, more):
    made = model([node(kind, inputs, "z", **more), node("Relu", "z")], constants)
    (layer,) = read(made, tmp_path).layers
    assert (layer.op, layer.inputs) == ("act", ("x",))


@pytest.mark.parametrize(("perm", "dims"), [([0, 2, 3, 1], (0, 2, 3, 1)), (None, (3, 2, 1, 0))])
def test_transpose_says_where_each_axis_comes_from(tmp_path: Path, perm, dims):
    layer = single(tmp_path, "Transpose", **({"perm": perm} if perm else {}))
    assert (layer.op, layer.attr("dims")) == ("permute", dims)


class TestSlice:
    def test_says_what_it_takes(self, tmp_path: Path):
        constants = {"s": ints(-3), "e": ints(99), "a": ints(1), "t": ints(2)}
        layer = single(tmp_path, "Slice", "x s e a t", constants)
        assert slice_attrs(layer) == (1, 1, 4, 2)
        assert layer.out_shape == (1, 2, 8, 8)

    def test_of_several_axes_is_several(self, tmp_path: Path):
        constants = {"s": ints(0, 2), "e": ints(4, 6), "a": ints(2, 3)}
        found = read(model([node("Slice", "x s e a")], constants), tmp_path)
        assert [slice_attrs(layer) for layer in found] == [(2, 0, 4, 1), (3, 2, 6, 1)]
        assert [layer.out_shape for layer in found] == [(1, 4, 4, 8), (1, 4, 4, 4)]

    def test_by_attributes_of_old_files(self, tmp_path: Path):
        layer = single(tmp_path, "Slice", starts=[1], ends=[3], axes=[1], opset=9)
        assert slice_attrs(layer) == (1, 1, 3, 1)

    def test_by_computed_bounds(self, tmp_path: Path):
        nodes = [
            node("Shape", "x", "shape"), node("Gather", "shape one", "size"),
            node("Div", "size two", "half"), node("Slice", "x half size one"),
        ]  # fmt: skip
        found = read(model(nodes, {"one": ints(1), "two": ints(2)}), tmp_path)
        assert slice_attrs(found.layers[0]) == (1, 2, 4, 1)


class TestSplit:
    def test_gives_slices_of_one_tensor(self, tmp_path: Path):
        nodes = [node("Split", "x", "a b", axis=1, num_outputs=2), node("Concat", "b a", axis=1)]
        found = read(model(nodes), tmp_path)
        assert [slice_attrs(layer) for layer in found.layers[:2]] == [(1, 0, 2, 1), (1, 2, 4, 1)]
        first, second = (layer.name for layer in found.layers[:2])
        assert found.layers[2].inputs == (second, first)

    def test_of_given_sizes(self, tmp_path: Path):
        nodes = [node("Split", "x n", "a b", axis=1), node("Relu", "b")]
        found = read(model(nodes, {"n": ints(1, 3)}), tmp_path)
        assert slice_attrs(found.layers[0]) == (1, 1, 4, 1)


class TestGather:
    def test_of_one_row_is_a_slice_that_drops_the_axis(self, tmp_path: Path):
        layer = single(tmp_path, "Gather", "x i", {"i": np.array(-1, dtype=np.int64)}, axis=1)
        assert slice_attrs(layer) == (1, 3, 4, 1)
        assert layer.out_shape == (1, 8, 8)

    def test_of_rows_in_order_is_a_slice(self, tmp_path: Path):
        layer = single(tmp_path, "Gather", "x i", {"i": ints(1, 2)}, axis=1)
        assert slice_attrs(layer) == (1, 1, 3, 1)

    def test_of_rows_out_of_order_lists_them(self, tmp_path: Path):
        layer = single(tmp_path, "Gather", "x i", {"i": ints(2, 0)}, axis=1)
        assert (layer.op, layer.attr("rows")) == ("slice", (2, 0))

    def test_of_a_table_by_the_input_is_unknown(self, tmp_path: Path):
        nodes = [node("Cast", "x", "i", to=7), node("Gather", "table i")]
        found = read(model(nodes, {"table": ones(10, 3)}, shape=(1, 5)), tmp_path)
        assert found.unknown[0].attr("target") == "Gather"
        assert found.unknown[0].params == 30


class TestPad:
    def attrs(self, layer: Layer) -> tuple[object, ...]:
        assert layer.op == "pad"
        return tuple(layer.attr(key) for key in ("mode", "value", "before", "after"))

    def test_says_what_it_adds(self, tmp_path: Path):
        constants = {"p": ints(0, 1, 0, 0, 0, 1, 0, 0), "v": np.array(2, dtype=np.float32)}
        layer = single(tmp_path, "Pad", "x p v", constants)
        assert self.attrs(layer) == ("constant", 2.0, (0, 1, 0, 0), (0, 1, 0, 0))

    def test_of_some_axes(self, tmp_path: Path):
        constants = {"p": ints(1, 2), "a": ints(3)}
        layer = single(tmp_path, "Pad", "x p - a", constants, mode="reflect")
        assert self.attrs(layer) == ("reflect", 0, (0, 0, 0, 1), (0, 0, 0, 2))

    def test_by_attributes_of_old_files(self, tmp_path: Path):
        layer = single(tmp_path, "Pad", pads=[0, 0, 1, 1, 0, 0, 1, 1], value=1.0, opset=9)
        assert self.attrs(layer) == ("constant", 1.0, (0, 0, 1, 1), (0, 0, 1, 1))


class TestConcat:
    def test_says_where_each_part_begins(self, tmp_path: Path):
        layer = single(tmp_path, "Concat", "x x", axis=-3)
        assert (layer.op, layer.attr("dim"), layer.attr("offsets")) == ("concat", 1, (0, 4))

    def test_of_one_part_vanishes(self, tmp_path: Path):
        made = model([node("Concat", "x", "z", axis=1), node("Relu", "z")])
        assert [layer.op for layer in read(made, tmp_path)] == ["act"]

    def test_leaves_constants_out_and_counts_them_loose(self, tmp_path: Path):
        made = model([node("Concat", "token x", axis=1)], {"token": ones(1, 2, 8, 8)})
        found = read(made, tmp_path)
        assert (found.layers[0].inputs, found.layers[0].attr("offsets")) == (("x",), (2,))
        assert found.loose_params == 128


@pytest.mark.parametrize(
    ("kind", "more", "reference"),
    [
        ("DepthToSpace", {"blocksize": 2}, "DCR"),
        ("DepthToSpace", {"blocksize": 2, "mode": "CRD"}, "CRD"),
        ("SpaceToDepth", {"blocksize": 2}, "SD"),
    ],
)
def test_depth_and_space_are_reshape_permute_reshape(
    tmp_path: Path, kind: str, more: dict[str, Any], reference: str
):
    from onnx.reference import ReferenceEvaluator

    made = model([node(kind, "x", **more)])
    split, permute, last = read(made, tmp_path).layers
    x = np.arange(256, dtype=np.float32).reshape(SHAPE)
    (expected,) = ReferenceEvaluator(made).run(None, {"x": x})
    turned = x.reshape(split.out_shape).transpose(permute.attr("dims"))  # type: ignore[arg-type]
    np.testing.assert_array_equal(turned.reshape(last.out_shape), expected)


@pytest.mark.parametrize(
    ("kind", "constants"), [("Expand", {"s": ints(3, 4, 8, 8)}), ("Tile", {"s": ints(1, 2, 1, 1)})]
)
def test_expansions(tmp_path: Path, kind: str, constants):
    assert single(tmp_path, kind, "x s", constants).op == "expand"


@pytest.mark.parametrize(
    ("kind", "inputs"), [("Slice", "x i i"), ("Pad", "x i")], ids=["slice", "pad"]
)
def test_bounds_that_depend_on_the_input_are_unknown(tmp_path: Path, kind: str, inputs: str):
    nodes = [
        node("ReduceSum", "x", "sum", keepdims=0), node("Cast", "sum", "c", to=7),
        node("Unsqueeze", "c zero", "i"), node(kind, inputs),
    ]  # fmt: skip
    made = model(nodes, {"zero": ints(0)}, shape=(6,))
    from onnx import TensorProto, helper

    made.graph.value_info.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, (6,)))
    assert kind in {layer.attr("target") for layer in read(made, tmp_path).unknown}
