"""A check is worth what it catches: edits that break each promise, one at a time."""

import copy
import re
from dataclasses import dataclass, replace

import pytest
import torch
from random_nets import network
from torch import nn

from hwflow.design import Design
from hwflow.edits.fuse import Fuse, fuse
from hwflow.edits.quantize import quantize
from hwflow.network import Network
from hwflow.testing import CheckError, check_edit, difference, toy_workload


class Keep:
    """An edit that changes nothing, and keeps every promise."""

    def on_paper(self, design: Design) -> Design:
        return design

    def in_network(self, network: Network) -> Network:
        return network.with_module(copy.deepcopy(network.module))


class Widen(Keep):
    """Says that the stem has a bias that nobody gives it."""

    def on_paper(self, design):
        layers = tuple(
            replace(layer, bias=True, params=layer.params + 8) if layer.name == "stem" else layer
            for layer in design.workload
        )
        return design.with_workload(replace(design.workload, layers=layers))


class Share(Keep):
    def in_network(self, network):
        module = copy.deepcopy(network.module)
        module.stem.weight = network.module.stem.weight
        return network.with_module(module)


class Mutate(Keep):
    def in_network(self, network):
        with torch.no_grad():
            network.module.stem.weight.mul_(2)
        return super().in_network(network)


class Switch(Keep):
    def in_network(self, network):
        copied = super().in_network(network)
        network.module.train(not network.module.training)
        return copied


class Shuffle(Keep):
    """Other weights every time."""

    def in_network(self, network):
        copied = super().in_network(network)
        with torch.no_grad():
            copied.module.stem.weight.add_(torch.randn_like(copied.module.stem.weight))
        return copied


class Explode(Keep):
    def in_network(self, network):
        copied = super().in_network(network)
        with torch.no_grad():
            copied.module.head[2].weight.fill_(float("inf"))
        return copied


class Cut(nn.Module):
    """Computes the same without a gradient."""

    def __init__(self, inner):
        super().__init__()
        self.stem, self.norm = inner.stem, inner.norm
        self.blocks, self.head = inner.blocks, inner.head

    def forward(self, x):
        return self.head(self.blocks(torch.relu(self.norm(self.stem(x))))).detach()


class Detach(Keep):
    def in_network(self, network):
        return network.with_module(Cut(copy.deepcopy(network.module)).eval())


@pytest.fixture
def net():
    return network("plain")


@pytest.mark.parametrize("edit", [Keep(), Fuse()], ids=["keep", "fuse"])
def test_edits_that_keep_their_promises_pass(edit, net):
    check_edit(edit, net)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Widen(), r"two faces disagree.\nFirst difference in layer 'stem'"),
        (Share(), r"'stem.weight' of the edited network is 'stem.weight' of the original"),
        (Mutate(), r"'stem.weight' of the original network was changed"),
        (Switch(), "switched between training and evaluation"),
        (Shuffle(), "made a second time"),
        (Explode(), "not finite"),
        (Detach(), "no gradient reaches"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Keep) else "",
)
def test_every_broken_promise_is_named(edit, message, net):
    with pytest.raises(CheckError, match=message):
        check_edit(edit, net)


def test_a_failed_check_is_an_assertion():
    assert issubclass(CheckError, AssertionError)


@dataclass(frozen=True)
class WidenPart:
    kind = "prune"
    choices = ()

    def edit(self, values):
        return Widen()


def test_a_space_is_checked_by_its_plans(net):
    broken = replace(fuse(net), parts=(WidenPart(),))
    with pytest.raises(CheckError, match=re.escape("Plan ():")):
        check_edit(broken, net)
    check_edit(fuse(net), net)


def test_a_network_without_calibration_is_calibrated_on_its_example():
    net = network("plain", calibrate=False)
    check_edit(quantize(net, (4,)), net, plans=0)
    assert net.calibration is None


def test_frozen_networks_need_no_gradient(net):
    net.module.requires_grad_(False)
    check_edit(Keep(), net)


def test_a_difference_names_layer_and_fields():
    workload = toy_workload()
    layers = list(workload.layers)
    layers[1] = replace(layers[1], weight_bits=4, stride=(2, 1))
    text = difference(replace(workload, layers=tuple(layers)), workload)
    assert text.splitlines() == [
        "First difference in layer 'depthwise' (network | paper):",
        "  stride: (2, 1) | (1, 1)",
        "  weight_bits: 4 | 32",
    ]


def test_a_difference_in_length_names_the_extra_layer():
    workload = toy_workload()
    short = replace(workload, layers=workload.layers[:-1], outputs=("flatten",))
    assert difference(short, workload) == (
        "The network has 6 layers, the paper 7: 'head' is extra."
    )


def test_a_difference_outside_the_layers_is_shown():
    workload = toy_workload()
    assert difference(replace(workload, loose_params=3), workload) == "  loose_params: 3 | 0"
    assert difference(workload, replace(workload, name="another")) == ""
