import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from hwflow.errors import ModelError
from hwflow.export import verify
from hwflow.export.verify import ExportReport, compare


class Scores(nn.Module):
    """Gives the input back, and twice it."""

    def forward(self, x):
        return {"scores": x, "more": 2 * x}


def model(path, operator="Identity", shape=("batch", 3)):
    """Write a file of two outputs: `operator` of the input, and that added to itself."""
    nodes = [helper.make_node(operator, ["x"], ["y"]), helper.make_node("Add", ["y", "y"], ["z"])]
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xyz"]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path
    )
    return path


X = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [-1.0, -2.0, -3.0], [0.0, 5.0, 1.0]])


def test_equal_networks_agree(tmp_path):
    found = compare(model(tmp_path / "a.onnx"), Scores(), X)
    assert (found.inputs, found.agreement, found.max_difference) == (4, 1.0, 0.0)
    assert found.settings == {}


def test_other_predictions_and_the_largest_difference_are_counted(tmp_path):
    found = compare(model(tmp_path / "a.onnx", "Abs"), Scores(), X)
    assert found.agreement == 0.75
    assert found.max_difference == 12.0  # of the second output, of which there are no predictions


def test_inputs_beyond_one_chunk_all_count(tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "CHUNK", 3)
    found = compare(model(tmp_path / "a.onnx", "Abs"), Scores(), X)
    assert (found.inputs, found.agreement) == (4, 0.75)


def test_predictions_of_maps_are_counted_by_position(tmp_path):
    x = torch.randn(2, 3, 4, 5)
    path = model(tmp_path / "a.onnx", "Neg", ("batch", 3, 4, 5))
    found = compare(path, Scores(), x)
    assert found.agreement == pytest.approx(float((x.argmax(1) == (-x).argmax(1)).float().mean()))


def test_an_output_without_classes_has_no_agreement(tmp_path):
    found = compare(model(tmp_path / "a.onnx", "Neg", ("batch",)), Scores(), torch.ones(3))
    assert found.agreement is None
    assert found.max_difference == 4.0


def test_a_file_that_disagrees_is_tried_at_the_precise_setting(tmp_path, monkeypatch):
    runs = []
    real = verify._run

    def recorded(path, inputs, settings):
        runs.append(dict(settings))
        yield from real(path, inputs if settings == verify.PRECISE else inputs.abs(), settings)

    monkeypatch.setattr(verify, "_run", recorded)
    found = compare(model(tmp_path / "a.onnx"), Scores(), X)
    assert runs == [{}, verify.PRECISE]
    assert (found.settings, found.agreement) == (verify.PRECISE, 1.0)


def test_the_defaults_are_kept_where_precision_does_not_help(tmp_path):
    assert compare(model(tmp_path / "a.onnx", "Abs"), Scores(), X).settings == {}


def test_what_the_runtime_refuses_is_said(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="ONNX Runtime cannot run"):
        compare(path, Scores(), X)


def test_inputs_of_another_shape_are_said(tmp_path):
    with pytest.raises(ModelError, match="ONNX Runtime cannot run"):
        compare(model(tmp_path / "a.onnx"), Scores(), torch.ones(2, 5))


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(ModelError, match="not finite"):
        compare(model(tmp_path / "a.onnx"), Scores(), X * np.nan)


@pytest.mark.parametrize(("share", "enough"), [(None, True), (0.995, True), (0.9949, False)])
def test_a_report_says_whether_it_is_enough(share, enough, tmp_path):
    assert ExportReport(tmp_path, 1, 18, 1, 0, 0, agreement=share).agrees is enough
