"""Going through the plans of a small space."""

from collections.abc import Mapping
from dataclasses import dataclass

from toy import chain, toy_problem

from hwflow.design import Design
from hwflow.network import Network
from hwflow.plans import distinct_plans
from hwflow.space import Choice, Edit, Space, Value


@dataclass(frozen=True)
class Dependent:
    """How many bits matters only where there are to be fewer."""

    kind = "quantize"
    choices = (
        Choice("quantized", (False, True), ordered=False),
        Choice("bits", (8, 4, 2), only_if=("quantized", (True,))),
        Choice("signed", (True, False)),
    )

    def edit(self, values: Mapping[str, Value]) -> Edit:
        return self

    def on_paper(self, design: Design) -> Design:
        return design

    def in_network(self, network: Network) -> Network:
        return network


DEPENDENT = Space(chain(1), (Dependent(),))


def test_every_plan_comes_once() -> None:
    space = toy_problem(length=2).space
    plans = list(distinct_plans(space))
    assert len(plans) == len(set(plans)) == space.size == 81
    assert plans[0] == (0, 0, 0, 0)
    assert plans[-1] == (2, 2, 2, 2)


def test_plans_that_differ_in_inactive_choices_only_are_one() -> None:
    plans = list(distinct_plans(DEPENDENT))
    assert DEPENDENT.size == 12
    assert len(plans) == len(set(plans)) == 8
    assert all(DEPENDENT.canonical(plan) == plan for plan in plans)


def test_a_space_without_choices_has_one_plan() -> None:
    assert list(distinct_plans(Space(chain(1)))) == [()]
