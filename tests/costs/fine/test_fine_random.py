"""No random legal mapping, scored by the slow oracle, lies below what the search proves best."""

from __future__ import annotations

import pytest
from fine_oracle import Oracle, keys
from random_mappings import Draw, legal

from hwflow.costs.fine.objectives import OBJECTIVES
from hwflow.costs.fine.rates import OperandBits
from hwflow.costs.fine.result import Settings
from hwflow.costs.fine.search import best_mapping
from hwflow.costs.fine.shape import Shape
from hwflow.machine import load_machine

MACHINES = ("eyeriss", "systolic-16x16", "simd-16", "bitfusion", "bismo")
LAYERS = {
    "3 x 3": Shape((1, 64, 64, 14, 14, 3, 3, 1), padding=(2, 2), touched=(14, 14)),
    "5 x 5 / 2, odd": Shape((4, 17, 3, 23, 23, 5, 5, 1), (2, 2), touched=(49, 49)),
    "depthwise": Shape((1, 1, 1, 28, 28, 3, 3, 32), padding=(2, 2), touched=(28, 28)),
    "1 x 1": Shape((1, 128, 512, 7, 7, 1, 1, 1), touched=(7, 7)),
    "linear": Shape((1, 10, 640, 1, 1, 1, 1, 1)),
}
PAIRS = (OperandBits(8, 8, 8), OperandBits(2, 4, 4))
MILLION = 1_000_000


def check(name: str, shape: Shape, bits: OperandBits, count: int, seed: int) -> None:
    """Draw mappings and hold every one against the best of each objective."""
    machine = load_machine(name)
    best = {goal: best_mapping(machine, shape, bits, Settings(goal, full=True)).key
            for goal in OBJECTIVES}  # fmt: skip
    for drawn, energy, cycles in Draw(Oracle(machine, shape, bits), seed).mappings(count):
        for goal, key in best.items():
            assert keys(goal, energy, cycles)[0] >= key * (1 - 1e-9), (goal, drawn)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("layer", LAYERS)
def test_no_random_mapping_is_better(name: str, layer: str) -> None:
    check(name, LAYERS[layer], PAIRS[0], 60, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("bits", PAIRS, ids=str)
@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("layer", LAYERS)
def test_none_of_a_million_is_better(name: str, layer: str, bits: OperandBits) -> None:
    """A million over all machines, layers and pairs of bits."""
    count = MILLION // (len(MACHINES) * len(LAYERS) * len(PAIRS))
    check(name, LAYERS[layer], bits, count, seed=2)


@pytest.mark.parametrize("name", MACHINES)
def test_the_draw_is_legal_and_comes_close(name: str) -> None:
    """A draw that only met bad mappings would prove nothing."""
    shape, bits = LAYERS["3 x 3"], PAIRS[0]
    machine = load_machine(name)
    oracle, least = Oracle(machine, shape, bits), float("inf")
    for drawn, energy, _ in Draw(oracle, 3).mappings(500):
        assert legal(oracle, drawn)
        least = min(least, energy)
    found = best_mapping(machine, shape, bits, Settings("energy", full=True))
    assert found.key * (1 - 1e-9) <= least <= 1.5 * found.key
