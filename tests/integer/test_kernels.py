"""Kernels against torch in float64, and against ONNX Runtime's integer operators."""

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torch.nn import functional as F

from hwflow.integer import kernels
from hwflow.integer.kernels import Window
from hwflow.integer.requantize import requantizer
from hwflow.integer.values import Grid

SHAPES = [(1, 4, 6), (2, 4, 6), (4, 4, 8), (3, 3, 3)]
"""Groups, input channels, output channels."""


@given(
    st.sampled_from(SHAPES), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2),
    st.integers(0, 2), st.sampled_from([5, 20, 24]), st.booleans(), st.integers(0, 2**32),
)  # fmt: skip
def test_convolutions_are_those_of_torch(
    shape, size, stride, dilation, padding, bits, transposed, seed
):
    groups, channels, outputs = shape
    rng = np.random.default_rng(seed)
    x = rng.integers(-(2**bits), 2**bits, (2, channels, 7, 8))
    rows = (channels, outputs // groups) if transposed else (outputs, channels // groups)
    weight = rng.integers(-99, 99, (*rows, size, size))
    window = Window((size,) * 2, (stride,) * 2, (dilation,) * 2, (padding,) * 2, (padding,) * 2)
    given = [torch.from_numpy(a.astype(np.float64)) for a in (x, weight)]
    common = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if transposed:
        wanted = F.conv_transpose2d(*given, **common)
        if min(wanted.shape[2:]) < 1:
            return
        made = kernels.convolve_transposed(x, weight, window, (0, 0), groups, 99 * 36 * 2**bits)
    else:
        wanted = F.conv2d(*given, **common)
        made = kernels.convolve(x, weight, window, groups, 99 * 36 * 2**bits)
    assert made.dtype == np.int64
    assert np.array_equal(made, wanted.numpy())


@pytest.mark.parametrize("bound", [2**20, 2**40, 2**60])
def test_products_are_exact_at_every_width(bound):
    rng = np.random.default_rng(0)
    top = int((bound // 8) ** 0.5)
    x, weight = rng.integers(-top, top, (3, 8)), rng.integers(-top, top, (5, 8))
    wanted = [[sum(int(a) * int(b) for a, b in zip(r, w, strict=True)) for w in weight] for r in x]
    assert kernels.multiply_matrix(x, weight, bound).tolist() == wanted


@given(st.integers(-9, 0), st.integers(0, 9), st.integers(0, 2**32))
def test_the_bounds_of_an_accumulator_are_reached_and_never_left(low, high, seed):
    rng = np.random.default_rng(seed)
    weight = rng.integers(-7, 8, (3, 2, 2, 2))
    bounds = kernels.sums_of_weight(weight, low, high, False, 1)
    flat = weight.reshape(3, -1)
    extremes = [np.where(row > 0, high, low) for row in flat] + [
        np.where(row > 0, low, high) for row in flat
    ]
    sums = np.array([flat @ x for x in extremes])
    assert (sums.min(), sums.max()) == bounds


def run(nodes, feeds, constants, output):
    """Run nodes of ONNX's standard on ONNX Runtime."""
    types = {np.dtype(np.uint8): TensorProto.UINT8, np.dtype(np.int8): TensorProto.INT8}
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(k, types[v.dtype], v.shape) for k, v in feeds.items()],
        [helper.make_tensor_value_info("y", output, None)],
        [_tensor(name, value) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)[0]


def _tensor(name, value):
    return helper.make_tensor(
        name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape, value.reshape(-1).tolist()
    )


@pytest.mark.parametrize(("groups", "pad"), [(1, 1), (4, 1), (2, 0)])
def test_accumulators_are_those_of_onnx_runtimes_conv_integer(groups, pad):
    rng = np.random.default_rng(groups)
    x = rng.integers(0, 256, (2, 4, 6, 6)).astype(np.uint8)
    weight = rng.integers(-127, 128, (8, 4 // groups, 3, 3)).astype(np.int8)
    node = helper.make_node(
        "ConvInteger", ["x", "w", "xz", "wz"], ["y"], group=groups, pads=[pad] * 4
    )
    zero = np.array(131, dtype=np.uint8)
    constants = {"w": weight, "xz": zero, "wz": np.array(0, dtype=np.int8)}
    theirs = run([node], {"x": x}, constants, TensorProto.INT32)
    window = Window((3, 3), before=(pad, pad), after=(pad, pad))
    ours = kernels.convolve(x.astype(np.int64) - 131, weight, window, groups, 2**22)
    assert np.array_equal(ours, theirs)


def test_codes_are_those_of_onnx_runtimes_qlinear_conv_but_for_ties():
    rng = np.random.default_rng(5)
    x = rng.integers(0, 256, (2, 4, 6, 6)).astype(np.uint8)
    weight = rng.integers(-127, 128, (8, 4, 3, 3)).astype(np.int8)
    scales = rng.uniform(0.001, 0.01, 8).astype(np.float32)
    bias = rng.integers(-5000, 5000, 8).astype(np.int32)
    step, out = np.float32(0.021), np.float32(0.37)
    node = helper.make_node(
        "QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"], pads=[1] * 4
    )
    constants = {
        "xs": np.array(step), "xz": np.array(9, dtype=np.uint8), "w": weight, "ws": scales,
        "wz": np.zeros(8, dtype=np.int8), "ys": np.array(out), "yz": np.array(120, dtype=np.uint8),
        "b": bias,
    }  # fmt: skip
    theirs = run([node], {"x": x}, constants, TensorProto.UINT8)
    sums = kernels.convolve(
        x.astype(np.int64) - 9, weight, Window((3, 3), before=(1, 1), after=(1, 1)), 1, 2**24
    )
    factor = (np.float64(step) * scales.astype(np.float64)).reshape(1, -1, 1, 1)
    goal = Grid(np.array(np.float64(out)), np.array(120), 8, False, 0, 255)
    rule = requantizer(
        [factor], [(-(2**22), 2**22)], factor * bias.reshape(1, -1, 1, 1), goal,
        (-float("inf"), float("inf")),
    )  # fmt: skip
    ours = rule([sums])
    differs = ours != theirs
    assert differs.sum() <= 1  # the runtime multiplies by a float32
    assert np.abs(ours - theirs.astype(np.int64)).max() <= 1
    assert 0 < ours.mean() < 255
