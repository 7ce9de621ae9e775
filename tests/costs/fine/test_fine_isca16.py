"""The energy breakdown of ISCA 2016, Fig. 10: AlexNet, batch 16, 256 PEs, in 1e9 MAC energies.

Numbers and mapspace are those of the public model nn_dataflow, which reproduces the figure. It
tiles images, input and output channels, never a map. A map with more rows than the array has
columns folds; folds that find no room on other rows of the array become strips, which it counts as
further images: the 55 rows of conv1 make four strips on 16 columns. Such a strip has 14 rows in
its buffer but moves 55 / 4. Here it moves 14, so the tests take the excess off: a share of each
tensor's traffic and of the MACs. Each tower of a convolution is a layer; the kernel of a fully
connected layer is as large as its map.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hwflow.costs.fine.rates import OperandBits, rates
from hwflow.costs.fine.result import Settings
from hwflow.costs.fine.score import Score, score
from hwflow.costs.fine.search import best_mapping
from hwflow.costs.fine.shape import INPUTS, OUTPUTS, WEIGHTS, P, R, Shape
from hwflow.machine import load_machine

TOLERANCE = 0.1
SIDE = 16
MACHINE, BITS = load_machine("eyeriss-isca16"), OperandBits(32, 32, 32)


@dataclass(frozen=True)
class Case:
    """A layer of one tower and the published (ALU, DRAM, RF) of all towers."""

    towers: int
    dims: tuple[int, ...]
    published: tuple[float, float, float]
    stride: int = 1

    @property
    def strips(self) -> int:
        """Folds of a map over 16 columns that do not find room on further rows of the array."""
        folds, room = -(-self.dims[P] // SIDE), SIDE // self.dims[R]
        return -(-folds // min(folds, room))


LAYERS = {
    "conv1": Case(2, (16, 48, 3, 55, 55, 11, 11, 1), (1.69, 2.46, 6.75), stride=4),
    "conv2": Case(2, (16, 128, 48, 27, 27, 5, 5, 1), (3.58, 2.27, 14.33)),
    "conv3": Case(2, (16, 192, 256, 13, 13, 3, 3, 1), (2.39, 2.02, 9.57)),
    "conv4": Case(2, (16, 192, 192, 13, 13, 3, 3, 1), (1.79, 1.57, 7.18)),
    "conv5": Case(2, (16, 128, 192, 13, 13, 3, 3, 1), (1.20, 1.05, 4.78)),
    "fc1": Case(1, (16, 4096, 256, 1, 1, 6, 6, 1), (0.60, 7.78, 2.42)),
    "fc2": Case(1, (16, 4096, 4096, 1, 1, 1, 1, 1), (0.27, 3.39, 1.07)),
    "fc3": Case(1, (16, 1000, 4096, 1, 1, 1, 1, 1), (0.07, 0.84, 0.26)),
}


def found(shape: Shape, whole: bool) -> Score:
    best = best_mapping(MACHINE, shape, BITS, Settings("energy", full=True, whole_maps=whole))
    assert best.gap == 0
    return score(shape, rates(MACHINE, shape, BITS), best.mapping, MACHINE.pes)


def in_strips(case: Case) -> tuple[Shape, tuple[float, float, float], float]:
    """Return the layer in strips, the share of each tensor that moves, and the share of MACs."""
    rows = -(-case.dims[P] // case.strips)
    exact = case.dims[P] / case.strips
    dims = (case.dims[0] * case.strips, *case.dims[1:3], rows, *case.dims[4:])
    shape = Shape(dims, (case.stride, case.stride))
    halo = case.dims[R] - case.stride
    shares = {
        WEIGHTS: 1.0,
        INPUTS: (exact * case.stride + halo) / (rows * case.stride + halo),
        OUTPUTS: exact / rows,
    }
    return shape, (shares[WEIGHTS], shares[INPUTS], shares[OUTPUTS]), exact / rows


@pytest.mark.parametrize("name", LAYERS)
def test_breakdown_where_output_maps_are_whole(name: str) -> None:
    case = LAYERS[name]
    shape, shares, macs = in_strips(case)
    scored = found(shape, whole=True)
    words = (access.bits / 16 for access in scored.traffic.dram)
    dram = 200 * sum(count * share for count, share in zip(words, shares, strict=True))
    parts = scored.energy_by_part
    alu, pads = (macs * parts[part] * 1e12 for part in ("mac", "scratchpads"))
    for value, published in zip((alu, dram, pads), case.published, strict=True):
        assert case.towers * value / 1e9 == pytest.approx(published, abs=TOLERANCE)


def test_only_the_first_layer_folds() -> None:
    """16 rows hold kernels of 5 rows three times, so both folds of conv2's 27 rows; 11, once."""
    assert [case.strips for case in LAYERS.values()] == [4, 1, 1, 1, 1, 1, 1, 1]


def test_the_strips_of_conv1_move_what_was_published() -> None:
    """Weights come with each of 64 strips, inputs with 4 x (55 + 7) rows for 227, outputs once."""
    shape, shares, _ = in_strips(LAYERS["conv1"])
    weights, inputs, outputs = (a.bits / 16 for a in found(shape, whole=True).traffic.dram)
    assert weights == 64 * 48 * 3 * 11 * 11
    assert inputs * shares[INPUTS] == pytest.approx(16 * 3 * 248 * 227)
    assert outputs * shares[OUTPUTS] == pytest.approx(16 * 48 * 55 * 55)
    moved = weights + inputs * shares[INPUTS] + outputs * shares[OUTPUTS]
    assert 2 * 200 * moved / 1e9 == pytest.approx(2.46, abs=0.005)


@pytest.mark.parametrize("name", LAYERS)
def test_the_free_mapspace_is_never_above(name: str) -> None:
    case = LAYERS[name]
    parts = found(Shape(case.dims, (case.stride, case.stride)), whole=False).energy_by_part
    joules = (parts[part] for part in ("mac", "dram", "scratchpads"))
    for value, published in zip(joules, case.published, strict=True):
        assert case.towers * value * 1e12 / 1e9 <= published + TOLERANCE
