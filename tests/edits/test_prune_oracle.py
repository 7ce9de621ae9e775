"""Channel groups beside those of torch-pruning, where its dependency graph is right."""

import pytest
import torch
import torchvision

from hwflow.coupling import couple
from hwflow.edits.fuse import read
from hwflow.edits.prune import Prune
from hwflow.extract import extract
from hwflow.network import Network

tp = pytest.importorskip("torch_pruning", reason="torch-pruning is the oracle of these tests")

REMOVED = (0, 3, 5, 7)


def zoo(name: str) -> Network:
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, weights=None).eval()
    return Network(name, module, torch.randn(1, 3, 64, 64))


def layers_of(group, module) -> set[tuple[str, str]]:
    """Return the (layer, side) pairs of one of torch-pruning's groups."""
    names = {part: path for path, part in module.named_modules()}
    sides = {"prune_out_channels": "out", "prune_in_channels": "in"}
    found = set()
    for dependency, _ in group:
        part = dependency.target.module
        if isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
            found.add((names[part], sides[dependency.handler.__name__]))
    return found


def ours(group, module) -> set[tuple[str, str]]:
    """Return the same of one of ours: torch-pruning counts no input of a depthwise layer."""
    found = {(member.layer, member.side) for member in group.members}
    parts = dict(module.named_modules())
    return {
        (name, side) for name, side in found
        if isinstance(parts.get(name), torch.nn.Conv2d | torch.nn.Linear)
        and not (side == "in" and getattr(parts[name], "groups", 1) > 1)
    }  # fmt: skip


def check_groups(name: str, count: int) -> None:
    net = zoo(name)
    graph = tp.DependencyGraph().build_dependency(net.module, net.example)
    groups = couple(read(net).workload).groups
    assert len(groups) == count
    for group in groups:
        layer = net.module.get_submodule(group.name)
        linear = isinstance(layer, torch.nn.Linear)
        prune = tp.prune_linear_out_channels if linear else tp.prune_conv_out_channels
        theirs = graph.get_pruning_group(layer, prune, idxs=[group.members[0].channels[0][0]])
        assert ours(group, net.module) == layers_of(theirs, net.module), group.name


def test_groups_of_resnet18_are_those_of_torch_pruning():
    check_groups("resnet18", 12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*nwrapped parameters:UserWarning")
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet50", 37), ("mobilenet_v2", 25), ("mobilenet_v3_large", 30),
        ("efficientnet_b0", 40), ("mnasnet1_0", 25), ("squeezenet1_1", 25), ("densenet121", 120),
        ("vgg16_bn", 15), ("convnext_tiny", 18),
    ],
)  # fmt: skip
def test_groups_are_those_of_torch_pruning(name, count):
    check_groups(name, count)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "squeezenet1_1", "densenet121"])
def test_pruned_networks_compute_what_those_of_torch_pruning_do(name):
    net = zoo(name)
    coupling = couple(read(net).workload)
    for group in coupling.groups[:: max(1, len(coupling.groups) // 5)]:
        kept = tuple(i for i in range(group.size) if i not in REMOVED)
        ours = Prune({group.name: kept}).in_network(net)
        other = zoo(name)
        graph = tp.DependencyGraph().build_dependency(other.module, other.example)
        theirs = graph.get_pruning_group(
            other.module.get_submodule(group.name), tp.prune_conv_out_channels, idxs=list(REMOVED)
        )
        theirs.prune()
        with torch.no_grad():
            expected, found = other.module(net.example), ours.module(net.example)
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
        assert extract(ours) == extract(other)
