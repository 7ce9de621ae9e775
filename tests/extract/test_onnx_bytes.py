"""Reading ONNX files without their weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from onnx_nets import ints, model, node, ones, read

from hwflow.extract.onnx_bytes import LARGE, load_without_weights


def big() -> onnx.ModelProto:
    nodes = [node("Reshape", "x s", "flat"), node("Gemm", "flat fc.weight fc.bias")]
    constants = {"s": ints(1, 256), "fc.weight": ones(256, 100), "fc.bias": ones(100)}
    return model(nodes, constants)


def saved(made: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    onnx.save(made, path)
    return path


def test_drops_the_values_of_large_constants_only(tmp_path: Path):
    found = load_without_weights(saved(big(), tmp_path))
    weights = {tensor.name: tensor for tensor in found.graph.initializer}
    assert len(weights["fc.weight"].raw_data) == 0
    assert list(weights["fc.weight"].dims) == [256, 100]
    assert weights["fc.weight"].data_type == onnx.TensorProto.FLOAT
    np.testing.assert_array_equal(numpy_helper.to_array(weights["fc.bias"]), np.ones(100))


def test_keeps_everything_else(tmp_path: Path):
    path = saved(big(), tmp_path)
    found, whole = load_without_weights(path), onnx.load(path)
    for tensor in (*found.graph.initializer, *whole.graph.initializer):
        tensor.ClearField("raw_data")
    assert found == whole


def test_gives_the_same_workload(tmp_path: Path):
    assert read(big(), tmp_path).params == 256 * 100 + 100


def test_values_in_other_fields_are_dropped_too(tmp_path: Path):
    made = big()
    weight = made.graph.initializer[1]
    weight.ClearField("raw_data")
    weight.float_data.extend([1.0] * 25600)
    assert len(load_without_weights(saved(made, tmp_path)).graph.initializer[1].float_data) == 0


def test_large_means_larger_than_any_small_constant_needs():
    from hwflow.extract import onnx_values

    assert onnx_values._SMALL * 10 <= LARGE


def test_empty_file_is_refused(tmp_path: Path):
    path = tmp_path / "net.onnx"
    path.touch()
    with pytest.raises(ValueError, match="empty"):
        load_without_weights(path)


@given(data=st.binary(min_size=1, max_size=300))
def test_bytes_that_mean_nothing_never_do_harm(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
):
    path = tmp_path_factory.getbasetemp() / "random.onnx"
    path.write_bytes(data)
    try:
        made = load_without_weights(path)
    except (ValueError, DecodeError):
        return
    assert isinstance(made, onnx.ModelProto)
