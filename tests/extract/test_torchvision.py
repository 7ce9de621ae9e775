"""torchvision's networks: torch's own counts, nothing unknown, the same from an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from extract_nets import counted_macs, counted_params
from extract_zoo import NATIVE, ONNX, network, small_swin, small_vit, write_onnx
from torch import nn

from hwflow.extract import extract
from hwflow.extract.exported import export_network, read_graph
from hwflow.network import Network
from hwflow.workload import Workload

DIMENSIONS = (
    "op", "batch", "in_channels", "out_channels", "out_size", "kernel", "stride", "dilation",
    "padding", "groups", "in_shapes",
)  # fmt: skip


def image(size: int) -> torch.Tensor:
    return torch.zeros(1, 3, size, size)


def check_counts(module: nn.Module, size: int) -> Workload:
    """Check a network against torch's counts and return its workload."""
    found = extract(Network("net", module, image(size)))
    macs = counted_macs(module, image(size))
    assert found.macs == pytest.approx(macs, rel=1e-3)
    assert found.params == counted_params(module)
    assert [layer.attr("target") for layer in found.unknown] == []
    return found


def check_same(torch_side: Workload, onnx_side: Workload) -> None:
    """Check that two workloads have the same multiplying layers and readers, in order."""
    for a, b in zip(torch_side.mac_layers, onnx_side.mac_layers, strict=True):
        assert [getattr(a, key) for key in DIMENSIONS] == [getattr(b, key) for key in DIMENSIONS]
    assert _reader_indices(torch_side) == _reader_indices(onnx_side)


def _reader_indices(workload: Workload) -> list[list[int]]:
    index = {layer.name: i for i, layer in enumerate(workload.mac_layers)}
    starts = [i.name for i in workload.inputs] + list(index)
    return [[index[reader] for reader in workload.mac_readers(name)] for name in starts]


class TestQuick:
    @pytest.mark.parametrize("name", ["squeezenet1_1", "mnasnet0_5"])
    def test_counts_are_torchs(self, name: str):
        check_counts(network(name), 64)

    @pytest.mark.parametrize("make", [small_vit, small_swin])
    def test_transformers_have_torchs_counts_and_compute_the_same_for_any_batch(
        self, make: Callable[[], nn.Module]
    ):
        module, x = make(), torch.randn(2, 3, 32, 32)
        found = check_counts(module, 32)
        names = [layer.name for layer in found.mac_layers]
        assert sum(name.endswith(".qk") for name in names) > 1
        assert sum(name.endswith(".qk") for name in names) == sum(n.endswith(".av") for n in names)
        graph = export_network(Network("net", module, image(32)), dynamic_batch=True)
        with torch.no_grad():
            torch.testing.assert_close(graph(x), module(x))
        assert read_graph(graph, "net").workload == found

    def test_resnet_layers_have_the_names_of_the_modules(self):
        found = check_counts(network("resnet18"), 64)
        names = [layer.name for layer in found]
        assert names[:6] == [
            "conv1", "maxpool", "layer1.0.conv1", "layer1.0.conv2", "layer1.0.add",
            "layer1.1.conv1",
        ]  # fmt: skip
        assert names[-3:] == ["avgpool", "reshape", "fc"]
        assert all(layer.norm == "batch" for layer in found if layer.op == "conv")

    def test_heads_that_do_not_run_are_loose_parameters(self):
        module = network("googlenet")
        aux = sum(p.numel() for name, p in module.named_parameters() if name.startswith("aux"))
        assert check_counts(module, 64).loose_params == aux

    @pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v3_small"])
    def test_onnx_file_gives_the_same_layers_under_the_same_names(self, name: str, tmp_path: Path):
        module = network(name)
        file = write_onnx(module, image(64), tmp_path / "net.onnx", dynamo=False)
        found = check_counts(module, 64)
        check_same(found, extract(file))
        assert [layer.name for layer in found] == [layer.name for layer in extract(file)]

    @pytest.mark.parametrize("make", [small_vit, small_swin])
    def test_onnx_file_of_a_transformer_gives_the_same(
        self, make: Callable[[], nn.Module], tmp_path: Path
    ):
        module = make()
        file = write_onnx(
            module, image(32), tmp_path / "net.onnx", dynamo=False, input_names=["image"],
            dynamic_axes={"image": {0: "batch"}},
        )  # fmt: skip
        check_same(extract(Network("net", module, image(32))), extract(file))


@pytest.mark.slow
class TestAll:
    def test_cover_every_family(self):
        assert len(NATIVE) >= 25
        assert len(ONNX) >= 10

    @pytest.mark.parametrize("name", NATIVE)
    def test_counts_are_torchs_at_native_size(self, name: str):
        check_counts(network(name), NATIVE[name])

    @pytest.mark.parametrize("name", ["resnet50", "convnext_tiny", "swin_t", "deeplabv3_resnet50"])
    def test_any_batch_reads_as_one_image(self, name: str):
        net = Network("net", network(name), image(64))
        assert read_graph(export_network(net, dynamic_batch=True), "net").workload == extract(net)

    @pytest.mark.parametrize("name", ["densenet121", "googlenet", "swin_t", "maxvit_t"])
    def test_exported_graph_computes_the_same(self, name: str):
        module, size = network(name), 224 if name == "maxvit_t" else 64
        graph = export_network(Network("net", module, image(size)))
        x = torch.randn(1, 3, size, size)
        with torch.no_grad():
            torch.testing.assert_close(graph(x), module(x))

    @pytest.mark.parametrize("open_batch", [False, True], ids=["one image", "any batch"])
    @pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "classic"])
    @pytest.mark.parametrize("name", ONNX)
    def test_onnx_file_gives_the_same(
        self, name: str, dynamo: bool, open_batch: bool, tmp_path: Path
    ):
        module, x = network(name), image(ONNX[name])
        found = extract(Network("net", module, x))
        more: dict[str, object] = {}
        if open_batch and dynamo:
            x = torch.cat([x, x])
            more["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
        elif open_batch:
            more |= {"input_names": ["image"], "dynamic_axes": {"image": {0: "batch"}}}
        file = write_onnx(module, x, tmp_path / "net.onnx", dynamo=dynamo, **more)
        read = extract(file)
        file.unlink()
        check_same(found, read)
        assert not read.unknown
