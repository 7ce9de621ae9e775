"""Timeloop's mappings, read as ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hwflow.costs.fine.legal import check_mapping
from hwflow.costs.fine.nest import Mapping
from hwflow.costs.fine.rates import OperandBits, rates
from hwflow.costs.fine.search import best_mapping
from hwflow.costs.fine.shape import DIMS, Shape
from hwflow.costs.fine.timeloop import is_timeloop_mapping, read_timeloop_mapping
from hwflow.errors import WorkloadError
from hwflow.machine import Accelerator, load_machine

FILES = Path(__file__).parents[2] / "machine" / "timeloop_files"
LAYER = Shape((1, 32, 16, 8, 8, 3, 3, 1), padding=(2, 2), touched=(8, 8))
BITS = OperandBits(16, 16, 16)


def eyeriss() -> Accelerator:
    return load_machine("eyeriss")


def loops(target: str, factors: Any, permutation: str = "", kind: str = "temporal") -> Any:
    return {"target": target, "type": kind, "factors": factors, "permutation": permutation}


NEST = [
    loops("DRAM", "M=2", "M"),
    loops("GLB", "C=4 P=4 M=2", "PQCM"),
    loops("GLB", "R=3 C=2 P=2 M=4", kind="spatial"),
    loops("pad", "S=3 C=2 M=2 Q=8"),
]


def vector(**sizes: int) -> tuple[int, ...]:
    return tuple(sizes.get(d, 1) for d in DIMS)


def read(*directives: Any, machine: Accelerator | None = None) -> Mapping:
    return read_timeloop_mapping(list(directives), machine or eyeriss(), LAYER).mapping


def fault(*directives: Any, machine: Accelerator | None = None) -> str:
    with pytest.raises(WorkloadError) as caught:
        read(*directives, machine=machine)
    return str(caught.value)


def test_factors_become_tiles_from_the_pe_outward() -> None:
    found = read(*NEST)
    assert found.pe == vector(S=3, C=2, K=2, Q=8)
    assert found.spread == vector(R=3, C=2, P=2, K=4)
    assert found.tiles == (vector(K=16, C=16, P=8, Q=8, R=3, S=3),)


def test_the_innermost_loops_of_a_level_say_what_stays() -> None:
    assert read(*NEST).stays == ("inputs", "weights")
    turned = [loops("GLB", "C=4 P=4 M=2", "CPM") if d is NEST[1] else d for d in NEST]
    assert read(*turned).stays == ("inputs", "outputs")


def test_loops_of_one_trip_do_not_decide_what_stays() -> None:
    turned = [loops("GLB", "C=4 P=4 M=2 S=1", "SPQCM") if d is NEST[1] else d for d in NEST]
    assert read(*turned).stays[1] == "weights"


def test_axes_are_those_that_the_machine_allows() -> None:
    found = read(*NEST)
    machine = eyeriss()
    for factors, allowed, most in (
        (found.rows, machine.array.unroll_rows, 12),
        (found.cols, machine.array.unroll_cols, 14),
    ):
        assert all(d in allowed for d, n in zip(DIMS, factors, strict=True) if n > 1)
        product = 1
        for n in factors:
            product *= n
        assert product <= most


@pytest.mark.parametrize(
    "factors", ["M=2 C=1", "M2 C1", "M=2,C=1", "M=2, C=1", ["M=2", "C=1"], {"M": 2, "C": 1}, ["K2"]]
)
def test_factors_may_be_written_in_every_form(factors: Any) -> None:
    assert read(loops("DRAM", factors), *NEST[1:]).tiles[0][1] == 16


@pytest.mark.parametrize(
    ("factors", "message"),
    [("X=3", "factor 'X=3' cannot be read"), ("M=0", "at least 1"), (["P=7,3"], "Remainders"),
     ("M=2 ?", "factor '?' cannot be read"), ({"M": 1.5}, "factor 'M=1.5'"),
     (3, "factor '3' cannot")],
)  # fmt: skip
def test_factors_that_cannot_be_read_are_told(factors: Any, message: str) -> None:
    assert message in fault(loops("DRAM", factors), *NEST[1:])


def test_a_loop_that_is_not_made_up_is_told() -> None:
    assert "K 16 of 32" in fault(*NEST[1:])


def test_sizes_need_not_divide() -> None:
    found = read(loops("DRAM", "M=3", "M"), *NEST[1:])
    assert found.tiles[0] == vector(K=16, C=16, P=8, Q=8, R=3, S=3)


def test_a_mapping_that_keeps_what_the_machine_does_not_is_refused() -> None:
    held = {"target": "GLB", "type": "datatype", "keep": ["Inputs"], "bypass": ["Weights"]}
    message = fault(held, *NEST)
    assert "bypass: weights, but GLB of eyeriss holds them" in message
    assert "memory.GLB.holds" in message


def test_a_mapping_that_agrees_with_the_machine_is_taken() -> None:
    held = {"target": "GLB", "type": "dataspace", "keep": ["Weights", "Inputs", "Outputs"]}
    pads = {"target": "pad", "type": "dataspace", "keep": ["Weights"], "bypass": ["Inputs"]}
    assert read(held, pads, *NEST) == read(*NEST)


def test_loops_that_the_array_does_not_spread_are_refused() -> None:
    message = fault(loops("GLB", "Q=8 S=3 N=1", kind="spatial"), loops("DRAM", "M=32 C=16 P=8 R=3"))
    assert "does not fit 12 x 14 PEs" in message
    assert "array.unroll_rows" in message


def test_a_type_that_is_unknown_is_told() -> None:
    assert "type 'temporary' is unknown" in fault(loops("DRAM", "M=2", kind="temporary"))


def test_orders_that_interleave_are_told_in_the_notes() -> None:
    turned = [loops("GLB", "C=4 P=2 Q=2 M=2", "PCQM"), *(d for d in NEST if d is not NEST[1])]
    turned[3] = loops("pad", "S=3 C=2 M=2 Q=4 P=2")
    notes = read_timeloop_mapping(turned, eyeriss(), LAYER).notes
    assert any("GLB: Q lies outside C there" in note for note in notes)
    assert any("pad is no level of eyeriss" in note for note in notes)


def test_a_machine_without_a_buffer_has_the_loops_of_dram_over_the_array() -> None:
    plain = eyeriss().model_dump(mode="json", by_alias=True)
    plain["memory"] = plain["memory"][:1]
    plain["array"] = {**plain["array"], "between": ["DRAM", "scratchpads"]}
    bare = Accelerator.model_validate(plain)
    directives = [loops("DRAM", "M=4 C=4 P=4", "CPM"), *NEST[2:]]
    found = read(*directives, machine=bare)
    assert found.tiles == (LAYER.dims,)
    assert found.stays == ("outputs", "outputs")
    assert best_mapping(bare, LAYER, BITS).mapping.tiles == (LAYER.dims,)


def test_what_is_read_can_be_checked_against_the_machine() -> None:
    figures = rates(eyeriss(), LAYER, BITS)
    small = [loops("DRAM", "M=2", "M"), loops("GLB", "C=8 P=4 Q=8 M=2", "PQCM"),
             loops("GLB", "R=3 C=2 P=2 M=4", kind="spatial"), loops("pad", "S=3 M=2")]  # fmt: skip
    check_mapping(eyeriss(), LAYER, figures, read(*small))
    with pytest.raises(WorkloadError, match="scratchpad lacks"):
        check_mapping(eyeriss(), LAYER, figures, read(*NEST))


def test_a_file_and_its_plain_data_are_one_mapping(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(yaml.safe_dump({"mapping": NEST}))
    assert read_timeloop_mapping(path, eyeriss(), LAYER).mapping == read(*NEST)
    assert read_timeloop_mapping({"mapping": NEST}, eyeriss(), LAYER).mapping == read(*NEST)


@pytest.mark.parametrize(
    "plain", [{}, {"mapping": []}, [1, 2], {"mapping": [{"type": "temporal"}]}]
)
def test_other_data_is_no_timeloop_mapping(plain: Any) -> None:
    assert not is_timeloop_mapping(plain)
    with pytest.raises(WorkloadError, match="list under the key 'mapping'"):
        read_timeloop_mapping(plain, eyeriss(), LAYER)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="Cannot read the mapping"):
        read_timeloop_mapping(tmp_path / "none.yaml", eyeriss(), LAYER)
