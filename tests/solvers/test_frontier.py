"""The frontier against brute force and against the exact program."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwflow.errors import HwflowError, InfeasibleError
from hwflow.solvers.frontier import frontier
from hwflow.solvers.program import Joint, OneOfEach


def drawn(seed: int, sites: int, options: int) -> OneOfEach:
    rng = np.random.default_rng(seed)
    size = rng.lognormal(0, 0.5, (sites, 1))
    share = rng.beta(2, 2, (sites, options))
    loss = (1 - share) ** 2 * rng.lognormal(0, 0.6, (sites, options))
    return OneOfEach(loss.tolist(), {"latency_s": (size * share).tolist()})


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5), st.sampled_from([64, 4096]))
def test_it_is_no_worse_than_the_best_for_a_budget_smaller_by_the_resolution(
    seed: int, sites: int, options: int, cells: int
) -> None:
    program = drawn(seed, sites, options)
    found = frontier(program, cells=cells)
    choices = [
        (program.cost_of(c, "latency_s"), program.score_of(c))
        for c in product(range(options), repeat=sites)
    ]
    for budget in np.linspace(found.costs[0], found.costs[-1] + found.resolution, 9):
        answer = found.at(float(budget))
        assert answer.costs["latency_s"] <= budget
        assert answer.costs["latency_s"] == pytest.approx(
            program.cost_of(answer.options, "latency_s")
        )
        assert answer.score == pytest.approx(program.score_of(answer.options))
        reach = [score for cost, score in choices if cost <= budget - found.resolution]
        assert answer.score <= min(reach, default=np.inf) + 1e-9
    assert found.costs[0] == pytest.approx(min(cost for cost, _ in choices))
    assert found.scores[-1] == pytest.approx(min(score for _, score in choices))


def test_each_budget_is_within_a_thousandth_of_the_exact_program() -> None:
    program = drawn(0, 20, 40)
    found = frontier(program)
    assert len(found) > 1000
    for budget in np.linspace(found.costs[0] * 1.05, found.costs[-1] * 0.95, 8).tolist():
        exact = program.within(latency_s=budget).solve()
        assert exact.score <= found.at(budget).score * (1 + 1e-9)
        assert found.at(budget).score <= exact.score * 1.001


def test_costs_rise_and_scores_fall_along_it() -> None:
    found = frontier(drawn(1, 6, 8))
    assert (np.diff(found.costs) > 0).all()
    assert (np.diff(found.scores) < 0).all()


def test_a_budget_below_the_least_is_refused_with_it() -> None:
    found = frontier(OneOfEach([[0, 1]], {"c": [[4, 2]]}))
    assert found.at(3).options == (1,)
    with pytest.raises(InfeasibleError, match="the least is 2"):
        found.at(1.9)


def test_one_option_per_site_makes_one_point() -> None:
    found = frontier(OneOfEach([[1.0], [2.0]], {"c": [[3.0], [4.0]]}))
    assert (found.costs.tolist(), found.scores.tolist()) == ([7.0], [3.0])


def test_joint_costs_and_unknown_names_are_refused() -> None:
    joint = Joint((0, 1), {"c": np.zeros((1, 1))})
    with pytest.raises(HwflowError, match="not a joint one"):
        frontier(OneOfEach([[1.0], [2.0]], {"c": [[3.0], [4.0]]}, joint=(joint,)))
    with pytest.raises(HwflowError, match="Costs: c"):
        frontier(OneOfEach([[1.0]], {"c": [[3.0]]}), "d")
