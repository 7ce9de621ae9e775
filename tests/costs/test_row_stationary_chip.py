"""Replay of given parameters on the chip: counts, limits, energy, errors."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chips import CHIPS, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from row_stationary_by_hand import ALEXNET, OWN, bands, conv, fits, walk

from hwflow.costs.chip import EYERISS, Chip, MappingError, Passes, Shape, check, limits, replay
from hwflow.errors import MachineError, WorkloadError
from hwflow.machine import load_machine
from hwflow.workload import Layer

ONE = Passes(1, 1, 1, 1, 1, 1, 1)


def test_the_preset_is_the_published_chip() -> None:
    assert Chip.of(load_machine("eyeriss")) == EYERISS
    assert EYERISS.pes == 168
    assert EYERISS.banks == 25


@pytest.mark.parametrize(("name", "active"), [("conv1", 154), ("conv2", 135), ("conv3", 156),
                                              ("conv4", 156), ("conv5", 156)])  # fmt: skip
def test_active_pes_of_alexnet_are_those_of_the_chip(name: str, active: int) -> None:
    assert replay(ALEXNET[name], OWN[name]).active_pes == active


@pytest.mark.parametrize("name", ALEXNET)
def test_a_replay_adds_up_what_a_walk_through_the_passes_does(name: str) -> None:
    cost, by_hand = replay(ALEXNET[name], OWN[name]), walk(ALEXNET[name], OWN[name], EYERISS)
    assert cost.pass_count == by_hand.passes
    assert cost.array_cycles == pytest.approx(by_hand.array_cycles, rel=1e-12)
    assert cost.buffer_bytes == {
        "psums": 2 * by_hand.psums,
        "ifmap_reads": 2 * by_hand.ifmap_reads,
        "ifmap_writes": 2 * by_hand.ifmap_writes,
    }
    assert cost.dram_bytes["weights"] == 2 * by_hand.weights


def test_partial_sums_dominate_the_buffer_as_published() -> None:
    # METHODS: 2 N K P Q ceil(C / (q r)) 2 B
    cost = replay(ALEXNET["conv4"], OWN["conv4"])
    assert cost.buffer_bytes["psums"] == 2 * 4 * 384 * 13 * 13 * 32 * 2


def test_conv3_as_printed_waits_for_the_port() -> None:
    printed = replay(ALEXNET["conv3"], Passes(64, 4, 13, 16, 4, 1, 4))
    assert printed.bound_by == "global buffer port"
    assert printed.cycles == sum(printed.buffer_bytes.values()) / 16
    assert replay(ALEXNET["conv3"], OWN["conv3"]).bound_by == "PE array"


layers = st.builds(
    conv, batch=st.integers(1, 3), filters=st.integers(1, 7), channels=st.integers(1, 6),
    out=st.integers(1, 7), kernel=st.integers(1, 3), stride=st.just(1), pad=st.just(0),
)  # fmt: skip


@st.composite
def mapped(draw: st.DrawFn) -> tuple[Layer, Passes]:
    layer = draw(layers)
    sizes = (layer.out_channels, layer.batch, layer.out_size[0], 8, 4, 4, 4)
    return layer, Passes(*(draw(st.integers(1, size)) for size in sizes))


@given(mapped())
@settings(max_examples=200, deadline=None)
def test_counts_hold_for_remainders_too(case: tuple[Layer, Passes]) -> None:
    layer, at = case
    if not fits(layer, at, EYERISS):
        return
    cost, by_hand = replay(layer, at), walk(layer, at, EYERISS)
    assert cost.pass_count == by_hand.passes
    assert cost.array_cycles == pytest.approx(by_hand.array_cycles)
    # a block of filters that p t does not divide still moves m filters' psums once
    assert cost.buffer_bytes["psums"] == 2 * by_hand.psums
    assert cost.buffer_bytes["ifmap_reads"] == 2 * by_hand.ifmap_reads
    assert cost.dram_bytes["weights"] == 2 * by_hand.weights


@given(mapped())
@settings(max_examples=200, deadline=None)
def test_limits_are_those_of_an_array_filled_by_hand(case: tuple[Layer, Passes]) -> None:
    layer, at = case
    small = Chip(rows=5, cols=3, filter_pad=20, ifmap_pad=6, psum_pad=4, buffer_bytes=320,
                 bank_bytes=32)  # fmt: skip
    broken = [limit for limit in limits(Shape.of(layer), at, small) if limit.missing]
    assert bool(broken) == (not fits(layer, at, small))


@given(st.integers(1, 12), st.integers(1, 60), st.integers(1, 16))
def test_sets_in_the_array_are_as_many_as_fit_band_by_band(rows: int, e: int, cols: int) -> None:
    chip = Chip(cols=cols)
    most = chip.sets(rows, e)
    assert not most or bands(e, most, cols) * rows <= 12
    assert bands(e, most + 1, cols) * rows > 12


def test_a_wide_set_lies_in_segments_as_on_the_chip() -> None:
    assert EYERISS.sets(5, 27) == 1  # conv2: 5 x 14 above 5 x 13
    assert EYERISS.sets(11, 7) == 2  # conv1: two sets side by side
    assert EYERISS.sets(3, 13) == 4  # conv3 to conv5
    assert EYERISS.sets(3, 57) == 0


@given(mapped(), st.sampled_from("nepqrtm"))
@settings(deadline=None)
def test_a_larger_tile_never_needs_less(case: tuple[Layer, Passes], name: str) -> None:
    layer, at = case
    larger = replace(at, **{name: getattr(at, name) + 1})
    shape = Shape.of(layer)
    before, after = limits(shape, at, EYERISS), limits(shape, larger, EYERISS)
    assert all(b.needs <= a.needs and b.has >= a.has for b, a in zip(before, after, strict=True))


def test_dram_moves_at_least_every_operand_once() -> None:
    for name, layer in ALEXNET.items():
        moved = replay(layer, OWN[name]).dram_bytes
        assert moved["weights"] >= 2 * layer.weights
        assert moved["inputs"] >= 2 * layer.in_elements[0]
        assert moved["outputs"] == 2 * layer.out_elements


def test_ifmaps_of_one_strip_are_read_once_for_each_block_of_filters() -> None:
    layer = ALEXNET["conv4"]
    assert replay(layer, OWN["conv4"]).dram_bytes["inputs"] == 3 * 2 * layer.in_elements[0]


def test_zeros_save_mac_energy_and_traffic_but_no_cycles() -> None:
    layer, at = ALEXNET["conv4"], OWN["conv4"]
    dense, sparse = replay(layer, at), replay(layer, at, density=0.25)
    assert sparse.mac_j == pytest.approx(dense.mac_j / 4)
    assert sparse.dram_bytes["inputs"] == pytest.approx(dense.dram_bytes["inputs"] / 3)
    assert sparse.cycles == dense.cycles
    assert sparse.buffer_bytes == dense.buffer_bytes
    assert replay(layer, at, replace(EYERISS, zero_gating=False), density=0.25).mac_j == dense.mac_j


def test_maps_without_zeros_are_stored_as_they_are() -> None:
    layer, at = ALEXNET["conv1"], OWN["conv1"]
    assert replay(layer, at, density=0.9).dram_bytes == replay(layer, at).dram_bytes


def test_chip_energy_is_power_over_time_and_work() -> None:
    layer, at = ALEXNET["conv3"], OWN["conv3"]
    cost = replay(layer, at, density=0.5)
    words = sum(cost.buffer_bytes.values()) / 2
    wanted = 0.195 * 0.02 + 6e-12 * layer.macs * 0.5 + 15e-12 * words
    assert cost.energy_j(0.02) == pytest.approx(wanted)
    assert cost.energy_j() == pytest.approx(wanted + 0.195 * (cost.total_s - 0.02))
    assert sum(cost.energy_by_part().values()) == cost.energy_j()
    assert cost.dram_j == pytest.approx(460e-12 * sum(cost.dram_bytes.values()) / 2)


def test_time_is_cycles_by_the_clock_and_the_wait_for_dram() -> None:
    cost = replay(ALEXNET["conv2"], OWN["conv2"])
    assert cost.processing_s == cost.cycles / 200e6
    assert cost.total_s - cost.processing_s == pytest.approx(sum(cost.dram_bytes.values()) / 1.37e9)
    assert cost.utilization == pytest.approx(ALEXNET["conv2"].macs / (168 * cost.cycles))


def test_bits_of_operands_change_nothing_on_a_16_bit_chip() -> None:
    narrow = replace(ALEXNET["conv4"], weight_bits=4, input_bits=(4,), output_bits=4)
    assert replay(narrow, OWN["conv4"]) == replay(ALEXNET["conv4"], OWN["conv4"])


def test_groups_cost_what_they_cost_alone() -> None:
    both, one = ALEXNET["conv5"], conv(4, 128, 192, 13, 3, pad=1)
    assert replay(both, OWN["conv5"]).cycles == 2 * replay(one, OWN["conv5"]).cycles


def test_a_mapping_that_does_not_fit_names_every_part_and_what_is_missing() -> None:
    with pytest.raises(MappingError) as caught:
        replay(ALEXNET["conv4"], Passes(96, 4, 13, 25, 5, 2, 3))
    message = str(caught.value)
    assert "ifmap scratchpad needs 30 B, has 24: 6 B missing" in message
    assert "filter scratchpad needs 750 B, has 448: 302 B missing" in message
    assert "psum scratchpad needs 50 B, has 48: 2 B missing" in message
    assert "PE array needs 78 columns of 3 PEs, has 56: 22 columns of 3 PEs missing" in message
    assert "global buffer needs 147792 B, has 110592: 37200 B missing" in message
    assert "Lower q" in message


def test_what_the_search_may_take_is_narrower_than_what_a_replay_may() -> None:
    with pytest.raises(MappingError) as caught:
        check(Shape.of(ALEXNET["conv4"]), Passes(96, 4, 13, 16, 3, 2, 3), EYERISS)
    message = str(caught.value)
    assert "PE array needs 6 sets of 3x13 PEs, has 4: 2 sets" in message
    assert "global buffer (ifmaps and psums) needs 143360 B, has 102400: 40960 B" in message


def test_a_replay_beyond_the_assumed_banks_has_a_note_and_a_cost() -> None:
    layer, passes = ALEXNET["conv4"], Passes(70, 4, 13, 14, 3, 2, 2)
    with pytest.raises(MappingError, match="global buffer"):
        check(Shape.of(layer), passes, EYERISS)
    over = replay(layer, passes)
    assert "has 102400: 8192 B missing" in over.note
    assert "assumed" in over.note
    assert over.cycles > 0
    assert replay(layer, OWN["conv4"]).note == ""


def test_a_replay_of_sets_that_are_cut_otherwise_has_a_note() -> None:
    layer = conv(1, 64, 64, 28, 3, pad=1)
    cut = replay(layer, Passes(16, 1, 4, 16, 4, 1, 13))  # 13 sets of 3 x 4 PEs, 12 lie abreast
    assert "PE array needs 13 sets of 3x4 PEs, has 12" in cut.note
    assert cut.active_pes == 156
    with pytest.raises(MappingError, match="needs 60 columns of 3 PEs, has 56"):
        replay(layer, Passes(16, 1, 4, 16, 4, 1, 15))


@pytest.mark.parametrize(("e", "sets", "active"), [(27, 1, 81), (28, 2, 168), (52, 1, 156)])
def test_strips_wider_than_the_array_are_folded(e: int, sets: int, active: int) -> None:
    layer = conv(3, 64, 64, 56, 3, pad=1)
    cost = replay(layer, Passes(4, 1, e, 4, 4, 1, sets))
    assert cost.active_pes == active
    assert cost.note == ""


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("m", 193, "192 filters in each group, the mapping takes m = 193"),
        ("n", 5, "4 images in each group, the mapping takes n = 5"),
        ("e", 14, "13 output rows in each group, the mapping takes e = 14"),
    ],
)
def test_tiles_larger_than_the_layer_are_refused(name: str, value: int, message: str) -> None:
    with pytest.raises(MappingError, match=message):
        check(Shape.of(ALEXNET["conv4"]), replace(ONE, **{name: value}), EYERISS)


def test_a_kernel_taller_than_the_array_lacks_rows() -> None:
    with pytest.raises(MappingError, match="PE array needs 13 rows, has 12: 1 rows missing"):
        replay(conv(kernel=13, out=2), ONE, replace(EYERISS, ifmap_pad=13))


@pytest.mark.parametrize("density", [-0.1, 1.1, float("nan")])
def test_a_density_outside_0_to_1_is_refused(density: float) -> None:
    with pytest.raises(WorkloadError, match="density of the inputs"):
        replay(ALEXNET["conv3"], OWN["conv3"], density=density)
    with pytest.raises(WorkloadError, match="density of the outputs"):
        replay(ALEXNET["conv3"], OWN["conv3"], output_density=density)


@pytest.mark.parametrize("name", ["systolic-8x8", "bismo", "simd-16"])
def test_a_machine_of_another_kind_is_no_row_stationary_chip(name: str) -> None:
    with pytest.raises(MachineError, match=f"{name!r} is no row-stationary chip"):
        Chip.of(CHIPS[name])


def test_a_buffer_that_only_holds_filters_is_refused() -> None:
    eyeriss = CHIPS["eyeriss"]
    plain = eyeriss.model_dump(mode="json", by_alias=True)
    for size, message in (("8 KiB", "no larger than"), ("unlimited", "buffer is unlimited")):
        glb = {**plain["memory"][1], "size": size if size == "unlimited" else
               {"value": size, "source": "test"}}  # fmt: skip
        machine = type(eyeriss).model_validate({**plain, "memory": [plain["memory"][0], glb]})
        with pytest.raises(MachineError, match=message):
            Chip.of(machine)


def test_a_machine_without_scratchpads_is_refused() -> None:
    with pytest.raises(MachineError, match="'tiny' is no row-stationary chip"):
        Chip.of(tiny())
