"""The front: what is on it, how large it is, and which trial a wish picks."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from toy import BitPart, chain

from hwflow.errors import HwflowError, InfeasibleError
from hwflow.front import Front, Trial, covered, non_dominated
from hwflow.network import Network
from hwflow.space import Space

OBJECTIVES = ("accuracy", "energy_j", "latency_s")


def trial(number: int, accuracy: float | None, energy: float, latency: float) -> Trial:
    total = {"energy_j": energy, "latency_s": latency, "macs": 100.0}
    return Trial(number, (number,), total, accuracy)


def front_of(*rows: tuple[float | None, float, float]) -> Front:
    return Front.of([trial(i, *row) for i, row in enumerate(rows)], OBJECTIVES)


FRONT = front_of(
    (0.92, 9e-3, 8e-3), (0.91, 5e-3, 5e-3), (0.85, 2e-3, 4e-3), (0.60, 1e-3, 3.9e-3),
    (0.84, 3e-3, 6e-3), (None, 1e-6, 1e-6),
)  # fmt: skip


def beaten(points: np.ndarray, index: int) -> bool:
    """Whether a row is beaten by another, or equal to an earlier one; straight from the words."""
    mine = points[index]
    return any(
        (all(other <= mine) and any(other < mine)) or (place < index and all(other == mine))
        for place, other in enumerate(points)
    )


@given(arrays(float, st.tuples(st.integers(0, 25), st.integers(1, 4)), elements=st.integers(0, 5)))
def test_non_dominated_is_what_no_other_row_beats(points: np.ndarray) -> None:
    expected = [index for index in range(len(points)) if not beaten(points, index)]
    assert non_dominated(points) == expected


@given(arrays(float, (12, 3), elements=st.floats(-1e9, 1e9)))
def test_non_dominated_of_any_numbers(points: np.ndarray) -> None:
    expected = [index for index in range(len(points)) if not beaten(points, index)]
    assert non_dominated(points) == expected


def test_the_front_is_sorted_by_its_first_cost() -> None:
    assert [t.number for t in FRONT] == [3, 2, 1, 0]
    assert len(FRONT) == 4


def test_the_reference_is_the_worst_of_all_feasible_trials() -> None:
    assert FRONT.reference == {"accuracy": -0.60, "energy_j": 9e-3, "latency_s": 8e-3}


def test_equal_trials_stand_on_the_front_once() -> None:
    assert [t.number for t in front_of((0.9, 1, 1), (0.9, 1, 1))] == [0]


def test_accuracy_alone_gives_one_trial() -> None:
    front = Front.of([trial(0, 0.5, 1, 1), trial(1, 0.9, 2, 2)], ("accuracy",))
    assert [t.number for t in front] == [1]
    assert front.pick("most accurate").number == 1


def test_an_empty_front_says_so() -> None:
    empty = front_of((None, 1, 1))
    assert len(empty) == 0
    assert empty.hypervolume() == 0
    assert empty.points().shape == (0, 3)
    for look in (empty.knee, lambda: empty.pick("knee")):
        with pytest.raises(InfeasibleError, match="front is empty"):
            look()


def test_hypervolume_of_a_case_by_hand() -> None:
    front = Front.of([trial(0, 0.8, 1, 1), trial(1, 0.9, 3, 1)], ("accuracy", "energy_j"))
    reference = {"accuracy": -0.7, "energy_j": 5}
    # box: accuracy 0.7 to 0.9, energy 1 to 5; 1/2 x 1 by the first, 1/2 x 1/2 more by the second
    assert front.hypervolume(reference) == pytest.approx(0.75)


def test_hypervolume_of_one_best_trial_is_the_whole_box() -> None:
    front = front_of((0.9, 1.0, 1.0), (0.5, 2.0, 3.0))
    assert front.hypervolume() == pytest.approx(1)
    assert front_of((0.9, 1.0, 1.0)).hypervolume() == 1


def test_hypervolume_is_none_where_the_reference_is_out_of_reach() -> None:
    assert FRONT.hypervolume({"accuracy": -0.99, "energy_j": 1, "latency_s": 1}) == 0


def test_hypervolume_wants_every_objective() -> None:
    with pytest.raises(HwflowError, match="has no latency_s"):
        FRONT.hypervolume({"accuracy": 0, "energy_j": 1})


def grid_share(points: np.ndarray, worst: np.ndarray, cells: int = 12) -> float:
    """Count the cells of a fine grid over the box that a point dominates."""
    low = points.min(axis=0)
    steps = (np.arange(cells) + 0.5) / cells
    axes = [low[i] + steps * (worst[i] - low[i]) for i in range(len(worst))]
    cell = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, len(worst))
    return float((points[:, None, :] <= cell).all(axis=2).any(axis=0).mean())


@given(
    st.integers(1, 3).flatmap(
        lambda wide: arrays(
            int, st.tuples(st.integers(1, 8), st.just(wide)), elements=st.integers(0, 11)
        )
    )
)
def test_the_covered_share_agrees_with_counting_cells(points: np.ndarray) -> None:
    corners = (points - points.min(axis=0)).astype(float)  # so that grid lines meet the points
    worst = np.full(points.shape[1], 12.0)
    assert covered(corners, worst) == pytest.approx(grid_share(corners, worst), abs=1e-9)


@given(arrays(float, (7, 3), elements=st.floats(-5, 5)))
def test_more_trials_never_cover_less(points: np.ndarray) -> None:
    worst, low = points.max(axis=0) + 1, points.min(axis=0)
    fewer = covered(np.concatenate([points[:3], [low]]), worst)
    more = covered(np.concatenate([points, [low]]), worst)
    assert fewer <= more + 1e-12


def test_an_objective_in_which_all_are_alike_does_not_count() -> None:
    points = np.array([[1.0, 0.0], [1.0, 4.0]])
    assert covered(points, np.array([1.0, 8.0])) == pytest.approx(1)
    above = np.array([[1.0, 4.0], [1.0 + 1e-6, 0.0]])
    assert covered(above, np.array([1.0, 8.0])) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("wish", "number"),
    [
        ("most accurate", 0),
        ("best", 0),
        ("fastest", 3),
        ("least energy", 3),
        ("least latency", 3),
        ("knee", 2),
        ("#2", 2),
        ("latency < 6 ms", 1),
        ("latency<=5ms", 1),
        ("energy < 4 mJ and latency < 4.5 ms", 2),
        ("energy < 6 mJ, fastest", 3),
        ("accuracy > 0.8", 2),
        ("accuracy > 80 %", 2),
        ("accuracy >= 91%, latency < 7 ms", 1),
        ("accuracy > 0.8, fastest", 2),
        ("accuracy > 0.9, least energy", 1),
        ("energy > 4 mJ, knee", 1),
        ("#1, latency < 6 ms", 1),
        ("macs < 200", 0),
    ],
)
def test_wishes(wish: str, number: int) -> None:
    assert FRONT.pick(wish).number == number


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("latency < 1 ms", r"No trial of the front has latency < 1 ms: the best reaches 3\.9 ms"),
        ("accuracy > 95 %", r"has accuracy > 0\.95: the best reaches 0\.92"),
        ("energy < 4 mJ, accuracy > 90 %", "No trial of the front has accuracy"),
        ("#0, latency < 6 ms", "#0 is on the front but"),
    ],
)
def test_a_wish_out_of_reach_says_what_can_be_had(wish: str, said: str) -> None:
    with pytest.raises(InfeasibleError, match=said):
        FRONT.pick(wish)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("", "The wish is empty"),
        (" , ", "The wish is empty"),
        ("cheapest", "Cannot read 'cheapest'"),
        ("latency = 4 ms", "Cannot read 'latency = 4 ms'"),
        ("latncy < 4 ms", "Unknown metric 'latncy'. Did you mean 'latency'"),
        ("latency < 4 mJ", "expected a quantity in s"),
        ("latency < fast", "'fast' is not a quantity"),
        ("knee, fastest", "chooses twice: 'fastest'"),
        ("#17", "Trial #17 is not on the front. On it: #3, #2, #1, #0"),
        ("least area", "The trials have no area. They have accuracy, energy, latency, macs"),
        ("area < 3 mm2", "The trials have no area"),
    ],
)
def test_a_wish_that_cannot_be_read_is_explained(wish: str, said: str) -> None:
    with pytest.raises(HwflowError, match=said):
        FRONT.pick(wish)


def test_ties_go_to_the_better_in_the_other_objectives() -> None:
    same = front_of((0.9, 2.0, 1.0), (0.9, 1.0, 2.0), (0.8, 1.0, 1.0))
    assert same.pick("most accurate").number == 1
    assert same.pick("fastest").number == 0


def test_the_knee_is_nearest_to_the_ideal() -> None:
    front = Front.of(
        [trial(0, 1.0, 10, 1), trial(1, 0.9, 2, 1), trial(2, 0.0, 1, 1)], ("accuracy", "energy_j")
    )
    assert front.knee().number == 1
    assert front_of((0.5, 1, 1)).knee().number == 0


@given(st.lists(st.tuples(*[st.floats(0.01, 1)] * 3), min_size=1, max_size=12))
def test_any_front_has_a_knee_and_holds_what_it_picks(rows: Sequence[tuple[float, ...]]) -> None:
    front = front_of(*rows)  # type: ignore[arg-type]
    assert front.knee() in front.trials
    assert front.pick("fastest").value("latency") == min(t.value("latency") for t in front)
    assert front.pick("most accurate").value("accuracy") == max(row[0] for row in rows)
    assert 0 <= front.hypervolume() <= 1


def test_trials_are_read_by_short_or_full_name() -> None:
    one = trial(0, 0.5, 2e-3, 4e-3)
    assert one.value("energy") == one.value("energy_j") == 2e-3
    assert one.value("accuracy") == 0.5
    assert trial(0, None, 1, 1).value("accuracy") == float("-inf")
    with pytest.raises(HwflowError, match="have no peak"):
        one.value("peak")


def test_a_trial_builds_its_network() -> None:
    workload = chain(1)
    space = Space(workload, (BitPart(("conv0",)),), Network("toy", None, None))  # type: ignore[arg-type]
    one = Trial(0, (0, 2), {}, 0.5, space=space)
    assert one.build().module == ({"conv0": 2}, {"conv0": 8})
    with pytest.raises(HwflowError, match="without its space"):
        Trial(0, (0, 2), {}, 0.5).build()
