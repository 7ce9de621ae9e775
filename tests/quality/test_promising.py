"""Which options are worth training: HURRICANE's score, the front, dominance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.errors import HwflowError
from hwflow.quality.promising import OptionCost, faster, promising

KEEP = OptionCost(100, 100, 1.0)


def test_options_as_slow_as_the_teacher_are_dropped():
    costs = {"keep": KEEP, "slow": OptionCost(10, 10, 1.2), "same": OptionCost(10, 10, 1.0)}
    costs["fast"] = OptionCost(10, 10, 0.5)
    assert faster(["keep", "slow", "same", "fast", "unknown"], costs) == ("keep", "fast")


def test_without_the_teachers_latency_all_options_with_costs_are_left():
    assert faster(["a", "b"], {"a": KEEP}) == ("a",)


def test_score_is_weighted_capacity_per_latency():
    # shares of the largest: a (1, 0.1), b (0.5, 1), c (0.4, 0.05)
    costs = {
        "a": OptionCost(100, 1, 0.5),
        "b": OptionCost(50, 10, 0.5),
        "c": OptionCost(40, 0.5, 0.1),
    }
    names = ["a", "b", "c"]
    # scores with alpha = 1, beta = 0: 2, 1, 4; the front is c, a
    assert promising(names, costs, keep=1, alpha=1, beta=0) == ("a", "c")
    assert promising(names, costs, keep=3, alpha=1, beta=0) == ("a", "b", "c")
    # scores with alpha = 0, beta = 1: 0.2, 2, 0.5; the front is c, b
    assert promising(names, costs, keep=1, alpha=0, beta=1) == ("b", "c")


def test_another_machine_keeps_other_options():
    macs = {"dense": 100, "depthwise": 20}
    cpu = {n: OptionCost(m, m, 0.9 if n == "dense" else 0.1) for n, m in macs.items()}
    array = {n: OptionCost(m, m, 0.1 if n == "dense" else 0.9) for n, m in macs.items()}
    cpu["keep"] = array["keep"] = KEEP
    assert promising(["keep", "dense", "depthwise"], array, keep=1) == ("keep", "dense")
    assert "depthwise" in promising(["keep", "dense", "depthwise"], cpu, keep=1)


def test_keep_and_skip_always_stay_and_the_order_is_that_of_the_options():
    costs = {"keep": KEEP, "skip": OptionCost(0, 0, 0.0), "a": OptionCost(1, 1, 0.5)}
    assert promising(["skip", "a", "keep"], costs, keep=0) == ("skip", "a", "keep")


@pytest.mark.parametrize(("keep", "alpha", "beta"), [(-1, 1, 1), (1, -1, 1), (1, 0, 0)])
def test_senseless_weights_are_refused(keep, alpha, beta):
    with pytest.raises(HwflowError, match="0 or more"):
        promising(["keep"], {"keep": KEEP}, keep, alpha=alpha, beta=beta)


def test_costs_that_are_no_numbers_are_refused():
    with pytest.raises(HwflowError, match="finite"):
        OptionCost(1, 1, float("nan"))


figures = st.integers(0, 5)
options = st.lists(st.tuples(figures, figures, st.integers(1, 6)), min_size=1, max_size=9)


@given(options, st.integers(0, 4))
def test_every_dropped_option_is_slower_than_the_teacher_or_beaten(found, keep):
    costs = {f"o{i}": OptionCost(*figures) for i, figures in enumerate(found)}
    costs["keep"] = OptionCost(3, 3, 4.0)
    names = list(costs)
    chosen = promising(names, costs, keep)
    rivals = [n for n in names if n != "keep" and costs[n].latency_s < 4.0]
    macs = max((costs[n].macs for n in rivals), default=0) or 1
    params = max((costs[n].params for n in rivals), default=0) or 1
    capacity = {n: costs[n].macs / macs + costs[n].params / params for n in rivals}

    def beaten(name):
        one = (costs[name].latency_s, -capacity[name])
        others = ((costs[n].latency_s, -capacity[n]) for n in rivals)
        return any(o != one and o[0] <= one[0] and o[1] <= one[1] for o in others)

    assert {n for n in rivals if not beaten(n)} <= set(chosen) <= {*rivals, "keep"}
    assert len(chosen) >= min(keep, len(rivals))
