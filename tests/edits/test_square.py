"""The square: what is read from the edited network is what the edit says on paper."""

import random

import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_nets import BLOCKS, HEADS, block_lists, network

from hwflow.design import Design
from hwflow.edits.fuse import Fuse, fuse
from hwflow.edits.quantize import quantize
from hwflow.extract import extract
from hwflow.machine import load_machine
from hwflow.network import Network
from hwflow.space import Space
from hwflow.testing import check_edit, difference

EYERISS = load_machine("eyeriss")


def assert_square(space: Space, plan, net: Network) -> None:
    found = extract(space.apply(plan, net))
    paper = space.on_paper(plan, Design(space.workload, EYERISS)).workload
    assert found == paper, difference(found, paper)


quick = settings(deadline=None, max_examples=6, suppress_health_check=list(HealthCheck))


@quick
@given(blocks=block_lists(), head=st.sampled_from(HEADS), seed=st.integers(0, 999))
def test_random_plans_on_random_networks(blocks, head, seed):
    net = network(*blocks, head=head)
    space = quantize(net, (1, 2, 4, 8, 16, 32))
    rng = random.Random(seed)
    for _ in range(3):
        assert_square(space, space.sample(rng), net)


@pytest.mark.slow
@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(blocks=block_lists(6), head=st.sampled_from(HEADS), seed=st.integers(0, 999))
def test_many_random_plans_on_many_random_networks(blocks, head, seed):
    net = network(*blocks, head=head)
    space = quantize(net, (1, 2, 4, 8, 16, 32), first_last=None)
    assert_square(space, space.sample(random.Random(seed)), net)
    assert_square(fuse(net), (), net)


@pytest.mark.slow
@pytest.mark.parametrize("block", sorted(BLOCKS))
def test_edits_keep_their_promises_on_every_block(block):
    net = network(block)
    check_edit(Fuse(), net, EYERISS)
    check_edit(quantize(net, (2, 8)), net, EYERISS)


def test_edits_keep_their_promises_on_all_blocks_together():
    net = network(*(name for name in BLOCKS if name != "statless"))
    check_edit(quantize(net, (1, 8)), net, EYERISS, plans=1)


def zoo(name: str, size: int) -> Network:
    options = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    if name.startswith(("deeplab", "lraspp")):
        options["weights_backbone"] = None
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, weights=None, **options).eval()
    images = torch.randn(3, 3, size, size)
    return Network(name, module, images[:1]).calibrated(images)


def square_of_zoo(name: str, size: int, bits: tuple[int, ...]) -> None:
    net = zoo(name, size)
    assert extract(net) == fuse(net).workload
    space = quantize(net, bits)
    assert_square(space, space.sample(random.Random(1)), net)


def test_a_real_network():
    square_of_zoo("resnet18", 32, (1, 8))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("mobilenet_v2", 64), ("densenet121", 64), ("vit_b_16", 224), ("swin_t", 224),
        ("googlenet", 96), ("inception_v3", 139), ("efficientnet_b0", 64),
        ("mobilenet_v3_small", 64),
        ("regnet_y_400mf", 64), ("convnext_tiny", 64), ("shufflenet_v2_x1_0", 64),
        ("squeezenet1_1", 64), ("vgg16_bn", 64), ("mnasnet1_0", 64), ("resnext50_32x4d", 64),
        ("deeplabv3_resnet50", 64), ("lraspp_mobilenet_v3_large", 64), ("maxvit_t", 224),
    ],
)  # fmt: skip
def test_more_real_networks(name, size):
    square_of_zoo(name, size, (1, 2, 4, 8))
