from __future__ import annotations

import numpy as np
import pytest
from fidelity_spaces import space

from hwflow.errors import HwflowError
from hwflow.fidelity import changes, sampled
from hwflow.space import Choice, Space
from hwflow.testing.toy import toy_workload


def test_uniform_plans_come_first_and_none_twice() -> None:
    plans = sampled(space(), 60)
    assert plans[:3] == space().uniform()
    assert len(plans) == len(set(plans)) == 60


def test_plans_follow_the_seed_alone() -> None:
    assert sampled(space(), 30, seed=1) == sampled(space(), 30, seed=1)
    assert sampled(space(), 30, seed=1) != sampled(space(), 30, seed=2)


def test_small_spaces_are_taken_whole() -> None:
    assert len(sampled(space(), 10**6)) == space().size


def test_too_little_to_compare_is_refused() -> None:
    with pytest.raises(HwflowError, match="1 plans cannot be compared"):
        sampled(space(), 1)
    with pytest.raises(HwflowError, match="one plan only"):
        sampled(Space(toy_workload()), 10)


def test_change_runs_from_nothing_to_everything() -> None:
    one = space()
    least, most = (
        one.plan({c.name: 8 for c in one.choices}),
        one.plan({c.name: 2 for c in one.choices}),
    )
    half = one.plan({c.name: 4 for c in one.choices})
    assert changes(one, [least, half, most]).tolist() == [0, 0.5, 1]


class Part:
    kind = "quantize"
    choices = (
        Choice("ordered", (1, 2, 3, 4), default=1),
        Choice("names", ("a", "b", "c"), default=0, ordered=False),
    )


def test_names_are_all_equally_far_and_steps_count_from_the_default() -> None:
    odd = Space(toy_workload(), (Part(),))  # type: ignore[arg-type]
    found = changes(odd, [(1, 0), (3, 0), (0, 0), (1, 1), (1, 2)])
    assert np.allclose(found, [0, 0.5, 0.25, 0.5, 0.5])
