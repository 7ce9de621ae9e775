"""Dimensions of convolutions, products and pools from shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.extract import geometry
from hwflow.workload import Layer

PLAIN = {"dilation": (1,), "before": (0,), "after": (0,), "groups": 1}


def layer(fields: geometry.Fields, in_shape: tuple[int, ...], out: tuple[int, ...]) -> Layer:
    fields.setdefault("in_shapes", (in_shape,))
    return Layer(name="l", inputs=("x",), out_shape=out, **fields)


class TestConvolution:
    def test_over_an_image(self):
        made = geometry.convolution(
            (2, 6, 10, 12), (8, 3, 3, 5), (2, 8, 4, 5), stride=(2, 3), dilation=(1, 2),
            before=(0, 1), after=(1, 2), groups=2,
        )  # fmt: skip
        assert made == {
            "op": "conv", "groups": 2, "in_shapes": ((2, 6, 10, 12),), "batch": 2, "in_channels": 6,
            "out_channels": 8, "out_size": (4, 5), "kernel": (3, 5), "stride": (2, 3),
            "dilation": (1, 2), "padding": (0, 1, 1, 2), "attrs": (),
        }  # fmt: skip

    def test_over_a_line_is_an_image_of_one_row(self):
        made = geometry.convolution(
            (1, 4, 20), (8, 4, 5), (1, 8, 8), stride=(2,), **PLAIN | {"before": (1,)}
        )
        assert made["in_shapes"] == ((1, 4, 1, 20),)
        assert (made["kernel"], made["stride"], made["out_size"]) == ((1, 5), (1, 2), (1, 8))
        assert made["padding"] == (0, 1, 0, 0)
        line = layer(made, (1, 4, 20), (1, 8, 8))
        assert line.macs == 8 * 4 * 5 * 8
        assert line.in_elements == (4 * 18,)  # the last two of 20 are not touched

    def test_over_a_volume_has_the_macs_of_its_planes(self):
        made = geometry.convolution(
            (2, 3, 8, 10, 12), (4, 3, 3, 5, 5), (2, 4, 6, 6, 8), stride=(1,), **PLAIN
        )
        volume = layer(made, (2, 3, 8, 10, 12), (2, 4, 6, 6, 8))
        assert volume.macs == 2 * 4 * 3 * (3 * 5 * 5) * (6 * 6 * 8)
        assert volume.weights == 4 * 3 * 3 * 5 * 5
        assert volume.attr("depth") == 3

    def test_transposed(self):
        made = geometry.convolution(
            (1, 6, 5, 5), (6, 4, 2, 2), (1, 8, 10, 10), stride=(2,), transposed=True,
            **PLAIN | {"groups": 2},
        )  # fmt: skip
        up = layer(made, (1, 6, 5, 5), (1, 8, 10, 10))
        assert (up.op, up.in_channels, up.out_channels) == ("conv_transpose", 6, 8)
        assert up.macs == 6 * 4 * 2 * 2 * 25
        assert up.weights == 6 * 4 * 2 * 2

    def test_transposed_over_a_volume(self):
        made = geometry.convolution(
            (1, 3, 2, 5, 5), (3, 4, 2, 3, 3), (1, 4, 3, 7, 7), stride=(1,), transposed=True, **PLAIN
        )
        up = layer(made, (1, 3, 2, 5, 5), (1, 4, 3, 7, 7))
        assert up.macs == 3 * 4 * (2 * 3 * 3) * (2 * 5 * 5)

    def test_without_a_batch_has_one_of_one(self):
        made = geometry.convolution((3, 8, 8), (4, 3, 1, 1), (4, 8, 8), stride=(1,), **PLAIN)
        assert made["batch"] == 1
        assert made["in_shapes"] == ((1, 3, 8, 8),)


@pytest.mark.parametrize(
    ("kernel", "dilation", "expected"),
    [((3,), (1,), ((1,), (1,))), ((4,), (1,), ((1,), (2,))), ((3, 2), (2,), ((2, 1), (2, 1)))],
)
def test_same_padding_puts_the_odd_zero_at_the_end(kernel, dilation, expected):
    assert geometry.same_padding(kernel, dilation) == expected


def test_same_padding_may_put_the_odd_zero_first():
    assert geometry.same_padding((4,), (1,), extra_before=True) == ((2,), (1,))


class TestProduct:
    def test_of_two_tensors_is_a_grouped_matmul(self):
        made = geometry.product(*geometry.matmul((2, 3, 5, 7), (2, 3, 7, 11)))
        matmul = layer(made, (2, 3, 5, 7), (2, 3, 5, 11))
        assert (matmul.op, matmul.groups, matmul.batch) == ("matmul", 6, 1)
        assert matmul.macs == 6 * 5 * 7 * 11
        assert matmul.weights == 6 * 7 * 11

    def test_with_a_constant_on_the_right_is_linear(self):
        made = geometry.product(*geometry.matmul((2, 5, 7), (7, 11)), constant=1, batch=2)
        linear = layer(made, (2, 5, 7), (2, 5, 11))
        assert (linear.op, linear.in_channels, linear.out_channels) == ("linear", 7, 11)
        assert (linear.batch, linear.out_size) == (2, (5, 1))
        assert linear.macs == 2 * 5 * 7 * 11

    def test_with_a_constant_on_the_left_counts_columns_as_tokens(self):
        made = geometry.product(*geometry.matmul((11, 7), (7, 5)), constant=0)
        assert (made["out_channels"], made["out_size"]) == (11, (5, 1))

    def test_with_a_constant_per_set_is_a_grouped_linear(self):
        made = geometry.product(
            *geometry.matmul((3, 5, 7), (3, 7, 11)), constant=1, constant_sets=3
        )
        linear = layer(made, (3, 5, 7), (3, 5, 11))
        assert (linear.groups, linear.weights) == (3, 3 * 7 * 11)
        assert linear.macs == 3 * 5 * 7 * 11

    @pytest.mark.parametrize(
        ("left", "right"),
        [((7,), (7, 11)), ((5, 7), (7,)), ((7,), (7,)), ((4, 1, 5, 7), (3, 7, 2))],
    )
    def test_follows_numpy(self, left, right):
        sets, rows, _, columns = geometry.matmul(left, right)
        assert sets * rows * columns == np.size(np.matmul(np.ones(left), np.ones(right)))

    def test_of_tokens_that_do_not_divide_by_the_batch_is_one_image(self):
        made = geometry.linear(8, 4, tokens=5, batch=2)
        assert (made["batch"], made["out_size"]) == (1, (5, 1))


class TestEinsum:
    @pytest.mark.parametrize(
        ("equation", "left", "right"),
        [
            ("bhqd,bhkd->bhqk", (2, 3, 5, 7), (2, 3, 11, 7)),
            ("bqhd,bkhd->bhqk", (2, 5, 3, 7), (2, 11, 3, 7)),
            ("ij,jk->ik", (5, 7), (7, 11)),
            ("...ij,...jk->...ik", (2, 3, 5, 7), (2, 3, 7, 11)),
            ("i,i->", (5,), (5,)),
            ("i, j -> ij", (5,), (7,)),
            ("nchw,kc->nkhw", (2, 3, 4, 4), (5, 3)),
        ],
    )
    def test_has_the_products_of_its_loops(self, equation, left, right):
        sets, rows, depth, columns = geometry.einsum(equation, left, right)
        size = dict(zip(equation.replace(" ", "").replace("...", "BH"), "", strict=False))
        letters = dict(zip(_letters(equation, 0), left, strict=True))
        letters |= dict(zip(_letters(equation, 1), right, strict=True))
        assert sets * rows * depth * columns == int(np.prod(list((letters | size).values())))

    @pytest.mark.parametrize(
        ("equation", "left", "right"),
        [
            ("ii,ij->j", (5, 5), (5, 7)),
            ("ijk,jl->il", (5, 7, 2), (7, 3)),
            ("ij,jk", (5, 7), (7, 11)),
            ("ij,jk->ik", (5, 7, 3), (7, 11)),
        ],
        ids=["diagonal", "sum over one side", "implicit", "wrong rank"],
    )
    def test_that_is_no_product_is_none(self, equation, left, right):
        assert geometry.einsum(equation, left, right) is None


def _letters(equation: str, side: int) -> str:
    return equation.replace(" ", "").replace("...", "BH").split("->")[0].split(",")[side]


class TestPool:
    def test_fills_in_one_number_for_all_axes(self):
        made = geometry.pool((1, 4, 9, 9), (1, 4, 4, 4), (3,), (2,), (1,), (0,))
        assert (made["kernel"], made["stride"], made["out_size"]) == ((3, 3), (2, 2), (4, 4))

    def test_may_pad_its_ends_differently(self):
        made = geometry.pool((1, 4, 8, 8), (1, 4, 4, 4), (3, 3), (2, 2), (1,), (0, 0), (1, 1))
        assert made["padding"] == (0, 0, 1, 1)

    @given(size=st.integers(1, 40), out=st.integers(1, 40))
    def test_to_a_size_covers_the_input(self, size: int, out: int):
        out = min(size, out)
        made = geometry.adaptive_pool((1, 2, size, size), (1, 2, out, out), 2)
        reach = (out - 1) * made["stride"][0] + made["kernel"][0]
        assert reach == size
        assert made["kernel"][0] >= made["stride"][0]
