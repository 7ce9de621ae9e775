"""The problem: objectives, and costs of many plans at once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import BitPart, SetBits, ToyCost, chain, toy_problem

from hwflow.cost import Limits
from hwflow.errors import HwflowError, MachineError
from hwflow.machine import load_machine
from hwflow.problem import Problem
from hwflow.space import Choice, Edit, Space, Value

PLANS = st.lists(st.tuples(*[st.integers(0, 2)] * 12), min_size=1, max_size=5)


@dataclass(frozen=True)
class SlowPart:
    """The same choices as BitPart, without its short cut over many plans."""

    inner: BitPart
    kind: str = "quantize"

    @property
    def choices(self) -> tuple[Choice, ...]:
        return self.inner.choices

    def edit(self, values: Mapping[str, Value]) -> Edit:
        return self.inner.edit(values)


@dataclass(frozen=True)
class FirstAt4:
    """An edit without choices: the first layer's weights at 4 bits, before anything else."""

    kind = "fuse"
    choices: tuple[Choice, ...] = ()

    def edit(self, values: Mapping[str, Value]) -> Edit:
        return SetBits({"conv0": 4}, {})


def part() -> BitPart:
    return BitPart(tuple(layer.name for layer in chain()))


def test_objectives_are_read_by_short_or_full_name() -> None:
    problem = Problem(Space(chain()), "eyeriss", ToyCost(), objectives=("latency", "accuracy"))
    assert problem.objectives == ("latency_s", "accuracy")
    assert problem.cost_names == ("latency_s",)


@pytest.mark.parametrize("objectives", [(), ("latency", "latency")])
def test_objectives_must_differ(objectives: tuple[str, ...]) -> None:
    with pytest.raises(HwflowError, match="one or more different objectives"):
        Problem(Space(chain()), "eyeriss", ToyCost(), objectives=objectives)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(HwflowError, match="Did you mean 'energy'"):
        Problem(Space(chain()), "eyeriss", ToyCost(), objectives=("energie",))
    with pytest.raises(MachineError, match="Did you mean 'eyeriss'"):
        Problem(Space(chain()), "eyeris", ToyCost())


def test_a_machine_is_given_by_name_or_as_it_is() -> None:
    named = Problem(Space(chain()), "eyeriss", ToyCost())
    given_one = Problem(Space(chain()), load_machine("eyeriss"), ToyCost())
    assert named.machine == given_one.machine
    assert named.design.machine.name == "eyeriss"


@settings(max_examples=15)
@given(PLANS)
def test_costs_of_many_plans_are_those_of_each(plans: list[tuple[int, ...]]) -> None:
    problem = toy_problem()
    expected = [problem.cost.cost(problem.space.on_paper(p, problem.design)) for p in plans]
    assert [cost.total for cost in problem.costs(plans)] == [cost.total for cost in expected]
    totals = problem.totals(plans)
    assert set(totals) == {"latency_s", "energy_j", "macs"}
    for name, values in totals.items():
        np.testing.assert_allclose(values, [cost.total[name] for cost in expected])


@settings(max_examples=15)
@given(PLANS)
def test_the_short_cut_over_bits_changes_nothing(plans: list[tuple[int, ...]]) -> None:
    workload = chain()
    fast = Problem(Space(workload, (part(),)), "eyeriss", ToyCost())
    slow = Problem(Space(workload, (SlowPart(part()),)), "eyeriss", ToyCost())
    assert fast.bit_costs(plans) is not None
    assert slow.bit_costs(plans) is None
    quick, plain = fast.totals(plans), slow.totals(plans)
    for name in quick:
        np.testing.assert_allclose(quick[name], plain[name])


def test_edits_without_choices_come_before_the_bits() -> None:
    space = Space(chain(), (part(), FirstAt4()))
    problem = Problem(space, "eyeriss", ToyCost())
    assert problem.bit_costs([space.default]) is not None
    assert len(space) == 12
    by_paper = problem.cost.cost(space.on_paper(space.default, problem.design))
    assert problem.costs([space.default])[0].total == by_paper.total


def test_no_plans_cost_nothing() -> None:
    assert toy_problem().costs([]) == []
    assert toy_problem().totals([]) == {}


def test_a_space_without_choices_has_one_cost() -> None:
    problem = Problem(Space(chain()), "eyeriss", ToyCost())
    assert len(problem.costs([()])) == 1
    assert problem.totals([()])["macs"].shape == (1,)


def test_objective_values_are_all_to_be_minimised() -> None:
    problem = replace(toy_problem(), objectives=("energy", "accuracy"))
    assert problem.values(0.75, {"energy_j": 2.0, "macs": 3.0}) == (2.0, -0.75)


def test_limits_belong_to_the_problem() -> None:
    problem = toy_problem(Limits(latency_s=1.0, energy_j=2.0))
    assert problem.below.excess({"latency_s": 1.5, "energy_j": 2.0}) == pytest.approx(0.5)
    assert problem.below.excess({"latency_s": 1.0, "energy_j": 2.0}) == 0
