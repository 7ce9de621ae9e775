import random

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from random_nets import network

from hwflow.edits.quantize import quantize
from hwflow.errors import HwflowError, ModelError
from hwflow.export import to_qonnx
from hwflow.export.onnx_file import OPSET
from hwflow.export.qonnx import runnable_twin
from hwflow.extract import extract
from hwflow.testing import difference

IMAGES = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(7))
DOMAIN = "qonnx.custom_op.general"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A network of many widths, among them one bit: (network, path, report)."""
    path = tmp_path_factory.mktemp("qonnx") / "net.onnx"
    net = network("residual", "concat", "excite").calibrated(IMAGES)
    space = quantize(net, (1, 3, 5, 12, 16))
    made = space.apply(space.sample(random.Random(4)))
    return made, path, to_qonnx(made, path, inputs=IMAGES)


def test_the_formula_of_the_file_gives_the_numbers_of_the_network(mixed):
    _, path, report = mixed
    assert report.agreement == 1
    assert report.max_difference < 1e-4
    assert report.inputs == len(IMAGES)
    assert report.simulated_layers == len(extract(mixed[0]).mac_layers)
    assert report.size_bytes == path.stat().st_size


def test_every_quantiser_is_a_node_with_constant_parameters(mixed):
    made, path, _ = mixed
    graph = onnx.load(path).graph
    constants = {tensor.name for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.domain == DOMAIN]
    assert {node.op_type for node in nodes} == {"Quant", "BipolarQuant"}
    wanted = [n for n in made.module.graph.nodes if "fake_quantize" in str(n.target)]
    assert len(nodes) == len(wanted)
    for node in nodes:
        assert set(node.input[1:]) <= constants, node.name


def test_weights_lie_on_their_grids_in_the_file(mixed):
    graph = onnx.load(mixed[1]).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    found = [n for n in graph.node if n.op_type == "Quant" and n.input[0] in values]
    assert found
    for node in found:
        weight, scale, _, bits = (values[name] for name in node.input)
        codes = weight / scale
        assert np.allclose(codes, np.rint(codes), atol=1e-3)
        assert np.abs(codes).max() < 2.0 ** (bits - 1)


@pytest.mark.parametrize("noted", [True, False])
def test_the_file_reads_back_as_the_network(mixed, noted, tmp_path):
    made, path, _ = mixed
    if not noted:  # as a file that hwflow did not write
        model = onnx.load(path)
        del model.metadata_props[:]
        path = tmp_path / "net.onnx"
        onnx.save(model, path)
    found, expected = extract(path), extract(made)
    assert found == expected, difference(found, expected)


def test_the_qonnx_package_executes_the_file(mixed):
    wrapper = pytest.importorskip("qonnx.core.modelwrapper")
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    made, path, _ = mixed
    model = onnx.load(path)  # which it wants to have a fixed batch
    del model.graph.value_info[:]
    for info in (model.graph.input[0], model.graph.output[0]):
        info.type.tensor_type.shape.dim[0].dim_value = len(IMAGES)
    wrapped = wrapper.ModelWrapper(model).transform(InferShapes())
    found = execute_onnx(wrapped, {model.graph.input[0].name: IMAGES.numpy()})
    with torch.no_grad():
        wanted = made.module(IMAGES).numpy()
    assert np.abs(next(iter(found.values())) - wanted).max() < 1e-4


@pytest.mark.parametrize("zero", [0, 126, 127])
def test_the_twin_adds_the_zero_point_before_it_rounds(zero):
    values = np.arange(-140, 160, dtype=np.float32) + np.float32(0.5)  # in the middle of two codes
    constants = {"scale": 1.0, "zero": zero, "bits": 8.0}
    node = helper.make_node(
        "Quant", ["x", *constants], ["y"], domain=DOMAIN, signed=0, narrow=0, rounding_mode="ROUND"
    )
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [None]) for n in "xy")
    held = [numpy_helper.from_array(np.float32(v), n) for n, v in constants.items()]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    graph = helper.make_graph([node], "one", [x], [y], held)
    twin = runnable_twin(helper.make_model(graph, opset_imports=opsets, ir_version=9))
    session = onnxruntime.InferenceSession(
        twin.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"x": values})[0]
    assert np.array_equal(found, np.rint(np.clip(values + zero, 0, 255)) - zero)


def test_other_roundings_have_no_twin(mixed):
    model = onnx.load(mixed[1])
    node = next(n for n in model.graph.node if n.op_type == "Quant")
    next(a for a in node.attribute if a.name == "rounding_mode").s = b"FLOOR"
    with pytest.raises(ModelError, match="rounds otherwise"):
        runnable_twin(model)


def test_a_floating_point_network_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no quantisers"):
        to_qonnx(network("plain"), tmp_path / "net.onnx")
    with pytest.raises(HwflowError, match=r"ends in \.onnx"):
        to_qonnx(network("plain"), tmp_path / "net.qonnx")
    assert not list(tmp_path.iterdir())
