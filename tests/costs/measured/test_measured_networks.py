from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import hwflow as hf
from hwflow.costs.measured.networks import FREE, layer_key, one_layer, whole_network
from hwflow.costs.measured.operators import UnmeasurableError
from hwflow.extract import extract
from hwflow.workload import Layer, Workload


def in_bytes(workload: Workload) -> Workload:
    names = [*workload.bit_groups]
    return workload.with_bits({la.name: 8 for la in workload.mac_layers}, dict.fromkeys(names, 8))


class Mixed(torch.nn.Module):
    """Depthwise, dilated, strided and transposed convolutions, pools, a concat, resizing."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.b = torch.nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.c = torch.nn.Conv2d(8, 16, 1)
        self.up = torch.nn.ConvTranspose2d(16, 4, 2, stride=2)
        self.fc = torch.nn.Linear(20, 5)
        self.bn = torch.nn.BatchNorm2d(20)

    def forward(self, x):
        a = torch.nn.functional.hardswish(self.a(x))
        c = torch.nn.functional.silu(self.c(torch.nn.functional.relu6(self.b(a)) + a))
        up = torch.nn.functional.gelu(self.up(c))
        big = torch.nn.functional.interpolate(c, scale_factor=2)
        pooled = torch.nn.functional.max_pool2d(torch.cat([big, up], 1), 3, 2, 1)
        mean = torch.nn.functional.adaptive_avg_pool2d(torch.relu(self.bn(pooled)), 1)
        return torch.softmax(self.fc(mean.flatten(1)), 1)


@pytest.fixture(scope="module")
def mixed() -> Workload:
    return extract(hf.Network("mixed", Mixed().eval(), torch.zeros(1, 3, 16, 16)))


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def outputs(model: onnx.ModelProto) -> list[np.ndarray]:
    session = session_of(model)
    types = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
    feeds = {i.name: np.ones(i.shape, types[i.type]) for i in session.get_inputs()}
    return session.run(None, feeds)


@pytest.mark.parametrize("bits", [32, 8])
def test_every_layer_runs_alone_and_gives_the_shape_that_torch_gives(mixed, bits):
    workload = in_bytes(mixed) if bits == 8 else mixed
    for layer in workload:
        (made,) = outputs(one_layer(layer))
        assert made.shape == layer.out_shape, layer.name
        assert made.dtype == (np.uint8 if bits == 8 else np.float32)


def test_a_whole_workload_runs_and_gives_the_shape_of_its_output(mixed):
    (made,) = outputs(whole_network(mixed))
    assert made.shape == (1, 5)
    assert made.sum() == pytest.approx(1.0, rel=1e-5)


def test_layers_of_eight_bits_are_multiplied_in_integers(tmp_path):
    workload = in_bytes(extract(hf.load("cifar:resnet8")))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(
        whole_network(workload).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    convolutions = sum(layer.op == "conv" for layer in workload)
    assert found.count("QLinearConv") == convolutions
    assert not {"Conv", "FusedConv"} & set(found)


def test_layers_of_one_shape_share_a_key_whatever_their_names(mixed):
    layer = mixed["a"]
    assert layer_key(layer) == layer_key(replace(layer, name="other", path="b", params=7))
    assert layer_key(layer) == layer_key(replace(layer, norm="batch"))  # a bias either way


@pytest.mark.parametrize(
    "change",
    [
        {"stride": (1, 1)},
        {"act": ("relu",)},
        {"out_channels": 16, "out_shape": (1, 16, 8, 8)},
        {"bias": False},
        {"weight_bits": 8, "input_bits": (8,)},
        {"output_bits": 8},
        {"dilation": (2, 2)},
    ],
)
def test_what_decides_the_latency_decides_the_key(mixed, change):
    layer = mixed["a"]
    assert layer_key(layer) != layer_key(replace(layer, **change))


def test_bits_that_no_kernel_takes_are_refused_with_the_layer(mixed):
    layer = replace(mixed["a"], weight_bits=4)
    for write in (layer_key, one_layer):
        with pytest.raises(UnmeasurableError, match=r"'a'.*4 bits.*8 or 32"):
            write(layer)


def test_an_unknown_operator_is_refused_by_its_name():
    layer = Layer("odd", "unknown", ("x",), ((1, 4),), (1, 4), input_bits=(32,),
                  attrs=(("target", "aten.fft"),))  # fmt: skip
    with pytest.raises(UnmeasurableError, match=r"'odd'.*aten\.fft"):
        one_layer(layer)


def test_reshapes_are_free():
    assert {"reshape"} == FREE
