import copy
import gc
import weakref

import pytest
import torch
from torch import nn

from hwflow.edits.remember import Remembered, copy_of, signature
from hwflow.network import Network


@pytest.fixture
def net():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    return Network("net", module, torch.randn(1, 3, 8, 8))


@pytest.fixture
def counted():
    calls = []

    @Remembered
    def count(network):
        calls.append(network.name)
        return len(calls)

    return count


def test_a_result_is_kept(net, counted):
    assert [counted(net), counted(net)] == [1, 1]


def test_another_network_has_its_own_result(net, counted):
    assert [counted(net), counted(net.with_module(net.module))] == [1, 2]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m[0].weight.data.mul_(1.001),
        lambda m: m[0].weight.data.copy_(m[0].weight.data.flip(0)),
        lambda m: m[1].running_mean.add_(1),
        lambda m: m.__setitem__(2, nn.SiLU()),
        lambda m: m.append(nn.ReLU()),
    ],
    ids=["scaled", "permuted", "statistics", "replaced", "longer"],
)
def test_a_module_that_changed_is_worked_out_anew(net, counted, change):
    first = counted(net)
    with torch.no_grad():
        change(net.module)
    assert counted(net) == first + 1 == counted(net)


def test_a_copy_has_the_result_of_its_original(net, counted):
    twin = copy_of(net, copy.deepcopy(net.module))
    assert [counted(net), counted(twin), counted(copy_of(net, twin.module))] == [1, 1, 1]


def test_the_original_has_the_result_found_for_a_copy(net, counted):
    twin = copy_of(net, copy.deepcopy(net.module))
    assert [counted(twin), counted(net)] == [1, 1]


def test_a_copy_that_was_trained_has_its_own_result(net, counted):
    twin = copy_of(net, copy.deepcopy(net.module))
    first = counted(twin)
    twin.module[0].bias.data.add_(1)
    assert [counted(twin), counted(twin), counted(net)] == [first + 1, first + 1, first]


def test_results_go_with_their_network(counted):
    net = Network("net", nn.Linear(2, 2), torch.randn(1, 2))
    counted(net)
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_dtype_has_a_signature(dtype):
    module = nn.Linear(3, 2).to(dtype)
    before = signature(module)
    assert signature(copy.deepcopy(module)) == before
    module.weight.data[0, 0] += 1
    assert signature(module) != before
