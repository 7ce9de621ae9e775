"""Learned quantisers become plain ones that compute the same, and files that agree with them."""

from collections import Counter

import onnx
import onnxruntime
import pytest
import torch
from random_nets import network

from hwflow.edits.quantize import quantize
from hwflow.export import to_onnx
from hwflow.export.plain import plain
from hwflow.extract import extract
from hwflow.learned_grids import learned_grids

IMAGES = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(7))
QUANTIZERS = ("lsq", "pact", "dorefa")


def made(quantizer, bits):
    net = network("plain").calibrated(IMAGES)
    space = quantize(net, (bits,), quantizer=quantizer)
    found = space.apply(space.default)
    with torch.no_grad():  # as training leaves them
        for number, grid in enumerate(learned_grids(found.module)):
            grid.value.mul_(1 + 0.1 * (number % 3))
    return found


@torch.no_grad()
def run(module):
    return module(IMAGES)


@pytest.mark.parametrize(
    ("quantizer", "bits"), [("lsq", 1), ("lsq", 3), ("pact", 3), ("dorefa", 1), ("dorefa", 8)]
)
def test_plain_quantisers_compute_the_same(quantizer, bits):
    found = made(quantizer, bits)
    lowered = plain(found.module)
    kinds = {str(n.target) for n in lowered.graph.nodes if "hwflow." in str(n.target)}
    assert kinds == {"hwflow.fake_quantize.default"}
    assert torch.equal(run(lowered), run(found.module))
    assert not torch.equal(run(lowered), run(plain(made("calibrated", 16).module)))
    assert any(quantizer in str(n.target) for n in found.module.graph.nodes)  # left as it was


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_learned_scales_agree_on_the_runtime_at_eight_bits(quantizer, tmp_path):
    found, path = made(quantizer, 8), tmp_path / "net.onnx"
    report = to_onnx(found, path, inputs=IMAGES)
    assert report.agreement >= 0.95  # an untrained network's classes lie close together
    layers = len(extract(found).mac_layers)
    assert report.simulated_layers == (layers if quantizer == "dorefa" else 0)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {session.get_inputs()[0].name: IMAGES.numpy()})
    ours = run(found.module)
    assert float((torch.from_numpy(theirs) - ours).abs().max()) < 0.05 * float(ours.abs().max())
    assert extract(path).bit_groups.keys() == extract(found).bit_groups.keys()
    assert [x.weight_bits for x in extract(path).mac_layers] == [8] * layers


def test_dorefa_weights_of_few_bits_are_stored_as_integers(tmp_path):
    report = to_onnx(made("dorefa", 3), tmp_path / "net.onnx", inputs=IMAGES)
    model = onnx.load(tmp_path / "net.onnx")
    kinds = Counter(t.data_type for t in model.graph.initializer if len(t.dims) == 4)
    assert kinds[onnx.TensorProto.INT8] == 1  # the stem has 8 bits, which need nine
    levels = next(
        onnx.numpy_helper.to_array(t) for t in model.graph.initializer
        if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4
    )  # fmt: skip
    assert set(abs(levels).ravel() % 2) == {1}
    assert abs(levels).max() <= 7
    assert report.agreement == 1
