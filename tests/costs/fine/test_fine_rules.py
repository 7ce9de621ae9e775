"""The rules of cost: the package's score against the plain oracle, and laws they must keep."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from fine_oracle import Oracle
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small_machines import OPERANDS, machines, shapes

from hwflow.costs.fine.mapspace import mapspace, on_axes
from hwflow.costs.fine.nest import Mapping, written
from hwflow.costs.fine.rates import OperandBits, rates, stored
from hwflow.costs.fine.result import Settings
from hwflow.costs.fine.score import PARTS, compute_cycles, score
from hwflow.costs.fine.search import best_mapping
from hwflow.costs.fine.shape import DIMS, Shape
from hwflow.costs.fine.traffic import trips_paid
from hwflow.machine import Accelerator, load_machine

QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
STAYS = {"weights": "GKCRSNPQ", "inputs": "GNPQCRSK", "outputs": "GNPQKCRS", None: "GNPQKCRS"}
LAYERS = (
    Shape((1, 64, 64, 14, 14, 3, 3, 1), padding=(2, 2), touched=(14, 14)),
    Shape((4, 17, 3, 23, 23, 5, 5, 1), (2, 2)),
    Shape((1, 1, 1, 28, 28, 3, 3, 32), padding=(2, 2), touched=(28, 28)),
    Shape((1, 10, 640, 1, 1, 1, 1, 1)),
)


@settings(max_examples=80, deadline=None, suppress_health_check=QUIET)
@given(machines(), shapes(), OPERANDS, st.randoms(use_true_random=False))
def test_the_score_of_any_mapping_is_the_oracles(
    machine: Accelerator, shape: Shape, bits: OperandBits, chance: random.Random
) -> None:
    oracle = Oracle(machine, shape, bits)
    legal = list(islice(oracle.mappings(), 300))
    assume(legal)
    spread, tile, block = chance.choice(legal)
    outer = chance.choice(("weights", "inputs", "outputs"))
    inner = chance.choice(("weights", "inputs", "outputs"))
    sizes = [tuple(level[d] for d in DIMS) for level in (tile, spread, block)]
    rows, cols = on_axes(mapspace(machine), sizes[1])
    mapping = Mapping(sizes[0], rows, cols, sizes[1], (sizes[2],), (outer, inner))
    found = score(shape, rates(machine, shape, bits), mapping, machine.pes)
    energy, cycles = oracle.cost(spread, tile, block, STAYS[outer], STAYS[inner])
    assert found.cycles == pytest.approx(cycles, rel=1e-12)
    assert found.energy_j == pytest.approx(energy, rel=1e-12)


@pytest.mark.parametrize("name", ["eyeriss", "systolic-8x8", "simd-16", "bismo", "bitfusion"])
@pytest.mark.parametrize("goal", ["latency", "energy", "edp"])
def test_a_found_mapping_replays_to_the_cost_it_was_found_with(name: str, goal: str) -> None:
    machine, bits = load_machine(name), OperandBits(4, 8, 8)
    for shape in LAYERS:
        found = best_mapping(machine, shape, bits, Settings(goal))
        again = score(shape, rates(machine, shape, bits), found.mapping, machine.pes)
        assert again.cycles == pytest.approx(found.cycles, rel=1e-9)
        assert again.energy_j == pytest.approx(found.energy_j, rel=1e-9)
        assert found.gap == 0
        assert tuple(again.energy_by_part) == PARTS
        assert 0 < again.utilization <= 1


def test_the_rule_of_trips() -> None:
    """for k in 2: for p in 3: for c in 5: weights move 2 x 3 x 5 / 3 tiles' worth, 3 times each."""
    cuts, order = ((1, 2, 5, 3, 1, 1, 1, 1),), ("GKNPQCRS",)
    assert trips_paid(0, cuts, order) == 3
    assert trips_paid(1, cuts, order) == 2
    assert trips_paid(2, cuts, order) == 1


def test_loops_of_one_trip_do_not_count() -> None:
    cuts = ((1, 4, 1, 3, 1, 1, 1, 1),)
    assert trips_paid(0, cuts, ("GKCRSNPQ",)) == 1
    assert trips_paid(0, cuts, ("GNPQKCRS",)) == 3


def test_trips_of_a_loop_split_over_three_levels() -> None:
    """for k in 2: for p in 3: | for p in 2: for k in 2: | for p in 4: the weights' last loop is k.

    They pay p of the outer two levels, inputs and outputs k of those outside their last p.
    """
    cuts = ((1, 2, 1, 3, 1, 1, 1, 1), (1, 4, 1, 6, 1, 1, 1, 1), (1, 4, 1, 24, 1, 1, 1, 1))
    orders = ("GKCRSNPQ", "GNPQCRSK", "GKCRSNPQ")
    assert trips_paid(0, cuts, orders) == 6
    assert trips_paid(1, cuts, orders) == 4
    assert trips_paid(1, cuts[:2], orders[:2]) == 2
    assert trips_paid(2, cuts, orders) == 1


@pytest.mark.parametrize(
    ("tower", "cycles"),
    [
        ((3, 48, 55, 11), 5575680), ((48, 128, 27, 5), 13271040), ((256, 192, 13, 3), 6230016),
        ((192, 192, 13, 3), 4672512), ((192, 128, 13, 3), 3115008),
    ],
)  # fmt: skip
def test_steps_reach_the_public_row_stationary_cycle_counts(
    tower: tuple[int, int, int, int], cycles: int
) -> None:
    """The best unrolling of R x C x K by P x C x K, replicas of rows included (nn_dataflow)."""
    machine = load_machine("eyeriss-isca16")
    ins, outs, size, kernel = tower
    shape = Shape((16, outs, ins, size, size, kernel, kernel, 1))
    figures = rates(machine, shape, OperandBits(32, 32, 32))
    listed = mapspace(machine).unrollings(shape).tolist()
    assert min(compute_cycles(shape, figures, tuple(spread)) for spread in listed) <= cycles


def test_packing() -> None:
    assert stored(5, 16, "dense") == 5
    assert stored(5, 16, "word") == 16 / 3
    assert stored(20, 16, "word") == 32


def test_the_nest_reads_from_dram_inward() -> None:
    machine, shape = load_machine("eyeriss"), LAYERS[0]
    found = best_mapping(machine, shape, OperandBits(32, 32, 32))
    lines = written(found.mapping, shape, ("DRAM", "GLB")).splitlines()
    assert lines[-1].lstrip().endswith("mac")
    assert [len(line) - len(line.lstrip()) for line in lines] == [
        2 * depth for depth in range(len(lines))
    ]
    places = [line.split("# ")[1].split(":")[0] for line in lines[:-1]]
    assert places == sorted(places, key=["DRAM", "GLB", "array rows", "array cols"].index)
