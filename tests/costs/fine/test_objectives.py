"""Objectives as text: one spelling each, weights that make sense, and searches that honour them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.costs.fine.objectives import EDP, ENERGY, LATENCY, PRODUCT, SUM, goal_of
from hwflow.costs.fine.rates import OperandBits
from hwflow.costs.fine.result import Settings
from hwflow.costs.fine.search import best_mapping
from hwflow.costs.fine.shape import Shape
from hwflow.errors import HwflowError
from hwflow.machine import load_machine

EYERISS = load_machine("eyeriss")
LAYER = Shape((1, 64, 64, 14, 14, 3, 3, 1), padding=(2, 2), touched=(14, 14))
BITS = OperandBits(8, 8, 8)


@pytest.mark.parametrize(
    ("text", "mode", "spelling"),
    [
        ("latency", LATENCY, "latency"),
        ("energy", ENERGY, "energy"),
        ("edp", EDP, "edp"),
        ("energy*latency", EDP, "edp"),
        ("latency^2 * energy", PRODUCT, "energy^1*latency^2"),
        ("0.3*energy + .7*latency", SUM, "0.3*energy+0.7*latency"),
        ("energy^3", ENERGY, "energy"),
        ("0*energy+2*latency", LATENCY, "latency"),
    ],
)
def test_every_objective_has_one_spelling(text: str, mode: int, spelling: str) -> None:
    goal = goal_of(text)
    assert (goal.mode, goal.spelling) == (mode, spelling)
    assert goal_of(spelling) == goal
    assert Settings(text).key() == Settings(spelling).key()


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_values_follow_the_formulas(first: float, second: float) -> None:
    product, mix = (
        goal_of(f"energy^{first!r}*latency^{second!r}"),
        f"{first!r}*energy+{second!r}*latency",
    )
    assert product.value(2.0, 3.0, 1e6) == pytest.approx(2.0**first * 3.0**second)
    assert goal_of(mix).value(2.0, 3.0, 1e6) == pytest.approx(first * 2.0 + second * 3e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("latncy", "latency"),
        ("energy-latency", "powers such as"),
        ("-1*energy+2*latency", "finite numbers from 0 up"),
        ("energy*energy", "names energy twice"),
        ("0*energy+0*latency", "no weight above 0"),
        ("energy^1e999*latency", "finite numbers"),
    ],
)
def test_what_cannot_be_minimised_is_refused(text: str, words: str) -> None:
    with pytest.raises(HwflowError, match=words.replace("^", r"\^")):
        Settings(text)


def test_more_weight_on_latency_never_makes_a_mapping_slower() -> None:
    mixes = ("energy", "energy^2*latency", "edp", "energy*latency^4", "latency")
    found = [best_mapping(EYERISS, LAYER, BITS, Settings(mix)) for mix in mixes]
    cycles, energies = [f.cycles for f in found], [f.energy_j for f in found]
    assert all(b <= a * (1 + 1e-9) for a, b in itertools.pairwise(cycles))
    assert all(b >= a * (1 - 1e-9) for a, b in itertools.pairwise(energies))


def test_a_sum_lies_between_its_extremes() -> None:
    energy, latency = (
        best_mapping(EYERISS, LAYER, BITS, Settings(g)) for g in ("energy", "latency")
    )
    mix = best_mapping(EYERISS, LAYER, BITS, Settings("1*energy+0.1*latency"))
    assert mix.gap == 0
    assert mix.key == pytest.approx(mix.energy_j + 0.1 * mix.cycles / EYERISS.clock_hz)
    for other in (energy, latency):
        assert mix.key <= other.energy_j + 0.1 * other.cycles / EYERISS.clock_hz + 1e-15


def test_a_search_without_time_stops_with_a_valid_bound() -> None:
    free = load_machine("simd-16")
    big = Shape((1, 512, 512, 28, 28, 3, 3, 1), padding=(2, 2), touched=(28, 28))
    proven = best_mapping(free, big, BITS, Settings("latency"))
    hurried = best_mapping(free, big, BITS, Settings("latency", seconds=1e-6))
    assert proven.gap == 0
    assert hurried.bound <= proven.key * (1 + 1e-9)
    assert hurried.key >= proven.key * (1 - 1e-9)
    assert 0 <= hurried.gap < 1


def test_results_under_a_time_limit_are_kept_apart() -> None:
    assert Settings("energy", seconds=2).key() != Settings("energy").key()
    with pytest.raises(HwflowError, match="positive number of seconds"):
        Settings("energy", seconds=0)
