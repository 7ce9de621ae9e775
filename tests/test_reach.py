"""Whether limits can be met: found on paper, and what the error says when not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import toy_problem

from hwflow import reach
from hwflow.cost import Costs, Limits
from hwflow.costs.mid import Mid
from hwflow.edits.prune import prune
from hwflow.edits.quantize import quantize
from hwflow.edits.resize import resize
from hwflow.errors import HwflowError, InfeasibleError
from hwflow.plans import distinct_plans
from hwflow.problem import Problem
from hwflow.reach import excess, feasible_plan, round_up
from hwflow.space import Plan, Space
from hwflow.testing import toy_workload

LEAST_LATENCY = 6.340608e-3
"""Of the toy problem at 2 bits throughout; all costs there add up over layers."""


def meets(problem: Problem, plan: Plan) -> bool:
    totals = problem.totals([plan])
    return not problem.below.broken({name: float(values[0]) for name, values in totals.items()})


def test_without_limits_the_default_plan_will_do() -> None:
    problem = toy_problem()
    assert feasible_plan(problem) == problem.space.default


def test_a_plan_that_just_meets_the_limit_is_found() -> None:
    problem = toy_problem(Limits(latency_s=LEAST_LATENCY * (1 + 1e-9)))
    assert meets(problem, feasible_plan(problem))


@settings(max_examples=15)
@given(st.floats(0.02, 1.2), st.floats(0.02, 1.2))
def test_two_limits_are_met_together_where_any_plan_does(slow: float, hungry: float) -> None:
    totals = toy_problem(length=2).totals(list(distinct_plans(toy_problem(length=2).space)))
    limits = Limits(
        latency_s=slow * totals["latency_s"].max(), energy_j=hungry * totals["energy_j"].max()
    )
    problem = toy_problem(limits, length=2)
    if (excess(problem, totals) <= 0).any():
        assert meets(problem, feasible_plan(problem))
    else:
        with pytest.raises(InfeasibleError):
            feasible_plan(problem)


def message(problem: Problem) -> str:
    with pytest.raises(InfeasibleError) as caught:
        feasible_plan(problem)
    return str(caught.value)


def test_the_error_gives_limit_machine_reach_layer_and_advice() -> None:
    said = message(toy_problem(Limits(latency_s=4e-3)))
    assert said == (
        "No plan meets latency <= 4 ms on eyeriss: the fastest found of 531,441 plans takes "
        "6.34 ms (conv5 alone: 2.21 ms). Raise the limit to 6.35 ms, or widen the space: "
        "more options per choice, or another edit."
    )


def test_a_limit_that_is_missed_narrowly_is_told_apart_from_what_is_reached() -> None:
    said = message(toy_problem(Limits(latency_s=LEAST_LATENCY * (1 - 1e-5))))
    assert "latency <= 6.3405 ms" in said
    assert "takes 6.3406 ms" in said


def test_a_small_space_is_known_exactly() -> None:
    said = message(toy_problem(Limits(energy_j=1e-9), length=2))
    assert "the most frugal of 81 plans takes" in said
    assert "(conv0 alone: 2.36 µJ)" in said


def test_the_limit_that_the_error_proposes_can_be_met() -> None:
    for name in ("latency_s", "energy_j"):
        said = message(toy_problem(Limits(**{name: 1e-12})))
        proposed = said.split("Raise the limit to ")[1].split(",")[0]
        short = name.split("_")[0]
        assert feasible_plan(toy_problem(Limits.read([f"{short}={proposed}"])))


class Opposed:
    """A cost in which what is fast is hungry."""

    level = "opposed"

    def __init__(self) -> None:
        self._toy = toy_problem().cost

    def __getattr__(self, name: str) -> object:
        return getattr(self._toy, name)

    def over_bits(self, *words: object) -> Costs:
        found = self._toy.over_bits(*words)  # type: ignore[arg-type]
        latency = found.layers["latency_s"]
        hungry = 1e-4 / latency.clip(1e-9)
        layers = dict(found.layers) | {"energy_j": hungry}
        total = dict(found.total) | {"energy_j": hungry.sum(axis=1)}
        return replace(found, layers=layers, total=total)


def test_limits_that_only_exclude_each_other_are_named_together() -> None:
    problem = toy_problem(length=2)
    opposed = replace(problem, cost=Opposed())
    totals = opposed.totals(list(distinct_plans(problem.space)))
    both = Limits(
        latency_s=totals["latency_s"].min() * 1.01, energy_j=totals["energy_j"].min() * 1.01
    )
    said = message(replace(opposed, below=both))
    assert "together on eyeriss, though each limit alone can be met" in said
    assert "The nearest of 81 plans has latency" in said


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (toy_problem(Limits(area_um2=1.0)), "'toy' gives no area. It gives latency, energy, macs"),
        (replace(toy_problem(), objectives=("accuracy", "peak")), "gives no peak"),
    ],
)
def test_metrics_that_the_cost_model_does_not_give_are_refused(problem: Problem, said: str) -> None:
    with pytest.raises(HwflowError, match=said) as caught:
        feasible_plan(problem)
    assert not isinstance(caught.value, InfeasibleError)


def rugged(problem: Problem) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """An objective in which every choice of its own makes things worse, but two together help."""
    return lambda totals: np.abs(totals["energy_j"] - 1.2e-4)


def test_a_descent_never_ends_worse_than_it_starts() -> None:
    problem = replace(toy_problem(), below=Limits(latency_s=1e-12))
    objective = rugged(problem)
    start = problem.space.default
    found = reach._least(problem, [start], objective)
    before, after = objective(problem.totals([start])), objective(problem.totals([found]))
    assert after[0] < before[0]


@given(st.floats(1e-12, 1e12))
def test_rounding_up_keeps_three_digits_and_never_falls_below(value: float) -> None:
    rounded = round_up(value)
    assert value <= rounded <= value * 1.0101
    assert float(f"{rounded:.3g}") == pytest.approx(rounded, rel=1e-9)


def test_huge_spaces_are_counted_in_powers_of_ten() -> None:
    assert "10^19 plans" in message(toy_problem(Limits(latency_s=1e-9), length=20))


@pytest.mark.parametrize("edit", [quantize, prune])
def test_no_layer_is_named_for_a_size_of_the_machine(edit: Callable[..., Space]) -> None:
    workload = toy_workload()
    space = edit(workload) + resize(workload, "bitfusion", {"array.rows": (8, 16)})
    text = message(Problem(space, "bitfusion", Mid(), Limits(area_um2=1000.0)))
    assert "alone" not in text
    assert "What bars it" not in text
    assert "Raise the limit to " in text
