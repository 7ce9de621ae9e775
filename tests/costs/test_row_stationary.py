"""The closed form of row-stationary passes, and the layer as the array sees it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from row_stationary_by_hand import conv

from hwflow.costs.chip import Passes, Shape, row_stationary_cycles
from hwflow.costs.chip.passes import PassesError
from hwflow.errors import MachineError, WorkloadError
from hwflow.workload import Layer


@pytest.mark.parametrize(
    ("channels", "filters", "out", "kernel", "stride", "cycles"),
    [
        (3, 48, 55, 11, 4, 5_575_680),
        (48, 128, 27, 5, 1, 13_271_040),
        (256, 192, 13, 3, 1, 6_230_016),
        (192, 192, 13, 3, 1, 4_672_512),
        (192, 128, 13, 3, 1, 3_115_008),
    ],
)
def test_cycles_of_an_alexnet_tower_are_those_of_nn_dataflow(
    channels: int, filters: int, out: int, kernel: int, stride: int, cycles: int
) -> None:
    layer = conv(16, filters, channels, out, kernel, stride)
    assert row_stationary_cycles(layer, 16, 16) == cycles


def test_a_kernel_taller_than_the_array_is_folded() -> None:
    short, tall = conv(kernel=4, out=2), conv(kernel=5, out=2)
    assert row_stationary_cycles(short, 4, 2) == 4 * 2
    assert row_stationary_cycles(tall, 4, 2) == 2 * 5 * 2


def test_replicas_share_channels_or_filters_whichever_is_faster() -> None:
    channels = conv(channels=4, filters=1, kernel=3, out=4)
    filters = conv(channels=1, filters=4, kernel=3, out=4)
    assert row_stationary_cycles(channels, 12, 4) == row_stationary_cycles(filters, 12, 4) == 3 * 4


def test_groups_run_one_after_the_other() -> None:
    one, four = conv(filters=8, channels=4, out=5, kernel=3), conv(1, 32, 16, 5, 3, groups=4)
    assert row_stationary_cycles(four, 6, 5) == 4 * row_stationary_cycles(one, 6, 5)


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(1, 7),
    st.integers(1, 16), st.integers(1, 16),
)  # fmt: skip
def test_no_array_beats_all_its_pes_working_in_every_cycle(
    filters: int, channels: int, out: int, kernel: int, rows: int, cols: int
) -> None:
    layer = conv(2, filters, channels, out, kernel)
    assert row_stationary_cycles(layer, rows, cols) * rows * cols >= layer.macs


def test_an_array_without_pes_is_refused() -> None:
    with pytest.raises(MachineError, match="0 x 4 PEs"):
        row_stationary_cycles(conv(), 0, 4)


def test_a_layer_without_macs_is_refused_by_name() -> None:
    add = Layer("sum", "add", ("a", "b"), ((1, 2), (1, 2)), (1, 2))
    with pytest.raises(WorkloadError, match=r"'sum' \(add\)"):
        row_stationary_cycles(add, 4, 4)


def test_shape_counts_halo_padding_and_what_is_really_read() -> None:
    shape = Shape.of(conv(4, 8, 4, 13, 3, pad=1, groups=2))
    assert (shape.groups, shape.filters, shape.channels) == (2, 4, 2)
    assert (shape.width, shape.in_rows, shape.in_cols) == (15, 13, 13)
    assert [shape.strip_rows(rows) for rows in (1, 5, 13)] == [3, 7, 15]


def test_shape_of_a_strided_pointwise_layer_skips_the_rows_between() -> None:
    shape = Shape.of(conv(out=4, stride=2, size=8))
    assert (shape.width, shape.in_rows, shape.strip_rows(3)) == (4, 4, 3)


def test_shape_of_a_dilated_layer_reads_the_whole_span() -> None:
    shape = Shape.of(conv(out=4, kernel=3, dilation=2))
    assert (shape.width, shape.strip_rows(1), shape.kernel_rows) == (8, 5, 3)


def test_shape_of_a_transposed_layer_reads_zeros_between_the_rows() -> None:
    layer = conv(out=8, kernel=4, stride=2, pad=1, size=4, op="conv_transpose")
    shape = Shape.of(layer)
    assert (shape.strip_rows(8), shape.width, shape.in_rows, shape.spacing) == (11, 11, 4, 2)
    assert shape.macs == 4 * 4 * 16


def test_shape_of_a_linear_layer_is_a_pointwise_convolution() -> None:
    layer = Layer(
        "fc", "linear", ("x",), ((2, 5, 24),), (2, 5, 10), batch=2, out_channels=10,
        in_channels=24, out_size=(5, 1),
    )  # fmt: skip
    shape = Shape.of(layer)
    assert (shape.out_rows, shape.width, shape.in_rows, shape.strip_rows(5)) == (5, 1, 5, 5)


def test_passes_are_read_from_text_and_from_names() -> None:
    wanted = Passes(m=64, n=4, e=13, p=16, q=3, r=2, t=2)
    assert Passes.read("64,4,13,16,3,2,2") == wanted
    assert Passes.read("64 4 13 16 3 2 2") == wanted
    assert Passes.read(wanted.as_dict()) == wanted
    assert Passes.read(str(wanted)) == wanted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("64,4,13", "has 3 numbers: write the seven of m,n,e,p,q,r,t"),
        ("64,4,13,16,3,2,x", "'x' is no whole number"),
        ("64,4,13,16,3,2,0", "parameter t is 0"),
        ({"m": 1, "n": 1}, "missing or unknown: e, p, q, r, t"),
        ({**Passes(1, 1, 1, 1, 1, 1, 1).as_dict(), "z": 1}, "missing or unknown: z"),
        ({**Passes(1, 1, 1, 1, 1, 1, 1).as_dict(), "q": True}, "parameter q is True"),
    ],
)
def test_unreadable_passes_say_what_is_wrong(given: Any, message: str) -> None:
    with pytest.raises(PassesError, match=message):
        Passes.read(given)
