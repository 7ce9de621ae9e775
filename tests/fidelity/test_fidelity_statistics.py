from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from hwflow.fidelity.statistics import Recall, excess, front_of, recall, regret, spearman, spread

VALUES = st.integers(1, 6).map(float)
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=25)


@given(PAIRS)
def test_rank_correlation_is_scipys_ties_included(pairs: list[tuple[float, float]]) -> None:
    first, second = np.array(pairs).T
    found = spearman(first, second)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        assert found is None
    else:
        assert found == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)


def test_rank_correlation_looks_at_order_only() -> None:
    first = np.array([1.0, 2.0, 3.0, 10.0])
    assert spearman(first, np.exp(first)) == pytest.approx(1)
    assert spearman(first, -first) == pytest.approx(-1)
    assert spearman(np.ones(4), first) is None


def test_spread_is_of_the_largest_group_of_nearly_equal_stand_ins() -> None:
    stand_in = np.array([100.0, 100.5, 100.9, 200.0, 300.0])
    values = np.array([1.0, 2.0, 3.0, 50.0, 60.0])
    found = spread(values, stand_in)
    assert found.plans == 3
    low, high = np.percentile([1.0, 2.0, 3.0], (5, 95))
    assert found.ratio == pytest.approx(high / low)


def test_spread_does_not_depend_on_the_order_of_the_plans() -> None:
    rng = np.random.default_rng(0)
    stand_in, values = rng.uniform(1, 2, 300), rng.uniform(1, 2, 300)
    order = rng.permutation(300)
    assert spread(values, stand_in) == spread(values[order], stand_in[order])


def test_spread_of_what_follows_its_stand_in_is_small() -> None:
    stand_in = np.geomspace(1, 100, 1000)
    assert 1 <= spread(stand_in, stand_in).ratio < 1.02
    assert spread(np.geomspace(1, 2, 1000), np.ones(1000)).ratio == pytest.approx(2**0.9, rel=1e-3)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=20))
def test_front_holds_exactly_the_rows_that_no_other_beats(rows: list[tuple[float, float]]) -> None:
    points = np.array(rows)
    for index, on in enumerate(front_of(points)):
        beaten = [
            bool((other <= points[index]).all() and (other < points[index]).any())
            for other in points
        ]
        assert on == (not any(beaten))


def test_recall_counts_the_front_that_is_kept() -> None:
    fine = np.array([[0, 3], [1, 2], [2, 1], [3, 3]], float)
    assert recall(fine, fine) == Recall(3, 3)
    swapped = np.array([[0, 3], [1, 4], [2, 1], [3, 3]], float)
    assert recall(fine, swapped) == Recall(2, 3)
    assert recall(fine, swapped).share == pytest.approx(2 / 3)


def test_regret_is_what_trusting_the_stand_in_costs() -> None:
    values, stand_in = np.array([10.0, 12.0, 8.0]), np.array([1.0, 2.0, 3.0])
    everything = np.ones(3, bool)
    assert regret(values, stand_in, everything) == pytest.approx(10 / 8 - 1)
    assert regret(values, values, everything) == 0
    assert regret(values, stand_in, np.array([True, True, False])) == 0


def test_regret_of_a_stand_in_that_cannot_choose_is_the_mean() -> None:
    values = np.array([10.0, 12.0, 8.0])
    assert regret(values, np.ones(3), np.ones(3, bool)) == pytest.approx(10 / 8 - 1)


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=20))
def test_excess_is_what_is_lost_along_the_front(rows: list[tuple[float, float, float]]) -> None:
    change, values, stand_in = np.array(rows).T
    true, kept = (front_of(np.stack([change, x], axis=1)) for x in (values, stand_in))
    lost = [
        min(values[k] for k in np.flatnonzero(kept) if change[k] <= change[m]) / values[m]
        for m in np.flatnonzero(true)
    ]
    assert excess(change, values, stand_in) == pytest.approx(np.mean(lost) - 1, abs=1e-12)
    assert excess(change, values, stand_in) >= -1e-12
    assert excess(change, values, values) == pytest.approx(0, abs=1e-12)


def test_excess_of_one_plan_missed() -> None:
    change, values = np.array([0.0, 1.0, 2.0]), np.array([9.0, 6.0, 3.0])
    assert excess(change, values, np.array([5.0, 7.0, 4.0])) == pytest.approx(0.5 / 3)
