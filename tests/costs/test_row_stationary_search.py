"""The search of the chip's parameters: equal to brute force, never worse than a replay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from row_stationary_by_hand import ALEXNET, OWN, conv, fits

from hwflow.costs.chip import EYERISS, Chip, ChipCost, MappingError, Passes, replay, search
from hwflow.costs.chip.search import Objective, least_by_trips
from hwflow.errors import HwflowError, WorkloadError
from hwflow.workload import Layer

SMALL = Chip(
    rows=4, cols=2, filter_pad=8, ifmap_pad=4, psum_pad=3, buffer_bytes=256, bank_bytes=32,
    port_bytes=1.0,
)  # fmt: skip
"""A chip on which every limit binds soon, and the port too."""

OBJECTIVES: tuple[Objective, ...] = ("chip", "latency", "energy")


def everything(layer: Layer, chip: Chip) -> Iterator[ChipCost]:
    """Replay every mapping that fits."""
    filters = layer.out_channels // layer.groups
    sizes = (filters, layer.batch, layer.out_size[0], chip.psum_pad, chip.ifmap_pad)
    pes = chip.rows * chip.cols // layer.kernel[0]
    sets = [(r, t) for r in range(1, pes + 1) for t in range(1, pes // r + 1)]
    for m, n, e, p, q in product(*(range(1, size + 1) for size in sizes)):
        for r, t in sets:
            at = Passes(m, n, e, p, q, r, t)
            if fits(layer, at, chip):
                yield replay(layer, at, chip)


def planned(cost: ChipCost, layer: Layer) -> float:
    """Bytes off chip with padded ifmaps, before compression."""
    return cost.dram_bytes["weights"] + cost.buffer_bytes["ifmap_writes"] + 2 * layer.out_elements


def value(cost: ChipCost, layer: Layer, objective: Objective) -> tuple[float, ...]:
    if objective == "chip":
        return planned(cost, layer), cost.cycles
    return (cost.cycles if objective == "latency" else cost.energy_j() * 1e9,)


small_layers = st.builds(
    conv, batch=st.integers(1, 2), filters=st.integers(1, 4), channels=st.integers(1, 4),
    out=st.integers(1, 4), kernel=st.integers(1, 3), pad=st.integers(0, 1),
).filter(lambda layer: layer.in_shapes[0][-1] > 0)  # fmt: skip


@given(small_layers)
@settings(max_examples=25, deadline=None)
def test_the_search_finds_the_best_of_all_legal_mappings(layer: Layer) -> None:
    every = list(everything(layer, SMALL))
    for objective in OBJECTIVES:
        if not every:
            with pytest.raises(MappingError):
                search(layer, SMALL, objective)
            continue
        found = search(layer, SMALL, objective).cost
        best = min(value(cost, layer, objective) for cost in every)
        assert value(found, layer, objective) == pytest.approx(best, rel=1e-9)
        assert fits(layer, found.passes, SMALL)


@st.composite
def strided(draw: st.DrawFn) -> Layer:
    """Layers of any stride, dilation and groups that fit the chip."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    return conv(
        draw(st.integers(1, 5)), groups * draw(st.integers(1, 40)),
        groups * draw(st.integers(1, 9)), draw(st.integers(1, 30)), draw(st.integers(1, 5)),
        draw(st.integers(1, 4)), groups,
        dilation=draw(st.integers(1, 3)),
    )  # fmt: skip


@given(strided(), st.data())
@settings(max_examples=80, deadline=None)
def test_no_random_legal_mapping_beats_the_search(layer: Layer, data: st.DataObject) -> None:
    found = {objective: search(layer, objective=objective).cost for objective in OBJECTIVES}
    sizes = (layer.out_channels // layer.groups, layer.batch, layer.out_size[0], 16, 4, 3, 3)
    for _ in range(10):
        at = Passes(*(data.draw(st.integers(1, size)) for size in sizes))
        try:
            cost = replay(layer, at)
        except MappingError:
            continue
        assert found["latency"].cycles <= cost.cycles * (1 + 1e-9)
        assert found["energy"].energy_j() <= cost.energy_j() * (1 + 1e-9)
        assert planned(found["chip"], layer) <= planned(cost, layer)


@pytest.mark.parametrize("name", ALEXNET)
def test_the_planning_rule_gives_the_chips_own_parameters(name: str) -> None:
    assert search(ALEXNET[name]).passes == OWN[name]


def test_banks_of_the_buffer_explain_the_chips_choice_on_conv1_and_conv3() -> None:
    fluid = replace(EYERISS, bank_bytes=1)
    assert search(ALEXNET["conv1"], fluid).passes.e == 8
    best = search(ALEXNET["conv3"], fluid).passes
    assert best.q * best.r == 8


@pytest.mark.parametrize("name", ALEXNET)
def test_a_latency_search_is_never_slower_and_an_energy_search_never_hungrier(name: str) -> None:
    own = replay(ALEXNET[name], OWN[name], density=0.4)
    fast = search(ALEXNET[name], objective="latency", density=0.4)
    frugal = search(ALEXNET[name], objective="energy", density=0.4)
    assert fast.cost.processing_s <= own.processing_s
    assert frugal.cost.energy_j() <= own.energy_j()
    assert frugal.cost.energy_j() <= fast.cost.energy_j()
    assert fast.cost.processing_s <= frugal.cost.processing_s
    assert fast.compared > 1000


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_larger_chip_is_never_worse(objective: Objective) -> None:
    layer = ALEXNET["conv4"]
    before = search(layer, EYERISS, objective).cost
    for larger in (
        replace(EYERISS, rows=24), replace(EYERISS, cols=28), replace(EYERISS, psum_pad=48),
        replace(EYERISS, filter_pad=448), replace(EYERISS, buffer_bytes=200 * 1024),
    ):  # fmt: skip
        after = search(layer, larger, objective).cost
        assert value(after, layer, objective) <= value(before, layer, objective)


@pytest.mark.parametrize(
    "layer",
    [
        conv(3, 64, 64, 224, 3, pad=1),
        conv(3, 512, 512, 14, 3, pad=1),
        conv(1, 96, 96, 28, 5, groups=96, pad=2),
        conv(2, 24, 16, 16, 4, stride=2, pad=1, size=8, op="conv_transpose"),
        Layer("fc", "linear", ("x",), ((3, 512),), (3, 100), batch=3, out_channels=100,
              in_channels=512),
        Layer("qk", "matmul", ("a", "b"), ((2, 9, 8), (2, 8, 9)), (2, 9, 9), out_channels=18,
              in_channels=16, groups=2, out_size=(9, 1)),
    ],
    ids=["wide", "deep", "depthwise", "transposed", "linear", "matmul"],
)  # fmt: skip
def test_layers_of_every_kind_get_a_mapping_with_plausible_cost(layer: Layer) -> None:
    found = search(layer).cost
    assert 0 < found.active_pes <= 168
    assert 0 < found.utilization <= 1
    assert found.cycles >= layer.macs / 168
    assert found.dram_bytes["inputs"] >= 2 * layer.in_elements[0]
    assert replay(layer, found.passes) == found


def test_a_layer_that_fits_nowhere_names_the_part_and_the_bytes_missing() -> None:
    with pytest.raises(MappingError, match="ifmap scratchpad needs 26 B, has 24: 2 B missing"):
        search(conv(kernel=13, out=2))
    with pytest.raises(MappingError, match=r"global buffer .* needs 110592 B, has 102400: 8192 B"):
        search(conv(kernel=3, out=13_000))


def test_an_unknown_objective_is_named_with_the_nearest() -> None:
    with pytest.raises(HwflowError, match="Did you mean 'latency'"):
        search(ALEXNET["conv3"], objective="latencies")  # type: ignore[arg-type]


def test_a_layer_without_macs_has_no_passes() -> None:
    with pytest.raises(WorkloadError, match="'pool'"):
        search(Layer("pool", "max_pool", ("x",), ((1, 1, 4, 4),), (1, 1, 2, 2)))


@given(st.integers(1, 400))
def test_tiles_by_trips_are_the_least_for_each_number_of_trips(size: int) -> None:
    tiles = least_by_trips(size)
    trips = [-(-size // tile) for tile in tiles]
    assert sorted(set(trips)) == sorted({-(-size // tile) for tile in range(1, size + 1)})
    assert all(
        tile == 1 or -(-size // (tile - 1)) > trip for tile, trip in zip(tiles, trips, strict=True)
    )
