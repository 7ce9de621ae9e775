"""The front kept up to date one trial at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.front import Front, Trial
from hwflow.loop.progress import Standing

OBJECTIVES = ("accuracy", "energy_j", "latency_s")
VALUES = st.integers(1, 6).map(lambda n: n / 7)


def trials(rows: list[tuple[float, float, float]]) -> list[Trial]:
    return [
        Trial(i, (i,), {"energy_j": energy, "latency_s": latency}, quality)
        for i, (quality, energy, latency) in enumerate(rows)
    ]


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=20), st.integers(0, 20))
def test_one_by_one_is_the_same_as_all_at_once(
    rows: list[tuple[float, float, float]], known: int
) -> None:
    all_of_them = trials(rows)
    standing = Standing(OBJECTIVES, all_of_them[:known])
    for trial in all_of_them[known:]:
        standing.add(trial)
    front = Front.of(all_of_them, OBJECTIVES)
    assert standing.hypervolume() == pytest.approx(front.hypervolume())
    assert standing.best == max((t.value("accuracy") for t in all_of_them), default=None)


def test_infeasible_trials_count_for_nothing() -> None:
    standing = Standing(OBJECTIVES, [])
    standing.add(Trial(-1, (0,), {"energy_j": 1.0, "latency_s": 1.0}, None))
    assert standing.best is None
    assert standing.hypervolume() == 0
