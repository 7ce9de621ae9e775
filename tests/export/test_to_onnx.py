import copy
import json
import random
import stat
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from random_nets import network
from torch import nn

import hwflow.export.onnx_file as onnx_file
from hwflow.edits.fuse import Fuse
from hwflow.edits.quantize import Quantize, quantize
from hwflow.errors import DataError, HwflowError, ModelError
from hwflow.export import to_onnx
from hwflow.extract import extract
from hwflow.fake_quantize import fake_quantize
from hwflow.network import Network
from hwflow.testing import difference

IMAGES = torch.randn(60, 3, 8, 8, generator=torch.Generator().manual_seed(7))


def operators(path):
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def run(path, images=IMAGES):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]


@pytest.fixture(scope="module")
def net():
    return network("residual", "concat", "excite").calibrated(IMAGES)


@pytest.fixture(scope="module")
def eight(net, tmp_path_factory):
    """The network in 8 bits throughout: (network, path, report)."""
    path = tmp_path_factory.mktemp("eight") / "net.onnx"
    space = quantize(net, (8,))
    quantised = space.apply(space.default)
    return quantised, path, to_onnx(quantised, path, inputs=IMAGES)


@pytest.fixture(scope="module")
def mixed(net, tmp_path_factory):
    """The same network in mixed precision."""
    path = tmp_path_factory.mktemp("mixed") / "net.onnx"
    space = quantize(net, (1, 3, 8, 12))
    quantised = space.apply(space.sample(random.Random(4)))
    return quantised, path, to_onnx(quantised, path, inputs=IMAGES)


def test_a_float_network_gives_the_same_numbers(net, tmp_path):
    report = to_onnx(net, tmp_path / "net.onnx", inputs=IMAGES)
    assert report.agreement == 1
    assert report.max_difference < 1e-4
    assert (report.inputs, report.integer_layers, report.simulated_layers) == (60, 0, 0)
    assert report.float_layers == len(extract(net).mac_layers)
    assert report.size_bytes == (tmp_path / "net.onnx").stat().st_size
    assert not metadata(tmp_path / "net.onnx")


def test_an_eight_bit_network_agrees_on_the_runtime(eight):
    _, _, report = eight
    assert report.agreement >= 0.95  # an untrained network's classes lie close together
    assert report.simulated_layers == report.float_layers == 0
    assert report.runtime.startswith("ONNX Runtime")


def test_an_eight_bit_network_is_all_integers_in_the_file(eight):
    quantised, path, _ = eight
    found = operators(path)
    layers = len(extract(quantised).mac_layers)
    assert found["DequantizeLinear"] == layers + found["QuantizeLinear"]
    model = onnx.load(path)
    types = Counter(t.data_type for t in model.graph.initializer if len(t.dims) == 4)
    assert set(types) == {onnx.TensorProto.INT8}
    assert not model.functions


def test_the_runtime_computes_an_eight_bit_network_in_integers(eight, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(eight[1], options, providers=["CPUExecutionProvider"])
    assert operators(tmp_path / "optimised.onnx")["QLinearConv"] >= 6


def test_it_also_runs_with_unsigned_weights(eight):
    # what the runtime must do on machines whose u8s8 kernels saturate
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(eight[1], options, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: IMAGES.numpy()})[0]
    assert np.abs(found - run(eight[1])).max() < 0.2


def test_mixed_precision_agrees_on_the_runtime(mixed):
    quantised, path, report = mixed
    with torch.no_grad():
        expected = quantised.module(IMAGES).numpy()
    same = (run(path).argmax(1) == expected.argmax(1)).mean()
    assert report.agreement == pytest.approx(same)
    assert report.agreement >= 0.95
    assert report.simulated_layers > 0


def test_other_bits_are_functions_that_say_so(mixed):
    quantised, path, report = mixed
    model = onnx.load(path)
    assert [f.name for f in model.functions] == ["FakeQuantize"]
    nodes = [node for node in model.graph.node if node.domain == "hwflow"]
    assert nodes
    for node in nodes:
        bits = next(a.i for a in node.attribute if a.name == "bits")
        assert node.doc_string == f"simulated: {bits}-bit grid in float arithmetic"
    assert f"{report.simulated_layers} of {len(extract(quantised).mac_layers)}" in model.doc_string
    assert "SIMULATED" in model.doc_string


def test_the_metadata_holds_every_bit_width(mixed):
    quantised, path, report = mixed
    noted = json.loads(metadata(path)["hwflow.bits"])
    workload = extract(quantised)
    assert noted["weights"] == {x.name: x.weight_bits for x in workload.mac_layers}
    bits = {x.name: x.output_bits for x in workload} | {"x": workload.inputs[0].bits}
    assert noted["tensors"] == {name: value for name, value in bits.items() if value != 32}
    assert len(noted["simulated"]) == report.simulated_layers


def test_the_file_names_no_place_on_this_machine(eight):
    data = eight[1].read_bytes()
    assert b".py" not in data
    assert b"site-packages" not in data
    kept = {e.key for n in onnx.load(eight[1]).graph.node for e in n.metadata_props}
    assert kept <= {"pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"}


@pytest.mark.parametrize("made", ["eight", "mixed"])
def test_the_file_reads_back_as_the_network(made, request):
    quantised, path, _ = request.getfixturevalue(made)
    found, expected = extract(path), extract(quantised)
    assert found == expected, difference(found, expected)


def test_any_batch_runs(mixed):
    _, path, _ = mixed
    alone = np.concatenate([run(path, IMAGES[i : i + 1]) for i in range(4)])
    assert np.allclose(alone, run(path, IMAGES[:4]), atol=0.05)


GRIDS = [
    (1, True, -1), (1, True, 1), (1, False, -1), (5, True, -1), (8, True, 1), (8, False, 1),
    (12, False, -1),
]  # fmt: skip


class EveryGrid(nn.Module):
    """One output for each kind of grid that the operator knows."""

    def __init__(self):
        super().__init__()
        for index, (bits, signed, axis) in enumerate(GRIDS):
            count = 1 if axis < 0 else 3
            zero = torch.full((count,), 0 if signed else min(2, 2**bits - 1), dtype=torch.int32)
            self.register_buffer(f"scale{index}", torch.linspace(0.1, 0.3, count))
            self.register_buffer(f"zero{index}", zero)

    def forward(self, x):
        return tuple(
            fake_quantize(
                x * (index + 2), getattr(self, f"scale{index}"), getattr(self, f"zero{index}"),
                bits, signed, axis,
            )
            for index, (bits, signed, axis) in enumerate(GRIDS)
        )  # fmt: skip


def test_every_grid_of_the_operator_can_be_written(tmp_path):
    net = Network("grids", EveryGrid().eval(), IMAGES[:1])
    path = tmp_path / "grids.onnx"
    to_onnx(net, path, inputs=IMAGES)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: IMAGES.numpy()})
    for grid, ours, theirs in zip(GRIDS, net.module(IMAGES), found, strict=True):
        assert np.allclose(ours.numpy(), theirs, atol=1e-6), grid
    assert {f.name for f in onnx.load(path).functions} == {"FakeQuantize", "FakeQuantizeSign"}


def test_a_trained_network_is_exported_in_evaluation_mode(net, tmp_path):
    space = quantize(network("dropout", "pre-activation").calibrated(IMAGES), (8,))
    quantised = space.apply(space.default)
    quantised.module.train()
    report = to_onnx(quantised, tmp_path / "net.onnx", inputs=IMAGES)
    assert report.agreement >= 0.95
    assert quantised.module.training
    assert not operators(tmp_path / "net.onnx")["Dropout"]


def test_the_network_is_left_as_it_was(eight):
    quantised, _, _ = eight
    assert any("fake_quantize" in str(n.target) for n in quantised.module.graph.nodes)
    assert quantised.module.state_dict()["stem.weight"].dtype == torch.float32


def small() -> Network:
    torch.manual_seed(0)
    return Network("small", nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval(), torch.ones(1, 4))


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    to_onnx(small(), path)
    return onnx.load(path)


@pytest.fixture
def exported(small_model, monkeypatch):
    """What concerns the file alone need not export the small network again."""
    monkeypatch.setattr(onnx_file, "exported", lambda *_: copy.deepcopy(small_model))


@pytest.mark.parametrize("name", ["net.pt", "net", "net.onnx.gz"])
def test_other_endings_are_refused(name, tmp_path):
    with pytest.raises(HwflowError, match=r"ends in \.onnx"):
        to_onnx(small(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(HwflowError, match="no folder"):
        to_onnx(small(), tmp_path / "nowhere" / "net.onnx")


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (torch.zeros(0, 4), DataError, "no inputs"),
        (torch.full((2, 4), float("nan")), ModelError, "not finite"),
        (torch.ones(2, 5), RuntimeError, "shapes cannot be multiplied"),
    ],
)
@pytest.mark.usefixtures("exported")
def test_a_failed_check_leaves_the_old_file_and_nothing_else(inputs, error, message, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    with pytest.raises(error, match=message):
        to_onnx(small(), path, inputs=inputs)
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    assert path.read_bytes() == b"old"


@pytest.mark.usefixtures("exported")
def test_a_written_file_replaces_the_old_one_and_can_be_read_by_all(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    to_onnx(small(), path)
    onnx.checker.check_model(path)
    (tmp_path / "other").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


@pytest.mark.usefixtures("exported")
def test_files_beyond_the_format_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "_LARGEST", 100)
    with pytest.raises(ModelError, match="too large"):
        to_onnx(small(), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("exported")
def test_calibration_inputs_are_what_it_is_checked_on_by_default(tmp_path):
    net = small().calibrated(torch.randn(7, 4))
    assert to_onnx(net, tmp_path / "a.onnx").inputs == 7
    assert to_onnx(small(), tmp_path / "b.onnx").inputs == 1


class Stubborn(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


def test_a_network_that_cannot_be_exported_is_refused(tmp_path):
    with pytest.raises(ModelError, match="'stubborn' cannot be exported"):
        to_onnx(Network("stubborn", Stubborn(), torch.ones(1, 4)), tmp_path / "net.onnx")


def test_weights_alone_may_be_quantised(tmp_path):
    net = network("plain").calibrated(IMAGES)
    found = Quantize({"stem": 8, "blocks.0.conv": 3}).in_network(Fuse().in_network(net))
    report = to_onnx(found, tmp_path / "net.onnx", inputs=IMAGES)
    assert report.max_difference < 1e-4
    assert (report.simulated_layers, report.float_layers) == (1, 2)


def test_an_older_opset_can_be_asked_for(tmp_path):
    to_onnx(small(), tmp_path / "net.onnx", opset=20)
    assert onnx.load(tmp_path / "net.onnx").opset_import[0].version == 20


class Token(nn.Module):
    """A learned token beside the image's values, of as many rows as there are images."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 4))
        self.mix = nn.Linear(16, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        rows = torch.cat([self.token.expand(x.shape[0], -1), x.flatten(1)], dim=1)
        return self.last(torch.relu(self.mix(rows)))


def test_a_quantised_token_takes_any_batch(tmp_path):
    torch.manual_seed(0)
    net = Network("token", Token().eval(), torch.randn(1, 3, 2, 2))
    net = net.calibrated(torch.randn(16, 3, 2, 2))
    space = quantize(net, bits=(4, 8))
    report = to_onnx(space.apply(space.default), tmp_path / "token.onnx")
    assert report.agreement == 1
    assert report.inputs == 16
