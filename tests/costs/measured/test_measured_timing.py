from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured_fakes import Ticks

from hwflow.costs.measured.timing import Repetitions, Sample, interleaved, speedup
from hwflow.errors import HwflowError


def test_a_disturbance_in_some_rounds_does_not_move_the_median():
    ticks, calls = Ticks(), iter(range(1000))

    def disturbed():
        ticks.now += 5.0 if next(calls) % 4 == 3 else 1.0

    found = interleaved({"a": disturbed}, Repetitions(rounds=15, turn_s=0, warmup=0), ticks)
    assert found["a"].quartiles("cpu")[1] == pytest.approx(1.0)
    assert found["a"].cpu_s.max() == pytest.approx(5.0)


def test_entries_take_turns_in_every_round():
    ticks, order = Ticks(), []

    def entry(name):
        def run():
            order.append(name)
            ticks.now += 1.0

        return run

    interleaved({n: entry(n) for n in "abc"}, Repetitions(rounds=3, turn_s=0, warmup=0), ticks)
    assert "".join(order[3:]) == "abc" + "cba" + "abc"


def test_a_turn_has_as_many_runs_as_fit_into_its_time():
    ticks = Ticks()

    def run():
        ticks.now += 1e-4

    found = interleaved({"a": run}, Repetitions(rounds=3, turn_s=1e-3), ticks)
    assert found["a"].runs == 10
    assert found["a"].quartiles("cpu")[1] == pytest.approx(1e-4)
    assert found["a"].quartiles("wall")[1] == pytest.approx(2e-4)


def test_spread_is_the_interquartile_range_over_the_median():
    sample = Sample(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.ones(5), 1)
    assert sample.quartiles("cpu") == (2.0, 3.0, 4.0)
    assert sample.spread("cpu") == pytest.approx(2 / 3)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.2, 5), st.integers(0, 2**16))
def test_the_interval_of_a_speedup_holds_its_value(ratio, seed):
    after = np.random.default_rng(seed).uniform(0.9, 1.1, 21)
    found = speedup((ratio * after).tolist(), after.tolist())
    assert found.low <= found.value <= found.high
    assert found.value == pytest.approx(ratio)


@pytest.mark.parametrize("fields", [{"rounds": 2}, {"warmup": -1}, {"most": 0}, {"turn_s": -1.0}])
def test_repetitions_that_cannot_be_are_refused(fields):
    with pytest.raises(HwflowError, match="at least 3 rounds"):
        Repetitions(**fields)
