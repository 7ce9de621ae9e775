"""Costs of options at a site on a machine, and which are promising there."""

import pytest
from tiny_distill import OPTIONS, blocks, network

from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.distill.targets import option_costs, promising_options, slower_options
from hwflow.edits.operations import find
from hwflow.extract import extract
from hwflow.machine import load_machine

MACHINE = load_machine("eyeriss")


@pytest.fixture(scope="module")
def tiny():
    net = network()
    return extract(net), blocks(net)


def test_an_options_cost_is_that_of_what_stands_at_the_site_alone(tiny):
    workload, sites = tiny
    costs = option_costs(workload, sites[0], OPTIONS, MACHINE, Mid())
    assert set(costs) == {option.name for option in OPTIONS}
    assert costs["keep"].macs == 2 * 8 * 8 * 9 * 64
    assert costs["conv_bn_act_k1_g1"].macs == 8 * 8 * 64
    assert (costs["skip"].macs, costs["skip"].latency_s) == (0, 0)
    piece = OPTIONS[2].piece(sites[0], workload)
    alone = Mid().cost(Design(piece, MACHINE)).total["latency_s"]
    assert costs["conv_bn_act_k3_g1"].latency_s == alone


def test_promising_options_are_named_by_site(tiny):
    workload, sites = tiny
    found = promising_options(workload, sites, OPTIONS, MACHINE, Mid(), keep=0)
    assert list(found) == ["one", "two"]
    assert {"keep", "skip"} <= set(found["one"])
    everything = promising_options(workload, sites, OPTIONS, MACHINE, Mid(), keep=99)
    assert set(found["one"]) <= set(everything["one"]) <= {option.name for option in OPTIONS}


def test_options_that_are_no_faster_than_what_stands_there_are_named_and_never_promising(tiny):
    workload, sites = tiny
    options = (*OPTIONS, *find(("inverted_residual_k1_e6_se0_relu",)))
    slower = slower_options(workload, sites, options, MACHINE, Mid())
    everything = promising_options(workload, sites, options, MACHINE, Mid(), keep=99)
    for site in sites:
        costs = option_costs(workload, site, options, MACHINE, Mid())
        most = costs["keep"].latency_s
        beaten = {name for name, cost in costs.items() if cost.latency_s >= most}
        assert {*slower[site.name]} == beaten - {"keep"}
        assert not {*slower[site.name]} & ({*everything[site.name]} - {"skip"})
    assert slower["one"] == ("inverted_residual_k1_e6_se0_relu",)
