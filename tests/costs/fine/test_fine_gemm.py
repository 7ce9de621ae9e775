"""The GEMM view: im2col shapes, the engines' laws on convolutions, more traffic and never less."""

from __future__ import annotations

from math import ceil, prod

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwflow.costs.fine import Fine
from hwflow.costs.fine.level import loops_on
from hwflow.costs.fine.mapspace import mapspace
from hwflow.costs.fine.rates import OperandBits, rates
from hwflow.costs.fine.score import compute_cycles
from hwflow.costs.fine.shape import DIMS, Shape, shape_of, spread_in, unfolded
from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.machine import Accelerator, load_machine, machine_names
from hwflow.workload import Input, Layer, Workload

QUIET = [HealthCheck.too_slow]


def figure(value: object) -> dict[str, object]:
    return {"value": value, "source": "test"}


def conv(
    batch: int = 1, outs: int = 1, ins: int = 1, out: tuple[int, int] = (1, 1),
    kernel: tuple[int, int] = (1, 1), stride: int = 1, groups: int = 1, pad: int = 0,
) -> Layer:  # fmt: skip
    size = tuple(max(1, (o - 1) * stride + k - 2 * pad) for o, k in zip(out, kernel, strict=True))
    return Layer(
        "conv", "conv", ("x",), ((batch, ins, *size),), (batch, outs, *out), batch=batch,
        out_channels=outs, in_channels=ins, out_size=out, kernel=kernel, stride=(stride, stride),
        padding=(pad,) * 4, groups=groups, input_bits=(32,), params=outs * ins // groups,
    )  # fmt: skip


@st.composite
def convs(draw: st.DrawFn) -> Layer:
    groups, small = draw(st.sampled_from((1, 1, 2, 6))), st.integers(1, 20)
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    return conv(
        draw(st.integers(1, 3)), groups * draw(st.integers(1, 40 // groups)),
        groups * draw(st.integers(1, 40 // groups)), (draw(small), draw(small)), kernel,
        draw(st.integers(1, 3)), groups, draw(st.integers(0, min(kernel) // 2)),
    )  # fmt: skip


def gemm(name: str, rows: int, cols: int, lanes: int = 16, **engine: object) -> Accelerator:
    """BISMO's machine in the GEMM view with another array and engine."""
    plain = load_machine("bismo").model_dump(mode="json", by_alias=True)
    kind: dict[str, object] = {"kind": name, "lanes": figure(lanes)}
    kind |= {key: figure(value) for key, value in engine.items()}
    array = {**plain["array"], "rows": figure(rows), "cols": figure(cols)}
    return Accelerator.model_validate({**plain, "engine": kind, "array": array, "view": "gemm"})


def cycles(machine: Accelerator, layer: Layer, weight: int, read: int) -> float:
    """Return the least compute cycles of a layer over all unrollings."""
    shape, bits = loops_on(machine, layer), OperandBits(weight, read, 8)
    listed = mapspace(machine).unrollings(shape).tolist()
    figures = rates(machine, shape, bits)
    return min(compute_cycles(shape, figures, tuple(spread)) for spread in listed)


def tiles(layer: Layer, rows: int, cols: int, lanes: int) -> int:
    """ceil(K / rows) ceil(N P Q / cols) ceil(D / lanes), for a layer of one group."""
    columns = layer.batch * prod(layer.out_size)
    return ceil(layer.out_channels / rows) * ceil(columns / cols) * ceil(layer.depth / lanes)


def test_unfolding_counts_the_matrices_of_im2col() -> None:
    layer = conv(2, 12, 6, (5, 7), (3, 2), stride=2, groups=3)
    shape = shape_of(layer, "gemm")
    assert shape.dims == (1, 4, 2 * 3 * 2, 2 * 5 * 7, 1, 1, 1, 3)
    assert shape.touched == (70, 1)
    assert (shape.macs, shape.weights, shape.outputs) == (layer.macs, layer.weights, 2 * 12 * 35)
    assert unfolded(shape) == shape
    assert shape_of(layer) == shape_of(layer, "convolution") != shape


def test_a_linear_layer_is_a_matrix_product_already() -> None:
    layer = Layer("fc", "linear", ("x",), ((3, 8, 5),), (3, 8, 4), batch=3, out_channels=4,
                  in_channels=5, out_size=(8, 1), input_bits=(32,))  # fmt: skip
    assert shape_of(layer, "gemm").dims == (1, 4, 5, 24, 1, 1, 1, 1)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 70), st.integers(1, 40), st.integers(1, 15),
    st.integers(1, 15), st.integers(1, 4), st.integers(1, 8), st.integers(1, 8),
    st.sampled_from(((8, 8, 64), (2, 5, 3), (16, 4, 32))),
)  # fmt: skip
def test_bismo_takes_its_published_cycles(
    batch: int, outs: int, ins: int, height: int, width: int, kernel: int, weight: int, read: int,
    array: tuple[int, int, int],
) -> None:  # fmt: skip
    layer = conv(batch, outs, ins, (height, width), (kernel, kernel))
    rows, cols, lanes = array
    machine = gemm("bismo", rows, cols, lanes, rows_buffer=8, cols_buffer=8)
    assert cycles(machine, layer, weight, read) == tiles(layer, *array) * weight * read


@pytest.mark.parametrize(
    ("engine", "more", "factor"),
    [
        ("stripes", {"word": 16}, lambda weight, read: read),
        ("unpu", {"word": 16}, lambda weight, read: 0.75 if weight == 1 else weight),
        ("loom", {"serial": 2}, lambda weight, read: weight * ceil(read / 2)),
    ],
)
@settings(max_examples=25, deadline=None)
@given(layer=convs(), weight=st.integers(1, 16), read=st.integers(1, 16))
def test_serial_engines_take_tiles_of_16_times_bits(
    engine: str, more: dict[str, int], factor, layer: Layer, weight: int, read: int
) -> None:
    machine = gemm(engine, 16, 16, 16, **more)
    one = conv(layer.batch, layer.out_channels, layer.in_channels, layer.out_size, layer.kernel)
    expected = tiles(one, 16, 16, 16) * factor(weight, read)
    assert cycles(machine, one, weight, read) == pytest.approx(expected)


@pytest.mark.parametrize(("weight", "read"), [(2, 2), (4, 8), (8, 8), (3, 5), (16, 16)])
def test_bit_fusion_spends_its_bricks(weight: int, read: int) -> None:
    """MACs (b_w / 2)(b_a / 2) / (16 units), bits rounded up to 2, 4, 8, 16, on a full array.

    A unit is full with 16 inputs at 2 x 2 bits.
    """
    machine = load_machine("bitfusion").model_copy(update={"view": "gemm"})
    rows, cols = machine.array.rows.value, machine.array.cols.value
    layer = conv(2, 2 * cols, 16 * rows, (4, 5), (3, 3))
    wide = [next(b for b in (2, 4, 8, 16) if b >= given) for given in (weight, read)]
    bricks = layer.macs * (wide[0] / 2) * (wide[1] / 2)
    assert cycles(machine, layer, weight, read) == bricks / (16 * machine.pes)


@pytest.mark.parametrize(("bits", "theta"), [(16, 1), (9, 1), (8, 2), (5, 2), (4, 4), (2, 8)])
def test_simd_packs_lanes_into_its_word(bits: int, theta: int) -> None:
    machine = load_machine("simd-16").model_copy(update={"view": "gemm"})
    layer = conv(1, 64, 64, (8, 8), (3, 3))
    assert cycles(machine, layer, bits, bits) == layer.macs / (machine.pes * theta)


@pytest.mark.parametrize(
    ("named", "seen"),
    [("KQ", "KQP"), ("NPQ", "NPQ"), ("RK", "RKC"), ("KG", "KG"), ("CQ", "CQP"), ("", "")],
)
def test_an_axis_spreads_what_stands_for_its_loops(named: str, seen: str) -> None:
    assert spread_in("gemm", named) == set(seen)
    assert spread_in("convolution", named) == set(named)


def test_columns_of_the_product_go_where_the_machine_spreads_q() -> None:
    machine = load_machine("npu-camera")
    view = machine.model_copy(update={"view": "gemm"})
    rows = [{d for d, on in zip(DIMS, mapspace(m).on_rows, strict=True) if on}
            for m in (machine, view)]  # fmt: skip
    assert rows == [{"C", "Q"}, {"C", "Q", "P"}]


@settings(max_examples=80, deadline=None, suppress_health_check=QUIET)
@given(
    convs(), st.sampled_from(machine_names()), st.sampled_from((2, 8, 32)),
    st.sampled_from((2, 8, 32)), st.sampled_from(("latency", "energy")),
)  # fmt: skip
def test_mid_is_never_above_the_gemm_view(
    layer: Layer, name: str, weight: int, read: int, goal: str
) -> None:
    workload = Workload("one", (layer,), (Input("x", layer.in_shapes[0]),), (layer.name,))
    workload = workload.with_bits({"conv": weight}, {"x": read, "conv": read})
    machine = load_machine(name).model_copy(update={"view": "gemm"})
    design = Design(workload, machine)
    fine, mid = Fine(goal).cost(design), Mid().cost(design)
    for metric in ("dram_bytes", "latency_s", "energy_j"):
        assert fine.total[metric] >= mid.total[metric] * (1 - 1e-9)


def test_unfolded_inputs_are_read_as_often_as_their_windows_overlap() -> None:
    layer = conv(1, 8, 4, (14, 14), (3, 3), pad=1)
    workload = Workload("one", (layer,), (Input("x", layer.in_shapes[0]),), (layer.name,))
    plain = load_machine("eyeriss")
    view = plain.model_copy(update={"view": "gemm"})
    as_conv, as_gemm = (
        Fine("energy").report(Design(workload, machine))[0].to_json()["bytes_by_memory"]["dram"]
        for machine in (plain, view)
    )
    assert as_conv["inputs"] == 4 * 14 * 14 * 2
    assert as_gemm["inputs"] == 9 * as_conv["inputs"]
    assert as_gemm["weights"] == as_conv["weights"]


def test_a_view_is_part_of_the_machines_digest() -> None:
    plain = load_machine("eyeriss")
    assert plain.view == "convolution"
    assert plain.model_copy(update={"view": "gemm"}).digest() != plain.digest()
    assert isinstance(loops_on(plain, conv()), Shape)
