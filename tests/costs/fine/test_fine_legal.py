"""Legality of given mappings: all that the search may take, nothing that does not fit."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
from fine_oracle import Oracle
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small_machines import OPERANDS, machines, shapes

from hwflow.costs.fine.legal import check_mapping
from hwflow.costs.fine.mapspace import mapspace, on_axes
from hwflow.costs.fine.nest import Mapping
from hwflow.costs.fine.rates import OperandBits, rates
from hwflow.costs.fine.search import best_mapping
from hwflow.costs.fine.shape import DIMS, Shape
from hwflow.errors import WorkloadError
from hwflow.machine import Accelerator, load_machine

QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
EYERISS = load_machine("eyeriss")
SHAPE = Shape((1, 64, 32, 14, 14, 3, 3, 1), padding=(2, 2), touched=(14, 14))
BITS = OperandBits(16, 16, 16)


def fitting(machine: Accelerator, shape: Shape, bits: OperandBits, plan: Mapping) -> str:
    """Return what is wrong with a mapping, "" when it fits."""
    try:
        check_mapping(machine, shape, rates(machine, shape, bits), plan)
    except WorkloadError as error:
        return str(error)
    return ""


def plan_of(machine: Accelerator, spread: dict, tile: dict, buffer: dict) -> Mapping:
    used = tuple(spread[d] for d in DIMS)
    rows, cols = on_axes(mapspace(machine), used)
    return Mapping(
        tuple(tile[d] for d in DIMS), rows, cols, used, (tuple(buffer[d] for d in DIMS),),
        ("outputs", None),
    )  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET)
@given(machines(), shapes(), OPERANDS)
def test_every_mapping_of_the_mapspace_fits(
    machine: Accelerator, shape: Shape, bits: OperandBits
) -> None:
    for found in islice(Oracle(machine, shape, bits).mappings(), 30):
        assert fitting(machine, shape, bits, plan_of(machine, *found)) == ""


@settings(max_examples=80, deadline=None, suppress_health_check=QUIET)
@given(machines(), shapes(), OPERANDS, st.data())
def test_what_does_not_fit_a_memory_is_refused(
    machine: Accelerator, shape: Shape, bits: OperandBits, data: st.DataObject
) -> None:
    oracle = Oracle(machine, shape, bits)
    spread = data.draw(st.sampled_from(oracle.spreads()))
    tile = {d: 1 if d == "G" else data.draw(st.integers(1, n)) for d, n in oracle.size.items()}
    array = {d: min(tile[d] * spread[d], oracle.size[d]) for d in DIMS}
    whole = {d: oracle.size[d] if d in "RS" else array[d] for d in DIMS}
    said = fitting(machine, shape, bits, plan_of(machine, spread, tile, whole))
    assert (said == "") == (oracle.fits_pe(tile) and oracle.fits_buffer(whole))
    assert ("scratchpad lacks" in said) == (not oracle.fits_pe(tile))


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET)
@given(machines(), shapes(), OPERANDS)
def test_what_the_search_finds_fits(machine: Accelerator, shape: Shape, bits: OperandBits) -> None:
    try:
        found = best_mapping(machine, shape, bits)
    except WorkloadError:
        assume(False)
    assert fitting(machine, shape, bits, found.mapping) == ""


ONES = (1,) * 8


def changed(**parts: object) -> str:
    """Say what is wrong with the best mapping of a layer on Eyeriss after a change."""
    plan = best_mapping(EYERISS, SHAPE, BITS).mapping
    return fitting(EYERISS, SHAPE, BITS, replace(plan, **parts))


def loops(**sizes: int) -> tuple[int, ...]:
    return tuple(sizes.get(d, 1) for d in DIMS)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"rows": loops(R=3, C=5)}, "it takes 15 rows of PEs, the array has 12"),
        ({"cols": loops(P=15)}, "it takes 15 cols of PEs, the array has 14"),
        ({"rows": loops(Q=3)}, r"Q cannot be spread over the rows \(C, G, K, R can\)"),
        ({"rows": ONES, "cols": ONES, "spread": loops(K=4)}, "`spread` takes 4 PEs along K"),
        ({"pe": loops(K=25, S=3)}, "outputs scratchpad lacks 2 bytes"),
        ({"pe": loops(C=5, S=3)}, "inputs scratchpad lacks 6 bytes"),
        ({"pe": loops(G=2)}, "one group at a time"),
        ({"tiles": (SHAPE.dims,)}, ""),
        ({"tiles": ((1, 64, 32, 14, 14, 1, 3, 1),)}, "GLB holds 1 of 3 along R: whole kernels"),
        ({"tiles": ()}, r"it has 0 tiles and 2 entries of `stays`, 1 and 2 are needed"),
        ({"stays": ("weights",)}, r"1 entries of `stays`, 1 and 2 are needed"),
    ],
)
def test_each_fault_is_named(parts: dict[str, object], message: str) -> None:
    said = changed(**parts)
    assert bool(said) == bool(message)
    import re

    assert re.search(message, said)


def test_a_tile_that_is_no_multiple_is_refused() -> None:
    plan = Mapping(
        loops(K=4, S=3), loops(R=3), loops(P=14), loops(R=3, P=14),
        ((1, 6, 32, 14, 14, 3, 3, 1),), ("weights", "weights"),
    )  # fmt: skip
    said = fitting(EYERISS, SHAPE, BITS, plan)
    assert "the tile of GLB is 6 along K, no multiple of 4 in the array" in said


def test_a_buffer_that_is_too_small_lacks_bytes() -> None:
    big = Shape((1, 512, 256, 28, 28, 3, 3, 1))
    plan = Mapping(
        loops(S=3), loops(R=3), loops(P=14), loops(R=3, P=14), (big.dims,), ("weights", "weights")
    )
    weights, inputs, outputs = 512 * 256 * 9, 256 * 30 * 30, 512 * 28 * 28
    lack = 2 * (weights + inputs + outputs) - 108 * 1024
    assert f"GLB lacks {lack:g} bytes" in fitting(EYERISS, big, BITS, plan)


def test_only_the_dataflows_tensor_stays_in_registers() -> None:
    machine = load_machine("systolic-8x8")
    plan = best_mapping(machine, SHAPE, BITS).mapping
    stays = [t for t in ("weights", "inputs", "outputs") if not rates(machine, SHAPE, BITS).stays[
        ("weights", "inputs", "outputs").index(t)]]  # fmt: skip
    assert stays
    said = fitting(machine, SHAPE, BITS, replace(plan, stays=("weights", stays[0])))
    assert f"{stays[0]} cannot stay in the PEs" in said
