"""Mid: the roofline by hand, against a tiling search, and the OPS-roofline."""

from __future__ import annotations

from itertools import product
from math import ceil, inf, prod, sqrt

import numpy as np
import pytest
from chips import CHIPS, NAMES, figure, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from sketches import Sketch, matmul, networks, random_bits, resnet50, resnet_cifar

from hwflow.costs.coarse import Coarse
from hwflow.costs.mid import Mid, Roofline, ops_roofline
from hwflow.design import Design
from hwflow.machine import Accelerator
from hwflow.machine.area import pe_area_um2
from hwflow.workload import Layer, Workload, touched_rows


def single(outs: int = 2, kernel: int = 1, size: int = 2, ins: int = 2, **more: int) -> Workload:
    net = Sketch((1, ins, size, size))
    net.conv("conv", "x", outs, kernel, norm=False, **more)
    return net.done("one")


def quantised(workload: Workload, weight: int, read: int, out: int) -> Workload:
    return workload.with_bits({"conv": weight}, {"x": read, "conv": out})


def test_a_layer_by_hand() -> None:
    """16 MACs on one multiplier; W 4 x 4 b, I 8 x 2 b, O 8 x 8 b; all of it fits the buffer."""
    found = Mid().cost(Design(quantised(single(), 4, 2, 8), tiny()))
    traffic = 4 * 4 + 8 * 2 + 8 * 8
    assert found.dram_bytes == traffic / 8
    assert found.latency_s == max(16, traffic / 8)
    assert found.energy_j == 16 * 1 + traffic * 2
    assert found.layers[0].bound_by == "compute"


def test_a_slow_memory_binds() -> None:
    found = Mid().cost(Design(quantised(single(ins=1, outs=1), 8, 8, 8), tiny()))
    assert found.latency_s == 1 + 4 + 4
    assert found.layers[0].bound_by == "dram"


def test_a_small_buffer_adds_traffic() -> None:
    """1 x 1 convolution of 64 x 64 channels on 64 pixels, 32 bytes on the chip."""
    workload = quantised(single(outs=64, ins=64, size=8), 8, 4, 2)
    found = Mid().cost(Design(workload, tiny("32 B")))
    bound = 2 * 64**3 * sqrt(8 * 4 * 2 / 256)
    assert bound > 64 * 64 * (8 + 4 + 2)
    assert found.dram_bytes == pytest.approx(bound / 8)


def test_reuse_by_sliding_lowers_the_traffic() -> None:
    plain = quantised(single(outs=64, ins=64, size=8), 8, 8, 8)
    slid = quantised(single(outs=64, ins=64, size=8, kernel=3), 8, 8, 8)
    machine = tiny("32 B")
    per_mac = [Mid().cost(Design(w, machine)).dram_bytes / w.macs for w in (plain, slid)]
    assert per_mac[1] == pytest.approx(per_mac[0] / 3)


def test_layers_without_macs_cost_their_traffic_and_views_nothing() -> None:
    net = Sketch((1, 2, 4, 4))
    net.same("sum", "add", "x", net.conv("conv", "x", 2, 3))
    net.flat("flat", net.pool("pool", "avg_pool", "sum", 1))
    found = Mid().cost(Design(net.done("mixed"), tiny()))
    layers = {layer.name: layer for layer in found.layers}
    assert layers["sum"].dram_bytes == layers["sum"].latency_s == 3 * 32
    assert layers["sum"].energy_j == 3 * 32 * 8 * 2
    assert layers["pool"].dram_bytes == 32 + 2
    assert layers["flat"].dram_bytes == layers["flat"].latency_s == layers["flat"].energy_j == 0
    assert [layer.bound_by for layer in found.layers] == ["compute", "dram", "dram", "free"]


def test_unknown_operators_cost_their_traffic() -> None:
    net = Sketch((1, 2, 4, 4))
    net.same("odd", "unknown", "x")
    found = Mid().cost(Design(net.done("odd"), tiny()))
    assert found.layers[0].dram_bytes == 2 * 32
    assert found.layers[0].macs == 0


def test_word_packing_moves_whole_words() -> None:
    workload = quantised(single(), 5, 9, 16)
    dense = Mid().cost(Design(workload, tiny()))
    padded = Mid().cost(Design(workload, tiny(packing="word")))
    assert dense.dram_bytes == (4 * 5 + 8 * 9 + 8 * 16) / 8
    assert padded.dram_bytes == pytest.approx((4 * 16 / 3 + 8 * 16 + 8 * 16) / 8)
    assert padded.model_bytes == dense.model_bytes


def test_a_chip_without_limits_moves_each_operand_once() -> None:
    store = {"word": figure(16), "read": figure("2 J/b"), "write": figure("2 J/b")}
    machine = tiny(
        memory=[
            {"name": "DRAM", "size": "unlimited", "bandwidth": figure("1 B/s"), **store},
            {"name": "GLB", "size": "unlimited", **store},
        ]
    )
    assert machine.onchip_bits == inf
    design = Design(quantised(single(outs=64, ins=64, size=8), 8, 4, 2), machine)
    assert Mid().cost(design).dram_bytes == Coarse().cost(design).dram_bytes


@pytest.mark.parametrize("name", NAMES)
def test_resnet20_is_compulsory_on_real_buffers(name: str) -> None:
    design = Design(resnet_cifar(), CHIPS[name])
    assert Mid().cost(design).dram_bytes == pytest.approx(Coarse().cost(design).dram_bytes)


@settings(max_examples=40)
@given(networks(), st.sampled_from(NAMES), st.integers(0, 99))
def test_traffic_is_never_below_moving_each_operand_once(
    workload: Workload, name: str, seed: int
) -> None:
    design, bits = Design(workload, CHIPS[name]), random_bits(workload, 3, seed)
    once = Coarse().over_bits(design, bits).layers["dram_bytes"]
    assert (Mid().over_bits(design, bits).layers["dram_bytes"] >= once * (1 - 1e-12)).all()


def by_formula(layer: Layer, machine: Accelerator) -> tuple[float, float, float]:
    """Latency, energy and traffic of a convolution, straight from METHODS' formulas."""
    weight, read, out = (
        int(machine.width(b)) for b in (layer.weight_bits, layer.input_bits[0], layer.output_bits)
    )
    once = layer.weights * weight + layer.in_elements[0] * read + layer.out_elements * out
    rho = prod(max(1, k / s) for k, s in zip(layer.kernel, layer.stride, strict=True))
    tiled = 2 * layer.macs * sqrt(weight * read * out / (rho * machine.onchip_bits))
    moved = max(once, tiled)
    compute = layer.macs / (
        machine.pes * float(machine.macs_per_cycle(weight, read)) * machine.clock_hz
    )
    latency = max(compute, moved / 8 / machine.dram_bytes_per_s)
    energy = layer.macs * float(machine.mac_energy_j(weight, read))
    return latency, energy + moved * machine.dram_j_per_bit, moved / 8


@pytest.mark.parametrize("name", NAMES)
def test_resnet50_follows_the_formulas_layer_by_layer(name: str) -> None:
    workload, machine = resnet50(), CHIPS[name]
    names = [layer.name for layer in workload]
    rng = np.random.default_rng(0)
    mixed = workload.with_bits(
        dict(zip(names, rng.integers(1, 9, len(names)).tolist(), strict=True)),
        dict(zip(names, rng.integers(1, 9, len(names)).tolist(), strict=True)),
    )
    found = Mid().cost(Design(mixed, machine))
    for layer, paid in zip(mixed, found.layers, strict=True):
        if layer.op == "conv":
            expected = by_formula(layer, machine)
            assert (paid.latency_s, paid.energy_j, paid.dram_bytes) == pytest.approx(expected)


def best_tiling(layer: Layer, capacity: float) -> float:
    """Least off-chip bits over all tilings of a convolution that fit one buffer.

    Tile sizes of K, C, P, Q; each tensor is moved once per trip of its own loops and of the outer
    loops, the tensor whose foreign loops are innermost is moved once per tile. Outputs that are
    visited f times move 2 f - 1 times.
    """
    (rows, cols), (kernel, _), (stride, _) = layer.out_size, layer.kernel, layer.stride
    reach = touched_rows(
        layer.in_shapes[0][-1], rows, kernel, stride, layer.dilation[0], layer.padding[0]
    )
    best = inf
    sizes = (layer.out_channels, layer.in_channels, rows, cols)
    for tile in product(*(range(1, size + 1) for size in sizes)):
        k, c, p, q = tile
        trips = [ceil(size / t) for size, t in zip(sizes, tile, strict=True)]
        span = [min((t - 1) * stride + kernel, reach) for t in (p, q)]
        weight = k * c * kernel**2 * layer.weight_bits
        read = c * span[0] * span[1] * layer.input_bits[0]
        out = k * p * q * layer.output_bits
        if weight + read + out <= capacity:
            best = min(best, nest_traffic((weight, read, out), trips))
    return best


def nest_traffic(bits: tuple[int, int, int], trips: list[int]) -> float:
    """Traffic of tiles of these bits (W, I, O) for the best choice of the stationary tensor."""
    n_k, n_c, n_pq = trips[0], trips[1], trips[2] * trips[3]
    foreign = (n_pq, n_k, n_c)
    own = (n_k * n_c, n_c * n_pq, n_k * n_pq)
    best = inf
    for stationary in range(3):
        moves = [o * (1 if i == stationary else f) for i, (o, f) in
                 enumerate(zip(own, foreign, strict=True))]  # fmt: skip
        visits = moves[2] / own[2]
        moves[2] = own[2] * (2 * visits - 1)
        best = min(best, sum(b * m for b, m in zip(bits, moves, strict=True)))
    return best


@settings(max_examples=60, deadline=None)
@given(
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)), size=st.integers(1, 7),
    kernel=st.sampled_from((1, 3, 5)), stride=st.integers(1, 3),
    bits=st.tuples(*[st.sampled_from((1, 2, 4, 8, 16))] * 3),
    buffer=st.integers(4, 200),
)  # fmt: skip
def test_the_estimate_is_never_above_the_best_tiling(
    channels: tuple[int, int], size: int, kernel: int, stride: int,
    bits: tuple[int, int, int], buffer: int,
) -> None:  # fmt: skip
    workload = single(outs=channels[0], ins=channels[1], size=size, kernel=kernel, stride=stride)
    design = Design(quantised(workload, *bits), tiny(f"{buffer} B"))
    found = Mid().cost(design).dram_bytes * 8
    assert found <= best_tiling(design.workload["conv"], buffer * 8) * (1 + 1e-9)


def test_padding_that_supplies_most_of_the_kernel_does_not_raise_the_estimate() -> None:
    """With ρ = (R/stride)² alone this layer would be put at 1.27 times its best tiling."""
    workload = quantised(single(outs=48, ins=48, size=1, kernel=3, stride=2), 1, 8, 16)
    found = Mid().cost(Design(workload, tiny("8 B"))).dram_bytes * 8
    assert found <= best_tiling(workload["conv"], 64)


@pytest.fixture(scope="module")
def roofline() -> Roofline:
    return ops_roofline(Design(resnet_cifar(), CHIPS["simd-16"]))


def test_the_roofline_has_a_point_for_each_layer_with_macs(roofline: Roofline) -> None:
    count = len(resnet_cifar().mac_layers)
    assert len(roofline.layers) == count
    for values in (roofline.ops_per_bit, roofline.ops_per_s, roofline.ridge, roofline.weight_bits):
        assert values.shape == (count,)


def test_points_lie_on_the_lower_of_both_roofs(roofline: Roofline) -> None:
    slope = roofline.bits_per_s * roofline.ops_per_bit
    assert (roofline.ops_per_s == np.minimum(slope, roofline.roofs[0])).all()
    bound = roofline.ops_per_bit >= roofline.ridge
    assert (roofline.ops_per_s[bound] == roofline.roofs[0]).all()
    assert (roofline.ops_per_s[~bound] < roofline.roofs[0]).all()


@pytest.mark.parametrize("name", NAMES)
def test_attainable_speed_is_that_of_the_latency(name: str) -> None:
    design = Design(resnet50(), CHIPS[name])
    points = ops_roofline(design)
    found = {layer.name: layer for layer in Mid().cost(design).layers}
    speed = [2 * found[n].macs / found[n].latency_s for n in points.layers]
    assert points.ops_per_s == pytest.approx(np.array(speed))
    bound = [found[n].bound_by == "compute" for n in points.layers]
    assert bound == list(points.ops_per_bit >= points.ridge * (1 - 1e-12))


def test_fewer_bits_move_a_layer_to_the_right_and_its_roof_up() -> None:
    wide = ops_roofline(Design(quantised(single(), 8, 8, 8), CHIPS["simd-16"]))
    narrow = ops_roofline(Design(quantised(single(), 2, 2, 2), CHIPS["simd-16"]))
    assert narrow.ops_per_bit[0] == pytest.approx(4 * wide.ops_per_bit[0])
    assert narrow.roofs[0] == pytest.approx(4 * wide.roofs[0])
    assert (wide.pairs, narrow.pairs) == (((8, 8),), ((2, 2),))


def test_smaller_multipliers_fill_the_same_area() -> None:
    chip = CHIPS["eyeriss"]
    points = ops_roofline(Design(quantised(single(), 4, 8, 8), chip))
    native = 2 * float(chip.peak_macs_per_s(16, 16))
    assert points.roofs[0] == native
    assert points.area_roofs[0] == pytest.approx(
        native * float(pe_area_um2(16, 16) / pe_area_um2(4, 8))
    )


def test_at_the_native_width_both_compute_roofs_are_one() -> None:
    for name in NAMES:
        points = ops_roofline(Design(single(), CHIPS[name]))
        assert points.pairs == ((CHIPS[name].native_bits,) * 2,)
        assert points.area_roofs == pytest.approx(points.roofs)


def test_products_of_activations_have_points_too() -> None:
    points = ops_roofline(Design(matmul(), CHIPS["eyeriss"]))
    assert points.layers == ("q", "scores", "mix")
    assert (points.ops_per_bit > 0).all()


def test_the_estimates_are_marked_as_such() -> None:
    standing = Mid().cost(Design(single(), tiny())).standing
    for name in ("latency_s", "energy_j", "dram_bytes", "area_um2"):
        assert standing[name] == "estimate"
