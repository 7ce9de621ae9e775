"""Several buffers between DRAM and the array: exact search, and the same rules as the oracle."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from fine_oracle import ORDERS, Oracle
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small_machines import OPERANDS, machines, shapes

from hwflow.costs.fine.deep import best_deep
from hwflow.costs.fine.legal import check_mapping
from hwflow.costs.fine.mapspace import mapspace, on_axes
from hwflow.costs.fine.nest import Mapping
from hwflow.costs.fine.rates import OperandBits, rates
from hwflow.costs.fine.result import Settings
from hwflow.costs.fine.score import score
from hwflow.costs.fine.search import best_mapping
from hwflow.costs.fine.shape import DIMS, Shape
from hwflow.errors import WorkloadError
from hwflow.machine import Accelerator

QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
STAYS = {"weights": "GKCRSNPQ", "inputs": "GNPQCRSK", "outputs": "GNPQKCRS", None: "GNPQKCRS"}
GOALS = st.sampled_from(
    ("latency", "energy", "edp", "energy^1*latency^2", "1*energy+0.0001*latency")
)
TENSORS = st.sampled_from(("weights", "inputs", "outputs"))


def few(oracle: Oracle, most: int) -> bool:
    return sum(1 for _, _ in zip(range(most + 1), oracle.nests(), strict=False)) <= most


def check(
    machine: Accelerator, shape: Shape, bits: OperandBits, goal: str, full: bool, most: int,
    **more: object,
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
    figures = rates(machine, shape, bits)
    check_mapping(machine, shape, figures, found.mapping)
    again = score(shape, figures, found.mapping, machine.pes)
    assert again.cycles == pytest.approx(found.cycles, rel=1e-9)
    assert again.energy_j == pytest.approx(found.energy_j, rel=1e-9)


@settings(max_examples=110, deadline=None, suppress_health_check=QUIET)
@given(machines(buffers=2), shapes(), OPERANDS, GOALS, st.booleans())
def test_two_buffers_equal_brute_force(
    machine: Accelerator, shape: Shape, bits: OperandBits, goal: str, full: bool
) -> None:
    check(machine, shape, bits, goal, full, most=60)


@settings(max_examples=25, deadline=None, suppress_health_check=QUIET)
@given(machines(buffers=3), shapes(), OPERANDS, GOALS, st.booleans())
def test_three_buffers_equal_brute_force(
    machine: Accelerator, shape: Shape, bits: OperandBits, goal: str, full: bool
) -> None:
    check(machine, shape, bits, goal, full, most=25)


@pytest.mark.slow
@pytest.mark.timeout(0)
@settings(max_examples=400, deadline=None, suppress_health_check=QUIET)
@given(st.integers(2, 3).flatmap(machines), shapes(), OPERANDS, GOALS, st.booleans())
def test_many_small_machines_equal_brute_force(
    machine: Accelerator, shape: Shape, bits: OperandBits, goal: str, full: bool
) -> None:
    check(machine, shape, bits, goal, full, most=150)


@pytest.mark.slow
@pytest.mark.timeout(0)
@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
@given(machines(buffers=2), shapes(), OPERANDS, GOALS, st.booleans())
def test_three_orders_are_as_good_as_six(
    machine: Accelerator, shape: Shape, bits: OperandBits, goal: str, full: bool
) -> None:
    """All six orders of the groups at each of three levels."""
    check(machine, shape, bits, goal, full, most=25, orders=ORDERS)


@settings(max_examples=80, deadline=None, suppress_health_check=QUIET)
@given(st.integers(2, 3).flatmap(machines), shapes(), OPERANDS, st.randoms(use_true_random=False),
       st.lists(TENSORS, min_size=4, max_size=4))  # fmt: skip
def test_the_score_of_any_mapping_is_the_oracles(
    machine: Accelerator, shape: Shape, bits: OperandBits, chance: random.Random, stays: list[str]
) -> None:
    oracle = Oracle(machine, shape, bits)
    legal = list(islice(oracle.nests(), 300))
    assume(legal)
    spread, tile, blocks = chance.choice(legal)
    used = tuple(spread[d] for d in DIMS)
    stays = stays[: len(blocks) + 1]
    mapping = Mapping(
        tuple(tile[d] for d in DIMS), *on_axes(mapspace(machine), used), used,
        tuple(tuple(block[d] for d in DIMS) for block in blocks), tuple(stays),
    )  # fmt: skip
    found = score(shape, rates(machine, shape, bits), mapping, machine.pes)
    energy, cycles = oracle.price(spread, tile, blocks, tuple(STAYS[t] for t in stays))
    assert found.cycles == pytest.approx(cycles, rel=1e-12)
    assert found.energy_j == pytest.approx(energy, rel=1e-12)


@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
@given(machines(), shapes(), OPERANDS, GOALS, st.booleans())
def test_of_one_buffer_both_searches_find_the_same(
    machine: Accelerator, shape: Shape, bits: OperandBits, goal: str, full: bool
) -> None:
    chosen = Settings(goal, full)
    try:
        found = best_mapping(machine, shape, bits, chosen)
    except WorkloadError:
        with pytest.raises(WorkloadError):
            best_deep(machine, shape, bits, chosen)
        return
    again = best_deep(machine, shape, bits, chosen)
    assert again.key == pytest.approx(found.key, rel=1e-9)
    assert again.gap == 0
