"""Workloads as arrays: liveness, traffic, and tables that agree with single costs."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from chips import CHIPS, NAMES, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from sketches import Sketch, matmul, networks, random_bits, resnet_cifar

from hwflow.cost import METRICS as ALL_METRICS
from hwflow.cost import Bits
from hwflow.costs import arrays as module
from hwflow.costs.arrays import Operands, arrays, sliding_reuse, traffic_bits
from hwflow.costs.coarse import Coarse
from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.errors import WorkloadError
from hwflow.machine import load_machine
from hwflow.workload import VIEW_OPS, Workload

LEVELS = (Coarse(), Mid())
METRICS = {name: m for name, m in ALL_METRICS.items() if name not in ("luts", "brams")}
"""What cost models give; look-up tables and block RAMs are the machine's own."""


def assigned(workload: Workload, bits: Bits, row: int) -> Workload:
    """The workload with one row of the assignments."""
    tensors = [i.name for i in workload.inputs] + [layer.name for layer in workload]
    weights = zip([la.name for la in workload], bits.weights[row].tolist(), strict=True)
    return workload.with_bits(
        dict(weights), dict(zip(tensors, bits.tensors[row].tolist(), strict=True))
    )


def storages(workload: Workload, name: str) -> set[str]:
    """The tensors whose memory holds the values of `name`: views own none."""
    if name in workload and workload[name].op in VIEW_OPS and workload[name].inputs:
        return set().union(*(storages(workload, source) for source in workload[name].inputs))
    return {name}


def simulated_peaks(workload: Workload, width: int) -> list[float]:
    """Bytes alive while each layer runs, by running the network and freeing what is done with."""
    size = {i.name: prod(i.shape) for i in workload.inputs}
    size |= {layer.name: layer.out_elements for layer in workload}
    alive = {i.name for i in workload.inputs}
    peaks = []
    for index, layer in enumerate(workload):
        alive |= storages(workload, layer.name)
        peaks.append(sum(size[name] for name in alive) * width / 8)
        later = workload.layers[index + 1 :]
        needed = {s for la in later for name in la.inputs for s in storages(workload, name)}
        needed |= {s for name in workload.outputs for s in storages(workload, name)}
        alive &= needed
    return peaks


@given(networks())
def test_peak_bytes_are_those_of_a_run_that_frees_what_is_done_with(workload: Workload) -> None:
    chip = CHIPS["eyeriss"]
    found = Mid().cost(Design(workload, chip))
    expected = simulated_peaks(workload, chip.native_bits)
    assert [layer.peak_bytes for layer in found.layers] == expected
    assert found.peak_bytes == max(expected)


def test_a_residual_tensor_is_kept_until_the_add() -> None:
    net = Sketch((1, 4, 8, 8))
    first = net.conv("first", "x", 4, 1)
    body = net.conv("body", first, 4, 3)
    net.same("sum", "add", body, first)
    net.conv("last", "sum", 2, 1)
    found = Coarse().cost(Design(net.done("residual"), CHIPS["eyeriss"]))
    one = 4 * 64 * 2
    assert [layer.peak_bytes for layer in found.layers] == [2 * one, 2 * one, 3 * one, 1.5 * one]


def test_a_view_needs_no_memory_and_keeps_what_it_views() -> None:
    net = Sketch((1, 4, 8, 8))
    first = net.conv("first", "x", 4, 1)
    view = net.add("view", "slice", (first,), (1, 2, 8, 8))
    body = net.conv("body", "x", 2, 1)
    net.same("sum", "add", body, view)
    found = Coarse().cost(Design(net.done("viewed"), CHIPS["eyeriss"]))
    one = 64 * 2
    expected = [8 * one, 8 * one, 10 * one, 8 * one]
    assert [layer.peak_bytes for layer in found.layers] == expected


def test_network_outputs_stay_to_the_end() -> None:
    net = Sketch((1, 4, 8, 8))
    net.conv("early", "x", 4, 1)
    net.conv("late", "x", 4, 1)
    kept = Coarse().cost(Design(net.done("two heads", "early", "late"), CHIPS["eyeriss"]))
    dropped = Coarse().cost(Design(net.done("one head", "late"), CHIPS["eyeriss"]))
    one = 4 * 64 * 2
    assert kept.layers[1].peak_bytes == 3 * one
    assert dropped.layers[1].peak_bytes == 2 * one


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.level)
@settings(max_examples=40)
@given(workload=networks(), name=st.sampled_from(NAMES), seed=st.integers(0, 99))
def test_rows_of_a_table_are_the_costs_of_their_designs(
    level: Coarse | Mid, workload: Workload, name: str, seed: int
) -> None:
    bits = random_bits(workload, 3, seed)
    table = level.over_bits(Design(workload, CHIPS[name]), bits)
    for row in range(3):
        single = level.cost(Design(assigned(workload, bits, row), CHIPS[name]))
        assert table[row].total == single.total
        assert table[row].layers == single.layers


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.level)
def test_a_row_does_not_depend_on_how_many_are_costed_at_once(level: Coarse | Mid) -> None:
    workload = resnet_cifar()
    bits = random_bits(workload, module.ROWS + 3)
    design = Design(workload, CHIPS["bitfusion"])
    table = level.over_bits(design, bits)
    for row in (0, module.ROWS - 1, module.ROWS, module.ROWS + 2):
        one = Bits(bits.weights[row : row + 1], bits.tensors[row : row + 1])
        assert level.over_bits(design, one)[0] == table[row]


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.level)
def test_no_rows_give_an_empty_table(level: Coarse | Mid) -> None:
    workload = resnet_cifar()
    table = level.over_bits(Design(workload, CHIPS["eyeriss"]), random_bits(workload, 0))
    assert len(table) == 0
    assert table.total["latency_s"].shape == (0,)
    assert table.layers["macs"].shape == (0, len(workload))


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.level)
def test_many_designs_are_costed_in_their_order(level: Coarse | Mid) -> None:
    small, large = resnet_cifar(1), resnet_cifar(2)
    designs = [
        Design(assigned(workload, random_bits(workload, 1, seed), 0), CHIPS[name])
        for seed, (workload, name) in enumerate(
            [(small, "eyeriss"), (large, "simd-16"), (small, "simd-16"), (small, "eyeriss")]
        )
    ]
    assert level.costs(designs) == [level.cost(design) for design in designs]
    assert level.costs([]) == []


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.level)
@settings(max_examples=30)
@given(workload=networks(), name=st.sampled_from(NAMES), seed=st.integers(0, 99))
def test_fewer_bits_never_cost_more(
    level: Coarse | Mid, workload: Workload, name: str, seed: int
) -> None:
    wide = random_bits(workload, 4, seed, range(1, 17))
    rng = np.random.default_rng(seed + 1)
    narrow = Bits(
        np.maximum(1, wide.weights - rng.integers(0, 8, wide.weights.shape)),
        np.maximum(1, wide.tensors - rng.integers(0, 8, wide.tensors.shape)),
    )
    design = Design(workload, CHIPS[name])
    more, less = level.over_bits(design, wide), level.over_bits(design, narrow)
    for metric in METRICS:
        assert (less.layers[metric] <= more.layers[metric] * (1 + 1e-12)).all(), metric
        assert (less.total[metric] <= more.total[metric] * (1 + 1e-12)).all(), metric


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.level)
@given(workload=networks())
def test_every_level_gives_every_metric_and_totals_that_add_up(
    level: Coarse | Mid, workload: Workload
) -> None:
    table = level.over_bits(Design(workload, CHIPS["simd-16"]), random_bits(workload, 2))
    assert set(table.total) == set(table.layers) == set(table.standing) == set(METRICS)
    for name, metric in METRICS.items():
        by_layer = table.layers[name]
        total = by_layer.max(axis=1) if metric.total == "max" else by_layer.sum(axis=1)
        assert table.total[name] == pytest.approx(total)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.level)
def test_parameters_of_no_layer_count_in_the_total_at_32_bits(level: Coarse | Mid) -> None:
    plain = resnet_cifar(1)
    loose = Workload(plain.name, plain.layers, plain.inputs, plain.outputs, loose_params=1000)
    machine = CHIPS["eyeriss"]
    without, found = level.cost(Design(plain, machine)), level.cost(Design(loose, machine))
    assert found.params == without.params + 1000
    assert found.model_bytes == without.model_bytes + 4000
    assert found.layers == without.layers


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.level)
@given(workload=networks(), times=st.integers(2, 5))
def test_a_batch_multiplies_work_and_activations(
    level: Coarse | Mid, workload: Workload, times: int
) -> None:
    machine = CHIPS["systolic-8x8"]
    one = level.cost(Design(workload, machine))
    many = level.cost(Design(workload.with_batch(times), machine))
    for name in ("macs", "bit_ops", "frac_ops", "peak_bytes"):
        assert many.total[name] == times * one.total[name]
    for name in ("params", "model_bytes", "area_um2"):
        assert many.total[name] == one.total[name]
    for name in ("latency_s", "energy_j", "dram_bytes"):
        assert one.total[name] <= many.total[name] <= times * one.total[name] * (1 + 1e-12)


def test_traffic_moves_each_operand_once() -> None:
    net = Sketch((2, 4, 8, 8))
    net.conv("conv", "x", 6, 3)
    net.same("sum", "add", "conv", "conv")
    net.add("view", "reshape", ("sum",), (2, 384))
    const = arrays(net.done("traffic"))
    weights, tensors = np.array([[3, 0, 0]]), np.array([[5, 7, 2, 2]])
    found = traffic_bits(const, weights, tensors)
    conv = 6 * 4 * 9 * 3 + 2 * 4 * 64 * 5 + 2 * 6 * 64 * 7
    add = 2 * 6 * 64 * 7 + 2 * 6 * 64 * 2
    assert found.tolist() == [[conv, add, 0]]


def test_a_product_of_activations_reads_its_second_operand_at_that_tensors_bits() -> None:
    workload = matmul()
    const = arrays(workload)
    bits = Bits(np.array([[4, 4, 9, 9, 9]]), np.array([[8, 6, 3, 2, 5, 7]]))
    at = Operands.of(const, tiny(), bits)
    assert at.weights.tolist() == [[4, 4, 3, 9, 8]]
    assert at.reads[0, [0, 2, 4]].tolist() == [8, 6, 5]
    found = traffic_bits(const, at.weights, bits.tensors)
    elements = 4 * 6 * 8
    assert found[0, 2] == elements * 6 + elements * 3 + 4 * 36 * 2
    assert found[0, 4] == 4 * 36 * 5 + elements * 8 + elements * 7


def test_a_tensor_read_twice_moves_once_and_a_matrix_shared_by_a_batch_too() -> None:
    net = Sketch((1, 4, 8, 8))
    net.add("both", "concat", ("x", "x"), (1, 8, 8, 8))
    found = traffic_bits(arrays(net.done("twice")), np.array([[8]]), np.array([[1, 1]]))
    assert found.tolist() == [[4 * 64 + 8 * 64]]


def test_a_strided_pointwise_convolution_moves_a_quarter_of_its_input() -> None:
    net = Sketch((1, 4, 8, 8))
    net.conv("cut", "x", 4, 1, stride=2)
    const = arrays(net.done("strided"))
    found = traffic_bits(const, np.array([[1]]), np.array([[1, 1]]))
    assert found.tolist() == [[16 + 4 * 16 + 4 * 16]]


@pytest.mark.parametrize(
    ("kernel", "stride", "size", "rho"),
    [(3, 1, 8, 9), (1, 1, 8, 1), (1, 2, 8, 1), (3, 2, 8, 2.25), (7, 2, 224, 3.5**2),
     (3, 3, 9, (9 / 8) ** 2), (3, 2, 1, 9), (3, 2, 7, (12 / 7) ** 2)],
)  # fmt: skip
def test_sliding_reuse_is_kernel_over_stride_or_more_where_padding_helps(
    kernel: int, stride: int, size: int, rho: float
) -> None:
    net = Sketch((1, 2, size, size))
    net.conv("conv", "x", 2, kernel, stride)
    assert sliding_reuse(net.layers[0]) == pytest.approx(rho)


def test_only_convolutions_slide() -> None:
    net = Sketch((1, 8))
    net.linear("fc", "x", 4)
    assert sliding_reuse(net.layers[0]) == 1


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.level)
@pytest.mark.parametrize(
    ("weights", "tensors", "message"),
    [
        ((1, 3), (1, 4), r"weights must be \(n, 2\) and tensors \(n, 3\)"),
        ((1, 2), (1, 2), r"weights must be \(n, 2\) and tensors \(n, 3\)"),
        ((2, 2), (1, 3), "do not fit"),
    ],
)
def test_bits_of_another_network_are_refused(
    level: Coarse | Mid, weights: tuple[int, int], tensors: tuple[int, int], message: str
) -> None:
    net = Sketch((1, 2, 4, 4))
    net.conv("b", net.conv("a", "x", 2, 1), 2, 1)
    bits = Bits(np.full(weights, 8), np.full(tensors, 8))
    with pytest.raises(WorkloadError, match=message):
        level.over_bits(Design(net.done("two"), tiny()), bits)


@pytest.mark.parametrize("wrong", [0, 33, -1])
def test_bits_that_no_operand_has_are_refused(wrong: int) -> None:
    workload = resnet_cifar(1)
    bits = random_bits(workload, 2)
    bits.weights[1, 3] = wrong
    with pytest.raises(WorkloadError, match=f"Operands of {wrong} bits: allowed are 1 to 32"):
        Mid().over_bits(Design(workload, tiny()), bits)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.level)
def test_notes_tell_what_was_assumed(level: Coarse | Mid) -> None:
    net = Sketch((1, 4, 8, 8))
    net.same("odd", "unknown", net.conv("conv", "x", 4, 3))
    workload = net.done("odd one")
    notes = " ".join(level.cost(Design(workload, CHIPS["eyeriss"])).notes)
    assert "1 layers have operators that hwflow does not know (odd)" in notes
    assert "costed at 16 bits, the native width of eyeriss" in notes
    known = resnet_cifar(1)
    quantised = level.over_bits(Design(known, CHIPS["eyeriss"]), random_bits(known, 1, choices=[8]))
    assert quantised.notes == ()


def test_a_relative_machine_says_so() -> None:
    found = Mid().cost(Design(resnet_cifar(1), load_machine("eyeriss-isca16")))
    assert any("1 pJ stands for one MAC" in note for note in found.notes)


def test_levels_say_who_they_are() -> None:
    assert {level.digest() for level in LEVELS} == {"coarse-1", "mid-1"}
