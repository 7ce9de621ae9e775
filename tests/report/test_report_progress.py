from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.front import Front, Trial
from hwflow.report.progress import STEPS, progress

OBJECTIVES = ("accuracy", "energy_j")


def trials(*points: tuple[float, float]) -> list[Trial]:
    return [Trial(i, (i,), {"energy_j": e}, a) for i, (a, e) in enumerate(points)]


def test_covered_share_of_the_box_by_hand() -> None:
    found = progress(trials((0.0, 0.0), (1.0, 1.0), (0.5, 0.5)), OBJECTIVES)
    assert found == [(1, 0.0), (2, 0.0), (3, pytest.approx(0.25))]


def test_best_of_everything_covers_the_whole_box() -> None:
    assert progress(trials((0.1, 9.0), (0.9, 1.0)), OBJECTIVES)[-1] == (2, pytest.approx(1.0))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 10)), max_size=30))
def test_curve_never_falls_and_stays_within_the_box(points: list[tuple[float, float]]) -> None:
    values = [value for _, value in progress(trials(*points), OBJECTIVES)]
    assert all(after >= before - 1e-9 for before, after in pairwise(values))
    assert all(0 <= value <= 1 + 1e-9 for value in values)


def test_end_of_the_curve_is_the_hypervolume_of_the_front() -> None:
    made = trials((0.2, 1.0), (0.5, 3.0), (0.4, 4.0), (0.9, 9.0), (0.6, 2.5))
    front = Front.of(made, OBJECTIVES)
    assert progress(made, OBJECTIVES)[-1][1] == pytest.approx(front.hypervolume(), abs=1e-6)


def test_objectives_that_never_change_are_left_out() -> None:
    made = trials((0.2, 1.0), (0.4, 1.0), (0.3, 1.0))
    assert progress(made, OBJECTIVES) == [(1, 0.0), (2, 1.0), (3, 1.0)]
    assert progress(trials((0.2, 1.0), (0.2, 1.0)), OBJECTIVES) == []


def test_values_that_are_not_finite_gain_nothing() -> None:
    made = trials((0.0, 0.0), (float("nan"), 0.1), (0.5, float("inf")), (1.0, 1.0), (0.5, 0.5))
    assert [value for _, value in progress(made, OBJECTIVES)] == pytest.approx([0, 0, 0, 0, 0.25])


def test_nothing_evaluated_has_no_curve() -> None:
    assert progress([], OBJECTIVES) == []
    assert progress(trials((float("nan"), 1.0)), OBJECTIVES) == []


def test_long_searches_are_thinned_out_but_end_at_the_end() -> None:
    made = trials(*((i % 97 / 97, 1 + i % 89) for i in range(5 * STEPS)))
    found = progress(made, OBJECTIVES)
    assert len(found) == STEPS
    assert found[0][0] == 1
    assert found[-1][0] == len(made)
