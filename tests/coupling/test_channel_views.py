from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.coupling.units import Lane, Units
from hwflow.coupling.views import blocks, broadcast_axis, reshaped

factors = st.lists(st.integers(1, 4), min_size=1, max_size=5)


def test_axes_that_hold_the_same_elements_are_one_block():
    found = list(blocks((1, 8, 4, 4), (1, 2, 4, 16)))
    assert found == [
        (range(0, 1), range(0, 1)),
        (range(1, 2), range(1, 3)),
        (range(2, 4), range(3, 4)),
    ]


@given(shape=factors, cuts=st.lists(st.booleans(), min_size=5, max_size=5))
def test_blocks_cover_both_shapes_in_order_with_equal_sizes(shape, cuts):
    merged: list[int] = []
    for size, cut in zip(shape, cuts, strict=False):
        if cut or not merged:
            merged.append(size)
        else:
            merged[-1] *= size
    found = list(blocks(tuple(shape), tuple(merged)))
    assert [axis for left, _ in found for axis in left] == list(range(len(shape)))
    assert [axis for _, right in found for axis in right] == list(range(len(merged)))
    for left, right in found:
        assert prod(shape[a] for a in left) == prod(merged[a] for a in right)


def lane_after(before, after, axis=1):
    units = Units()
    return units, reshaped(units, Lane(axis, units.fresh(before[axis])), before, after)


def test_flattening_repeats_a_channel_for_each_of_its_elements():
    _, lane = lane_after((1, 3, 2, 2), (1, 12))
    assert (lane.axis, lane.ids.tolist()) == (1, [0] * 4 + [1] * 4 + [2] * 4)


def test_splitting_the_channel_axis_ties_what_shares_a_place_on_the_longer_axis():
    units, lane = lane_after((1, 6, 4, 4), (1, 2, 3, 4, 4))
    assert (lane.axis, len(lane)) == (2, 3)
    assert [units.find(i) for i in range(6)] == [0, 1, 2, 0, 1, 2]


def test_channels_merged_into_the_batch_lie_on_its_axis():
    _, lane = lane_after((1, 4, 3, 3), (4, 1, 3, 3))
    assert lane.axis == 0


@given(channels=st.integers(2, 6), area=st.integers(1, 5))
def test_there_and_back_again_is_where_it_was(channels, area):
    units = Units()
    ids = units.fresh(channels)
    there = reshaped(units, Lane(1, ids), (1, channels, area), (1, channels * area))
    back = reshaped(units, there, (1, channels * area), (1, channels, area))
    assert back.axis == 1
    assert np.array_equal(back.ids, ids)


@pytest.mark.parametrize(("axis", "rank", "out", "expected"), [(1, 4, 4, 1), (0, 3, 4, 1)])
def test_operands_are_aligned_at_their_last_axes(axis, rank, out, expected):
    assert broadcast_axis(axis, rank, out) == expected
