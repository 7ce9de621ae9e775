import copy
import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from random_nets import block_lists, network
from torch import nn

from hwflow.design import Design
from hwflow.edits.fuse import Fuse, FusePart, fuse
from hwflow.edits.quantize import Quantize, quantize
from hwflow.edits.trainable import trainable
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.extract.exported import export_network
from hwflow.machine import load_machine
from hwflow.network import Network
from hwflow.testing import check_edit

EYERISS = load_machine("eyeriss")


def fused_on_paper(workload):
    return Fuse().on_paper(Design(workload, EYERISS)).workload


def norms(module):
    return [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def of(*layers, shape=(1, 4, 6, 6)) -> Network:
    module = nn.Sequential(*layers)
    torch.manual_seed(0)
    for norm in norms(module):
        if norm.running_mean is not None:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.2, 3)
        if norm.affine:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    return Network("small", module.eval(), torch.randn(shape))


@settings(deadline=None, max_examples=5, suppress_health_check=list(HealthCheck))
@given(blocks=block_lists())
def test_the_fused_network_computes_the_same(blocks):
    net = network(*blocks)
    x = torch.randn(5, 3, 8, 8)
    with torch.no_grad():
        expected, found = net.module(x), Fuse().in_network(net).module(x)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), (2, 4, 6, 6)),
        (nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.BatchNorm2d(4, affine=False), (2, 4, 6, 6)),
        (nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), (2, 4, 9)),
        (nn.Conv3d(4, 6, 2, bias=False), nn.BatchNorm3d(6), (2, 4, 3, 4, 5)),
        (nn.ConvTranspose2d(4, 6, 3), nn.BatchNorm2d(6), (2, 4, 6, 6)),
        (nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6), (2, 4, 6, 6)),
        (nn.ConvTranspose2d(4, 4, 2, groups=4), nn.BatchNorm2d(4), (2, 4, 6, 6)),
        (nn.Linear(4, 6), nn.BatchNorm1d(6), (3, 4)),
    ],
)
def test_every_kind_of_layer_takes_its_norm(layer, norm, shape):
    net = of(copy.deepcopy(layer), norm, shape=(1, *shape[1:]))
    x = torch.randn(shape)
    fused = Fuse().in_network(net)
    assert not norms(fused.module)
    assert torch.allclose(fused.module(x), net.module(x), atol=1e-5)
    assert extract(fused) == fused_on_paper(extract(net))


def test_a_fused_layer_has_a_bias_and_no_norm_on_paper():
    net = of(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6))
    before, after = (w.mac_layers[0] for w in (extract(net), fused_on_paper(extract(net))))
    assert (before.norm, before.bias, before.params) == ("batch", False, 6 * 4 * 9 + 12)
    assert (after.norm, after.bias, after.params) == (None, True, 6 * 4 * 9 + 6)


@pytest.mark.parametrize("block", ["statless", "pre-activation", "read twice", "twice"])
def test_what_cannot_be_folded_stays_in_both_faces(block):
    net = network(block)
    fused = Fuse().in_network(net)
    assert len(norms(fused.module)) == len(norms(net.module)) - 1  # that of the stem alone
    assert extract(fused) == fused_on_paper(extract(net))


def test_fusing_twice_is_fusing_once():
    net = network("residual", "concat")
    once = Fuse().in_network(net)
    twice = Fuse().in_network(once)
    paper = fused_on_paper(extract(net))
    assert fused_on_paper(paper) == paper == extract(once) == extract(twice)
    assert torch.equal(once.module(net.example), twice.module(net.example))


def test_the_original_keeps_its_norms_and_its_weights():
    net = network("residual")
    before = copy.deepcopy(net.module.state_dict())
    fused = Fuse().in_network(net)
    for parameter in fused.module.parameters():
        parameter.data.zero_()
    assert len(norms(net.module)) == 3
    assert all(torch.equal(before[key], value) for key, value in net.module.state_dict().items())


def test_each_time_there_is_a_network_of_its_own():
    net = network("plain")
    first, second = Fuse().in_network(net), Fuse().in_network(net)
    first.module.stem.weight.data.zero_()
    assert second.module.stem.weight.abs().sum() > 0
    assert Fuse().in_network(net).module.stem.weight.abs().sum() > 0


def test_weights_that_changed_since_are_folded_anew():
    net = network("plain")
    Fuse().in_network(net)
    with torch.no_grad():
        net.module.stem.weight.mul_(2)
    x = net.example
    assert torch.allclose(Fuse().in_network(net).module(x), net.module(x), atol=1e-5)


def test_frozen_weights_stay_frozen():
    net = of(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))
    net.module.requires_grad_(False)
    assert not any(p.requires_grad for p in Fuse().in_network(net).module.parameters())


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), (2, 4, 6, 6)),
        (nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6, affine=False), (2, 4, 6, 6)),
        (nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6), (2, 4, 6, 6)),
        (nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), (3, 4)),
    ],
)
def test_an_exported_graph_is_folded_as_well(layer, norm, shape):
    net = of(layer, norm, nn.ReLU(), shape=shape)
    graph = net.with_module(trainable(export_network(net, dynamic_batch=True)))
    check_edit(Fuse(), graph, EYERISS)
    fused = Fuse().in_network(graph)
    assert extract(fused) == fused_on_paper(extract(graph))
    assert torch.allclose(fused.module(net.example), net.module(net.example), atol=1e-5)


def test_a_quantised_graph_with_norms_is_refused_with_the_way_out():
    net = of(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))
    quantised = Quantize({"0": 4}).in_network(net)
    with pytest.raises(HwflowError, match="Fuse the network before"):
        Fuse().in_network(quantised)


def test_a_quantised_network_has_nothing_left_to_fuse():
    net = network("plain")
    space = quantize(net, (4, 8))
    plan = space.sample(random.Random(0))
    quantised = space.apply(plan)
    assert extract(Fuse().in_network(quantised)) == extract(quantised)


def test_the_space_has_one_plan_and_works_on_paper_alone():
    net = network("plain")
    for space in (fuse(net), fuse(extract(net))):
        assert (space.size, space.default, space.parts) == (1, (), (FusePart(),))
    assert fuse(net).workload == extract(net)
    assert extract(fuse(net).apply(())) == fused_on_paper(extract(net))
    with pytest.raises(HwflowError, match="on paper only"):
        fuse(extract(net)).apply(())


def test_spaces_that_both_fuse_fuse_once_when_added():
    net = network("plain")
    assert [part.kind for part in (fuse(net) + quantize(net)).parts] == ["fuse", "quantize"]
