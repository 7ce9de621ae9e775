"""The search finds exactly what brute force finds, over whole mapspaces."""

from __future__ import annotations

import pytest
from fine_oracle import ORDERS, Oracle
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small_machines import OPERANDS, machines, shapes

from hwflow.costs.fine.rates import OperandBits
from hwflow.costs.fine.search import Settings, best_mapping
from hwflow.costs.fine.shape import Shape
from hwflow.errors import WorkloadError
from hwflow.machine import Accelerator

QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def few(oracle: Oracle, most: int) -> bool:
    return sum(1 for _, _ in zip(range(most + 1), oracle.mappings(), strict=False)) <= most


def check(
    machine: Accelerator, shape: Shape, bits: OperandBits, goal: str, full: bool,
    most: int, **more: object,
) -> None:  # fmt: skip
    oracle = Oracle(machine, shape, bits, full)
    assume(few(oracle, most))
    first, _, count = oracle.best(goal, **more)
    chosen = Settings(goal, full)
    if count == 0:
        with pytest.raises(WorkloadError, match=r"cannot be mapped onto small: .* lacks"):
            best_mapping(machine, shape, bits, chosen)
        return
    found = best_mapping(machine, shape, bits, chosen)
    assert found.key == pytest.approx(first, rel=1e-9)
    assert found.gap == 0


MIXES = (
    "energy^1*latency^2",
    "energy^0.5*latency^1",
    "3*energy+0.002*latency",
    "1*energy+9*latency",
)
GOALS = st.sampled_from(("latency", "energy", "edp", *MIXES))


@settings(max_examples=220, deadline=None, suppress_health_check=QUIET)
@given(machines(), shapes(), OPERANDS, GOALS, st.booleans())
def test_equal_to_brute_force(
    machine: Accelerator, shape: Shape, bits: OperandBits, goal: str, full: bool
) -> None:
    check(machine, shape, bits, goal, full, most=250)


@pytest.mark.slow
@pytest.mark.timeout(0)
@settings(max_examples=500, deadline=None, suppress_health_check=QUIET)
@given(machines(), shapes(), OPERANDS, GOALS, st.booleans())
def test_equal_to_brute_force_over_all_orders(
    machine: Accelerator, shape: Shape, bits: OperandBits, goal: str, full: bool
) -> None:
    """Six orders of the groups at each of two levels, where the search knows three choices."""
    check(machine, shape, bits, goal, full, most=150, orders=ORDERS)
