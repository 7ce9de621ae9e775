"""Coarse: golden counts, HCM's formulas and the level's own definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chips import CHIPS, tiny
from hypothesis import given
from hypothesis import strategies as st
from sketches import Sketch, resnet50, resnet_cifar

from hwflow.cost import Cost
from hwflow.costs.coarse import Coarse
from hwflow.design import Design
from hwflow.machine.area import bops_per_pixel, pe_area_um2
from hwflow.workload import Workload


def uniform(workload: Workload, weight: int, tensor: int) -> Workload:
    names = [i.name for i in workload.inputs] + [layer.name for layer in workload]
    weights = {layer.name: weight for layer in workload}
    return workload.with_bits(weights, dict.fromkeys(names, tensor))


def cost(workload: Workload, machine: str = "eyeriss") -> Cost:
    return Coarse().cost(Design(workload, CHIPS[machine]))


@pytest.mark.parametrize(
    ("workload", "macs", "params", "shapes"),
    [
        (resnet_cifar(3), 40.55e6, 269_722, 7),
        (resnet_cifar(9), 125.49e6, 853_018, 7),
        (resnet50(), 4.089e9, 25_557_032, 24),
    ],
    ids=["resnet20", "resnet56", "resnet50"],
)
def test_published_sizes_of_resnets(
    workload: Workload, macs: float, params: int, shapes: int
) -> None:
    found = cost(workload)
    assert found.macs == pytest.approx(macs, rel=2e-4)
    assert found.params == params
    distinct = {
        (la.op, la.in_channels, la.out_channels, la.out_size, la.kernel, la.stride)
        for la in workload.mac_layers
    }
    assert len(distinct) == shapes


def test_bit_operations_are_macs_times_both_widths() -> None:
    workload = resnet_cifar()
    assert cost(uniform(workload, 4, 8)).bit_ops == workload.macs * 32
    assert cost(uniform(workload, 1, 1)).bit_ops == workload.macs


@pytest.mark.parametrize(("machine", "native"), [("eyeriss", 16), ("systolic-8x8", 8)])
def test_fractional_operations_are_macs_of_the_native_width(machine: str, native: int) -> None:
    workload = resnet_cifar()
    assert cost(workload, machine).frac_ops == workload.macs
    quantised = cost(uniform(workload, 4, 2), machine)
    assert quantised.frac_ops == pytest.approx(workload.macs * 8 / native**2)


def test_model_bytes_count_weights_at_their_bits_and_the_rest_at_32() -> None:
    net = Sketch((1, 3, 8, 8))
    net.conv("conv", "x", 4, 3)
    net.linear("fc", net.flat("flat", "conv"), 5)
    workload = net.done("small")
    conv, linear = 4 * 3 * 9, 256 * 5
    assert cost(workload).model_bytes == 4 * (conv + 8 + linear + 5)
    quantised = cost(workload.with_bits({"conv": 2, "fc": 3}, {}))
    assert quantised.model_bytes == (conv * 2 + linear * 3) / 8 + 4 * (8 + 5)


def test_a_layer_that_shares_its_weight_holds_none_of_the_model() -> None:
    net = Sketch((1, 4, 8, 8))
    net.conv("first", "x", 4, 3)
    shared = replace(
        net.layers[0], name="again", inputs=("first",), in_shapes=(net.layers[0].out_shape,),
        params=0,
    )  # fmt: skip
    net.layers.append(shared)
    found = cost(net.done("tied"))
    assert found.layers[1].model_bytes == 0
    assert found.layers[1].macs == found.layers[0].macs
    assert found.model_bytes == found.layers[0].model_bytes


def test_the_levels_latency_and_energy_are_scales_of_the_native_machine() -> None:
    net = Sketch((1, 2, 2, 2))
    net.conv("conv", "x", 2, 1, norm=False)
    workload = net.done("one")
    found = Coarse().cost(Design(uniform(workload, 4, 4), tiny()))
    macs, traffic = 16, (4 + 8 + 8) * 4
    assert found.latency_s == macs / 4
    assert found.dram_bytes == traffic / 8
    assert found.energy_j == macs / 4 * 1 + traffic * 2
    assert found.layers[0].bound_by == "compute"


def test_only_layers_with_macs_take_time_or_area() -> None:
    net = Sketch((1, 2, 2, 2))
    net.same("sum", "add", "x", net.conv("conv", "x", 2, 1))
    found = cost(net.done("two"))
    assert found.layers[1].latency_s == found.layers[1].area_um2 == 0
    assert found.layers[1].dram_bytes == 3 * 8 * 2
    assert found.layers[1].bound_by == "free"


def test_each_metric_has_its_standing() -> None:
    standing = cost(resnet_cifar(1)).standing
    exact = {"macs", "params", "bit_ops", "frac_ops", "model_bytes", "peak_bytes"}
    assert {name for name, value in standing.items() if value == "exact"} == exact
    assert {name for name, value in standing.items() if value == "bound"} == {"dram_bytes"}


@pytest.mark.parametrize(
    ("bits", "area"), [(8, 12.39 * 64 + 86.07 * 8 - 14.02), (4, 528.5), (1, 84.44)]
)
def test_hcms_area_of_equal_bits_is_its_quadratic_fit(bits: int, area: float) -> None:
    assert pe_area_um2(bits) == pytest.approx(area)


@pytest.mark.parametrize(("weight", "read"), [(8, 8), (4, 8), (2, 16)])
def test_hcms_area_of_a_pair_is_its_fit_in_bit_operations(weight: int, read: int) -> None:
    bops = 9 * (weight * read + weight + read + np.log2(9))
    assert pe_area_um2(weight, read) == pytest.approx(1.694 * bops + 153.46)


@pytest.mark.parametrize("bits", range(4, 17))
def test_hcms_two_fits_agree_from_four_bits_on(bits: int) -> None:
    assert pe_area_um2(bits, bits) == pytest.approx(float(pe_area_um2(bits)), rel=0.12)


def test_bit_operations_per_pixel_take_arrays_and_grow_with_the_accumulator() -> None:
    found = bops_per_pixel([64 * 9, 64 * 576], [9, 576], 8, 4)
    expected = [64 * 9 * (32 + 12 + np.log2(9)), 64 * 576 * (32 + 12 + np.log2(576))]
    assert found == pytest.approx(expected)


def test_the_widest_layer_decides_the_area() -> None:
    workload = uniform(resnet_cifar(1), 4, 4)
    wide = workload.with_bits({"layer2.0.conv1": 8}, {})
    found = cost(wide)
    assert found.area_um2 == pytest.approx(float(pe_area_um2(8, 4)))
    assert wide.layers[0].name == "conv1"
    assert found.layers[0].area_um2 == pytest.approx(float(pe_area_um2(4, 4)))


@pytest.mark.parametrize(("bits", "warned"), [(4, False), (3, True), (1, True)])
def test_areas_below_four_bits_are_marked_as_rough(bits: int, warned: bool) -> None:
    notes = cost(uniform(resnet_cifar(1), bits, 8)).notes
    assert any("Areas below 4 bits are rough" in note for note in notes) is warned


@given(st.integers(1, 16), st.integers(1, 16), st.integers(0, 8), st.integers(0, 8))
def test_area_grows_with_the_bits(weight: int, read: int, more: int, wider: int) -> None:
    assert pe_area_um2(weight + more, read + wider) >= pe_area_um2(weight, read)
    assert pe_area_um2(weight + more) >= pe_area_um2(weight)
