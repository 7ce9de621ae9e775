"""Learning rates over the steps."""

import pytest

from hwflow.errors import HwflowError
from hwflow.train.schedule import check_schedule, share_of_peak


def test_the_cosine_is_above_the_line_first_and_below_it_last():
    line = [share_of_peak(step, 100, 0.1) for step in range(100)]
    wave = [share_of_peak(step, 100, 0.1, "cosine") for step in range(100)]
    assert wave[:10] == line[:10]
    assert wave[20] > line[20]
    assert wave[90] < line[90]
    assert wave[54] == pytest.approx(line[54], abs=0.02)  # the middle of the fall
    assert 0 < wave[99] < 0.001
    assert max(wave) == 1.0


def test_one_step_is_made_at_the_peak():
    assert share_of_peak(0, 1, 0.1, "cosine") == pytest.approx(1.0)


def test_an_unknown_schedule_is_answered_with_those_there_are():
    with pytest.raises(HwflowError, match=r"cosin.*linear, cosine|cosine"):
        check_schedule(0.1, 0.1, "cosin")
