"""The teacher's activations on disk: what was run is what is read, within bounds that were said."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hwflow.errors import HwflowError
from hwflow.extract.exported import export_network, read_graph
from hwflow.network import Network
from hwflow.quality.features import HEAD, Features, planned_bytes, record


class Teacher(nn.Module):
    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.gain = gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)) * self.gain).mean((2, 3))


INPUTS = torch.randn(10, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def graph():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network("teacher", Teacher(), INPUTS[:1])
    module = export_network(network, dynamic_batch=True)
    return module, dict(read_graph(module, "teacher").values)


def recorded(graph, folder: Path, names=("first", "second"), images=9, **options) -> Features:
    module, values = graph
    nodes = {name: values[name] for name in names}
    batches = lambda: iter(INPUTS.split(4))  # noqa: E731
    return record(module, nodes, batches, images, folder, **{"key": "k", **options})


def expected(module: torch.fx.GraphModule, name: str) -> torch.Tensor:
    state = dict(module.named_parameters())
    first = torch.relu(
        torch.nn.functional.conv2d(INPUTS, state["first.weight"], state["first.bias"], padding=1)
    )
    if name == "first":
        return first
    return torch.nn.functional.conv2d(
        first, state["second.weight"], state["second.bias"], stride=2, padding=1
    )


@pytest.mark.parametrize(("kind", "within"), [("float32", 1e-6), ("float16", 1e-3)])
def test_what_is_read_is_what_the_teacher_held(graph, tmp_path, kind, within):
    found = recorded(graph, tmp_path, kind=kind)
    for name in ("first", "second"):
        wanted = expected(graph[0], name)[:9]
        assert torch.allclose(found.read(name, slice(0, 9)), wanted, atol=within, rtol=within)
        some = np.array([1, 5, 8])
        assert torch.allclose(found.read(name, some), wanted[some], atol=within, rtol=within)


def test_the_size_is_known_beforehand_and_bounded(graph, tmp_path):
    nodes = {name: graph[1][name] for name in ("first", "second")}
    planned = planned_bytes(nodes, 9)
    assert planned == 9 * (4 * 8 * 8 + 5 * 4 * 4) * 2
    with pytest.raises(HwflowError, match="fewer images"):
        recorded(graph, tmp_path / "small", most_bytes=planned - 1)
    assert not list((tmp_path / "small").glob("*.npy*"))
    found = recorded(graph, tmp_path / "enough", most_bytes=planned)
    assert 0 <= found.bytes - planned < 1000  # the heads of the files


def test_only_missing_tensors_are_recorded_again(graph, tmp_path):
    recorded(graph, tmp_path, ("first",))
    before = (tmp_path / "first.npy").stat().st_mtime_ns
    heard: list[int] = []
    found = recorded(graph, tmp_path, on_images=heard.append)
    assert found.names == ("first", "second")
    assert heard == [4, 8, 9]
    assert (tmp_path / "first.npy").stat().st_mtime_ns == before
    recorded(graph, tmp_path, on_images=heard.append)
    assert len(heard) == 3  # nothing ran


def test_files_of_an_early_death_are_no_features(graph, tmp_path):
    def dies(done: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recorded(graph, tmp_path, on_images=dies)
    assert not list(tmp_path.glob("*.npy"))
    (tmp_path / "first.npy.1.part").write_text("of a killed process")
    recorded(graph, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [HEAD, "first.npy", "second.npy"]


@pytest.mark.parametrize("change", [{"key": "other"}, {"images": 8}, {"kind": "float32"}])
def test_other_activations_are_not_taken_for_these(graph, tmp_path, change):
    recorded(graph, tmp_path)
    with pytest.raises(HwflowError, match="another folder"):
        recorded(graph, tmp_path, **change)


def test_a_damaged_head_is_said(graph, tmp_path):
    recorded(graph, tmp_path)
    (tmp_path / HEAD).write_text(json.dumps(["nonsense"]))
    with pytest.raises(HwflowError, match="Delete the folder"):
        recorded(graph, tmp_path)


def test_too_few_images_are_said(graph, tmp_path):
    with pytest.raises(HwflowError, match="There are 10 images, not the 11"):
        recorded(graph, tmp_path, images=11)


def test_values_beyond_16_bits_are_refused(tmp_path):
    network = Network("loud", Teacher(gain=1e9), INPUTS[:1])
    module = export_network(network, dynamic_batch=True)
    values = dict(read_graph(module, "loud").values)
    with pytest.raises(HwflowError, match="Use float32"):
        recorded((module, values), tmp_path, ("second",))
    assert recorded((module, values), tmp_path, ("second",), kind="float32").images == 9


def test_variance_is_that_around_the_channel_means(graph, tmp_path):
    found = recorded(graph, tmp_path, kind="float32")
    values = expected(graph[0], "second")[:7].detach().double()
    wanted = (values - values.mean((0, 2, 3), keepdim=True)).square().mean()
    assert found.variance("second", slice(0, 7), step=3) == pytest.approx(float(wanted))


def test_unknown_tensors_are_named(graph, tmp_path):
    with pytest.raises(HwflowError, match="first"):
        recorded(graph, tmp_path).read("frist", slice(0, 1))
