"""Channels, branches and bits in one plan: the square holds, in whatever order it is asked for."""

import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_nets import HEADS, block_lists, network

from hwflow.design import Design
from hwflow.edits.prune import prune
from hwflow.edits.quantize import quantize
from hwflow.extract import extract
from hwflow.machine import load_machine
from hwflow.testing import difference

EYERISS = load_machine("eyeriss")
suppressed = list(HealthCheck)


def check(blocks, head, seed) -> None:
    net = network("residual", *blocks, "plain", head=head)
    pruned = prune(net, (0.25, 0.5), branches=True)
    bits = quantize(net, (1, 3, 8), first_last=None)
    one, other = pruned + bits, bits + pruned
    assert one == other
    plan = one.sample(random.Random(seed))
    made, again = one.apply(plan), other.apply(plan)
    paper = one.on_paper(plan, Design(one.workload, EYERISS)).workload
    assert extract(made) == paper, difference(extract(made), paper)
    images = torch.randn(2, *net.example.shape[1:])
    with torch.no_grad():
        assert torch.equal(made.module(images), again.module(images))


@settings(deadline=None, max_examples=3, suppress_health_check=suppressed)
@given(blocks=block_lists(2), head=st.sampled_from(HEADS), seed=st.integers(0, 999))
def test_random_plans_on_random_networks(blocks, head, seed):
    check(blocks, head, seed)


@pytest.mark.slow
@settings(deadline=None, max_examples=40, suppress_health_check=suppressed)
@given(blocks=block_lists(5), head=st.sampled_from(HEADS), seed=st.integers(0, 999))
def test_many_random_plans_on_many_random_networks(blocks, head, seed):
    check(blocks, head, seed)
