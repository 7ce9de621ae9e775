"""Accelergy's public Eyeriss example, replayed: counts, energies and what differs.

The example (3 -> 32 channels, 3 x 3 kernels of stride 2, 112 x 112 outputs, 12 x 14 PEs) reports
10,838,016 MACs, 86,016 cycles, 75 % utilisation and 59.28 µJ, by part in fJ/MAC: mac 208, psum 387,
weights 1007, ifmap 112, buffer 375, DRAM 3381. Architecture, energies and mapping are imported from
files of Timeloop's form and scored by our rules.

Energies per access (pJ): mac 0.207692; psum pad 0.2513 read, 0.2191 write per 16 bits; weight pad
1.976602, 1.881657 and ifmap pad 0.202442, 0.176713 per 16 bits, two operands; buffer 18.183829,
14.137929 and DRAM 512 per 64 bits, eight operands.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from hwflow.costs.fine.legal import check_mapping
from hwflow.costs.fine.nest import Mapping
from hwflow.costs.fine.rates import OperandBits, Rates, rates
from hwflow.costs.fine.score import Score, score
from hwflow.costs.fine.search import best_mapping
from hwflow.costs.fine.shape import Shape
from hwflow.costs.fine.timeloop import read_timeloop_mapping
from hwflow.machine import Accelerator
from hwflow.machine.timeloop import read_timeloop

FILES = Path(__file__).parents[2] / "machine" / "timeloop_files"
LAYER = Shape((1, 32, 3, 112, 112, 3, 3, 1), (2, 2), touched=(224, 224))
BITS = OperandBits(8, 8, 8)
MACS = 10_838_016
CYCLES = 86_016
REPORTED = {"mac": 208, "psum": 387, "weights": 1007, "ifmap": 112, "glb": 375, "DRAM": 3381}
"""fJ per MAC."""


@cache
def machine() -> Accelerator:
    return read_timeloop(FILES / "tagged_arch.yaml", FILES / "tagged_ert.yaml").machine


@cache
def figures() -> Rates:
    return rates(machine(), LAYER, BITS)


@cache
def mapping() -> Mapping:
    return read_timeloop_mapping(FILES / "mapping.yaml", machine(), LAYER).mapping


@cache
def replayed() -> Score:
    check_mapping(machine(), LAYER, figures(), mapping())
    return score(LAYER, figures(), mapping(), machine().pes)


def fj_per_mac(part: str) -> float:
    return replayed().energy_by_part[part] / MACS * 1e15


def elements(memory: int, tensor: int) -> tuple[float, float]:
    """Return elements of 8 bits read from and written to DRAM (0) or the buffer (1)."""
    access = replayed().traffic.memories[memory][tensor]
    return access.read / 8, access.written / 8


def test_the_reported_parts_sum_to_the_reported_energy() -> None:
    assert sum(REPORTED.values()) * MACS * 1e-15 == pytest.approx(59.28e-6, rel=1e-3)


def test_macs_cycles_and_utilisation_are_the_reported_ones() -> None:
    assert LAYER.macs == MACS
    assert replayed().compute_cycles == CYCLES
    assert replayed().active_pes == 126
    assert MACS / (machine().pes * CYCLES) == 0.75


def test_dram_accesses_are_the_reported_ones() -> None:
    assert elements(0, 0) == (13_824, 0)  # 216 weights of a tile, for each of 64 tiles
    assert elements(0, 1) == (157_296, 0)  # 16 tiles of 29 x 113 x 3 inputs
    assert elements(0, 2) == (0, 401_408)  # every output once
    assert replayed().dram_bytes == 572_528


def test_mac_and_dram_energies_are_the_reported_ones() -> None:
    assert fj_per_mac("mac") == pytest.approx(207.69, abs=0.01)
    assert fj_per_mac("dram") == pytest.approx(3380.86, abs=0.01)


def test_the_buffer_differs_by_shared_halos_and_by_outputs_on_their_way_out() -> None:
    """Reported: 1,354,752 inputs read, 157,296 filled, 401,408 outputs written, none read.

    There each of 14 columns x 9 rows of PEs takes its own 3 rows of inputs, 378 elements per pass.
    Here a pass of 3 rows, 3 channels and 29 columns, the span of 14 outputs of stride 2, is read
    once and spread over the array: 261 elements. And an output is read on its way to DRAM.
    """
    passes = 8 * 2 * 4 * 14 * 4
    assert elements(1, 1) == (passes * 3 * 3 * 29, 157_296)
    assert passes * 14 * 9 * 3 == 1_354_752
    assert elements(1, 2) == (401_408, 401_408)
    reported = (1_354_752 * 18.183829 + (157_296 + 401_408) * 14.137929) / 8
    assert reported / MACS * 1e3 == pytest.approx(375.23, abs=0.01)
    assert fj_per_mac("buffer") == pytest.approx(371.47, abs=0.01)
    assert fj_per_mac("buffer") == pytest.approx(REPORTED["glb"], rel=0.02)


def test_scratchpads_differ_by_the_first_of_each_sum_and_by_their_fills() -> None:
    """Here a MAC reads its weight, its input and its sum and writes the sum.

    Reported are two reads of the sum for three MACs, as the first of the three rows of the kernel
    in a PE has none, and the fills of weights (1536 for each of 126 PEs) and inputs (10,752).
    """
    ours = 1.976602 / 2 + 0.202442 / 2 + 0.2513 + 0.2191
    assert fj_per_mac("scratchpads") == pytest.approx(ours * 1e3)
    psum = 0.2513 * 2 / 3 + 0.2191
    weights = 1.976602 / 2 + 1536 * 126 / MACS * 1.881657 / 2
    ifmap = 0.202442 / 2 + 10_752 * 126 / MACS * 0.176713 / 2
    assert psum * 1e3 == pytest.approx(REPORTED["psum"], abs=0.5)
    assert weights * 1e3 == pytest.approx(REPORTED["weights"], abs=2)  # leakage is 1.6
    assert ifmap * 1e3 == pytest.approx(REPORTED["ifmap"], abs=0.5)
    reported = sum(REPORTED[part] for part in ("psum", "weights", "ifmap"))
    assert fj_per_mac("scratchpads") == pytest.approx(reported, rel=0.04)


def test_the_whole_differs_by_one_percent() -> None:
    assert replayed().energy_j == pytest.approx(59.28e-6, rel=0.01)


def test_with_a_double_buffer_the_layer_takes_the_reported_cycles() -> None:
    """Timeloop overlaps transfers and computation; here first load and last store stick out."""
    plain = machine().model_dump(mode="json", by_alias=True)
    plain["memory"][1] |= {"double_buffered": True}
    both = Accelerator.model_validate(plain)
    found = score(LAYER, rates(both, LAYER, BITS), mapping(), both.pes)
    assert found.bound_by == "compute"
    assert CYCLES <= found.cycles < CYCLES * 1.001


def test_the_search_does_not_lose_to_the_reported_mapping() -> None:
    assert best_mapping(machine(), LAYER, BITS).energy_j <= replayed().energy_j
