import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hwflow.coupling.units import Lane, Units

pairs = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=15)


def joined(links):
    units = Units()
    ids = units.fresh(10)
    for a, b in links:
        units.join(ids[[a]], ids[[b]])
    return units


def reachable(links, start):
    found, grown = {start}, True
    while grown:
        more = {b for a, b in links if a in found} | {a for a, b in links if b in found}
        grown = not more <= found
        found |= more
    return found


@given(links=pairs)
def test_joined_numbers_stand_for_one_unit_and_the_least_stands_for_them(links):
    units = joined(links)
    for number in range(10):
        assert units.find(number) == min(reachable(links, number))


@given(links=pairs, fixed=st.integers(0, 9), first=st.booleans())
def test_what_is_fixed_stays_whether_it_was_joined_before_or_after(links, fixed, first):
    units = Units()
    ids = units.fresh(10)
    if first:
        units.fix(ids[[fixed]], "because")
    for a, b in links:
        units.join(ids[[a]], ids[[b]])
    if not first:
        units.fix(ids[[fixed]], "because")
    for number in range(10):
        expected = "because" if number in reachable(links, fixed) else None
        assert units.why(units.find(number)) == expected


def test_the_first_reason_stands():
    units = Units()
    ids = units.fresh(2)
    units.fix(ids, "first")
    units.fix(ids, "second")
    assert units.why(0) == "first"


def test_fresh_numbers_are_new():
    units = Units()
    assert units.fresh(2).tolist() + units.fresh(2).tolist() == [0, 1, 2, 3]
    assert units.roots(np.array([3, 0])).tolist() == [3, 0]


def test_a_lane_moves_to_another_axis_with_its_channels():
    lane = Lane(1, np.arange(3))
    moved = lane.on(2)
    assert (len(moved), moved.axis, moved.ids.tolist()) == (3, 2, [0, 1, 2])
