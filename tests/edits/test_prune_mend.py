"""What pruning does to what is left: batch-norm statistics taken anew."""

import copy
import random

import pytest
import torch
from random_nets import network
from torch import nn

from hwflow.design import Design
from hwflow.edits.fuse import Fuse
from hwflow.edits.prune import Prune, prune
from hwflow.edits.quantize import quantize
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.machine import load_machine
from hwflow.network import Network

EYERISS = load_machine("eyeriss")
KEPT = (0, 2, 5)


def chain() -> Network:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4)
    )
    net = Network("chain", module.eval(), torch.randn(1, 3, 8, 8))
    return net.calibrated(torch.randn(20, 3, 8, 8) * 2 + 1)


def cut_by_hand(net: Network) -> nn.Sequential:
    """Return the chain without the channels, as anybody would cut it."""
    first, _norm, act, second, last = copy.deepcopy(net.module)
    first.weight, first.bias = (nn.Parameter(p[list(KEPT)]) for p in (first.weight, first.bias))
    second.weight = nn.Parameter(second.weight[:, list(KEPT)])
    return nn.Sequential(first, nn.BatchNorm2d(len(KEPT)), act, second, last)


def statistics(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: x for name, x in module.named_buffers() if "running" in name}


def test_statistics_are_those_that_torch_computes():
    net = chain()
    expected = cut_by_hand(net)
    for norm in (expected[1], expected[4]):
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        expected.train()(net.calibration)
    found = statistics(Prune({"0": KEPT}, mend="statistics").in_network(net).module)
    assert found.keys() == statistics(expected).keys()
    for name, value in statistics(expected).items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["no calibration inputs", "nothing pruned", "not asked for"])
def test_statistics_are_left_alone_when(case):
    net, kept, mend = chain(), {"0": KEPT}, "statistics"
    if case == "no calibration inputs":
        net = Network(net.name, net.module, net.example)
    elif case == "nothing pruned":
        kept = {"0": range(6)}
    else:
        mend = "none"
    found = statistics(Prune(kept, mend=mend).in_network(net).module)
    rows = list(kept["0"])
    assert torch.equal(found["1.running_mean"], net.module[1].running_mean[rows])
    assert torch.equal(found["4.running_var"], net.module[4].running_var)


def test_the_network_itself_keeps_its_statistics():
    net = chain()
    before = copy.deepcopy(statistics(net.module))
    Prune({"0": KEPT}, mend="statistics").in_network(net)
    assert all(torch.equal(x, before[name]) for name, x in statistics(net.module).items())


def test_both_faces_agree_on_a_mended_network():
    net = network("residual", "depthwise", "statless", "twice")
    space = prune(net)
    plan = space.sample(random.Random(0))
    paper = space.on_paper(plan, Design(space.workload, EYERISS)).workload
    assert extract(space.apply(plan)) == paper


def test_a_study_tells_mended_networks_from_others():
    net = chain()
    digests = {prune(net, mend=mend).parts[0].digest() for mend in ("none", "statistics")}
    assert len(digests) == 2


def test_scales_are_those_of_the_mended_network():
    net = network("residual")
    pruned, bits = prune(net, (0.5,)), quantize(net, bits=(4,))
    plan = (0,) * len(pruned)
    joint = (pruned + bits).apply(plan + (0,) * len(bits))
    quantised = bits.edits((0,) * len(bits))[-1]
    mended = quantised.in_network(Fuse().in_network(pruned.apply(plan)))
    stale = quantised.in_network(Fuse().in_network(prune(net, (0.5,), mend="none").apply(plan)))
    scales = {n: x for n, x in joint.module.named_buffers() if n.endswith(".scale")}
    assert len(scales) > 5
    assert all(torch.equal(x, mended.module.get_buffer(n)) for n, x in scales.items())
    assert not all(torch.equal(x, stale.module.get_buffer(n)) for n, x in scales.items())


def test_an_unknown_way_of_mending_is_refused_with_the_known_ones():
    with pytest.raises(HwflowError, match=r"Unknown mend 'glue'.*none"):
        prune(chain(), mend="glue")
    with pytest.raises(HwflowError, match="Unknown mend 'glue'"):
        Prune(mend="glue")
