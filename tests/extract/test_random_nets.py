"""Random small networks: whatever is put together, torch counts and computes the same."""

from __future__ import annotations

import torch
from extract_nets import counted_macs, counted_params
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hwflow.extract.exported import export_network, read_graph
from hwflow.network import Network

quick = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])

ACTS = (nn.ReLU, nn.SiLU, nn.Hardswish, nn.Identity, nn.Sigmoid)


@st.composite
def blocks(draw: st.DrawFn, channels: int) -> tuple[nn.Module, int]:
    """Draw a module that keeps height and width, and its output channels."""
    kind = draw(st.sampled_from(["conv", "depthwise", "shortcut", "branches", "gate", "pool"]))
    out = draw(st.sampled_from([2, 4, 6]))
    kernel = draw(st.sampled_from([1, 3, 5]))
    act = draw(st.sampled_from(ACTS))()
    if kind == "conv":
        conv = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=draw(st.booleans()))
        norm = nn.BatchNorm2d(out) if draw(st.booleans()) else nn.Identity()
        return nn.Sequential(conv, norm, act), out
    if kind == "depthwise":
        return nn.Conv2d(channels, channels, 3, padding=1, groups=channels), channels
    if kind == "pool":
        return nn.MaxPool2d(3, 1, 1) if draw(st.booleans()) else nn.AvgPool2d(3, 1, 1), channels
    if kind == "gate":
        return Gate(channels), channels
    return _joined(kind, channels, out, act)


def _joined(kind: str, channels: int, out: int, act: nn.Module) -> tuple[nn.Module, int]:
    if kind == "shortcut":
        return Shortcut(nn.Sequential(nn.Conv2d(channels, channels, 1), act)), channels
    return Branches(nn.Conv2d(channels, out, 1), act), channels + out


class Shortcut(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        y += x
        return y


class Branches(nn.Module):
    def __init__(self, inner: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.inner, self.act = inner, act

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.act(self.inner(x)), x], 1)


class Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc(x.mean((2, 3), keepdim=True)))


@st.composite
def nets(draw: st.DrawFn) -> nn.Module:
    parts, channels = [], 3
    for _ in range(draw(st.integers(1, 5))):
        part, channels = draw(blocks(channels))
        parts.append(part)
    head = nn.Linear(channels, 5)
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()


@quick
@given(module=nets(), size=st.integers(5, 9))
def test_counts_are_torchs_and_shapes_agree(module: nn.Module, size: int):
    x = torch.zeros(1, 3, size, size + 1)
    graph = export_network(Network("net", module, x))
    found = read_graph(graph, "net")
    assert found.workload.macs == counted_macs(module, x)
    assert found.workload.params == counted_params(module)
    assert not found.workload.unknown
    shapes = {i.name: i.shape for i in found.workload.inputs}
    for layer in found.workload:
        assert tuple(found.values[layer.name].meta["val"].shape) == layer.out_shape
        assert layer.in_shapes == tuple(shapes[name] for name in layer.inputs)
        shapes[layer.name] = layer.out_shape


@quick
@given(module=nets())
def test_graph_computes_the_same_and_reads_the_same_for_any_batch(module: nn.Module):
    net = Network("net", module, torch.zeros(1, 3, 7, 7))
    graph = export_network(net, dynamic_batch=True)
    x = torch.randn(3, 3, 7, 7)
    with torch.no_grad():
        torch.testing.assert_close(graph(x), module(x))
    static = read_graph(export_network(net), "net")
    assert read_graph(graph, "net").workload == static.workload
