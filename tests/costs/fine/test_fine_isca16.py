"""The energy breakdown of ISCA 2016, Fig. 10: AlexNet, batch 16, 256 PEs, in 1e9 MAC energies.

Its model does not tile output maps but for the array's folds: the 55 rows of conv1 make four strips
on 16 columns, taken as further images. Convolutions count two towers.
"""

from __future__ import annotations

import pytest

from hwflow.costs.fine.rates import OperandBits, rates
from hwflow.costs.fine.result import Settings
from hwflow.costs.fine.score import score
from hwflow.costs.fine.search import best_mapping
from hwflow.costs.fine.shape import Shape
from hwflow.machine import load_machine

# towers, loops, stride (as many strips as conv1 has), (ALU, DRAM, RF)
LAYERS = {
    "conv1": (2, (16, 48, 3, 55, 55, 11, 11, 1), 4, (1.69, 2.46, 6.75)),
    "conv2": (2, (16, 128, 48, 27, 27, 5, 5, 1), 1, (3.58, 2.27, 14.33)),
    "conv3": (2, (16, 192, 256, 13, 13, 3, 3, 1), 1, (2.39, 2.02, 9.57)),
    "conv4": (2, (16, 192, 192, 13, 13, 3, 3, 1), 1, (1.79, 1.57, 7.18)),
    "conv5": (2, (16, 128, 192, 13, 13, 3, 3, 1), 1, (1.20, 1.05, 4.78)),
    "fc1": (1, (16, 4096, 9216, 1, 1, 1, 1, 1), 1, (0.60, 7.78, 2.42)),
    "fc2": (1, (16, 4096, 4096, 1, 1, 1, 1, 1), 1, (0.27, 3.39, 1.07)),
    "fc3": (1, (16, 1000, 4096, 1, 1, 1, 1, 1), 1, (0.07, 0.84, 0.26)),
}
TOLERANCE = 0.1


def parts(name: str, whole: bool, strips: int) -> dict[str, float]:
    towers, dims, _, _ = LAYERS[name]
    rows = -(-dims[3] // strips)
    cut = (dims[0] * strips, *dims[1:3], rows, *dims[4:])
    shape = Shape(cut, (strips, strips))
    machine, bits = load_machine("eyeriss-isca16"), OperandBits(32, 32, 32)
    found = best_mapping(machine, shape, bits, Settings("energy", full=True, whole_maps=whole))
    assert found.gap == 0
    scored = score(shape, rates(machine, shape, bits), found.mapping, machine.pes)
    return {key: towers * joules * 1e12 / 1e9 for key, joules in scored.energy_by_part.items()}


@pytest.mark.parametrize("name", LAYERS)
def test_breakdown_where_output_maps_are_whole(name: str) -> None:
    _, dims, strips, (alu, dram, pads) = LAYERS[name]
    padded = -(-dims[3] // strips) * strips / dims[3]  # 4 strips of 14 rows for 55
    found = parts(name, True, strips)
    assert found["mac"] / padded == pytest.approx(alu, abs=TOLERANCE)
    assert found["dram"] == pytest.approx(dram, abs=TOLERANCE)
    assert found["scratchpads"] / padded == pytest.approx(pads, abs=TOLERANCE)


@pytest.mark.parametrize("name", LAYERS)
def test_the_free_mapspace_is_never_above(name: str) -> None:
    towers, dims, stride, reference = LAYERS[name]
    machine, bits = load_machine("eyeriss-isca16"), OperandBits(32, 32, 32)
    shape = Shape(dims, (stride, stride))
    found = best_mapping(machine, shape, bits, Settings("energy", full=True))
    scored = score(shape, rates(machine, shape, bits), found.mapping, machine.pes)
    joules = (scored.energy_by_part[part] for part in ("mac", "dram", "scratchpads"))
    for value, published in zip(joules, reference, strict=True):
        assert towers * value * 1e12 / 1e9 <= published + TOLERANCE
