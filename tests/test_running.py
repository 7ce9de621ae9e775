"""Running modules: their one output, eval mode for a while, seeds, digests of their state."""

import pytest
import torch
from torch import Tensor, nn

from hwflow.edits.trainable import trainable
from hwflow.errors import HwflowError
from hwflow.extract.exported import export_network
from hwflow.network import Network
from hwflow.running import evaluating, output, seeded, state_digest


class Returns(nn.Module):
    """A module that returns what it is told."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> object:
        return self.value


ANSWER = torch.ones(2, 3)


@pytest.mark.parametrize("value", [ANSWER, {"out": ANSWER, "aux": ANSWER + 1}, (ANSWER,), [ANSWER]])
def test_the_output_is_one_tensor(value: object) -> None:
    assert output(Returns(value), torch.zeros(1)) is ANSWER


@pytest.mark.parametrize("value", [(ANSWER, ANSWER), {"aux": ANSWER}, "text", None, []])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(HwflowError, match="not one tensor"):
        output(Returns(value), torch.zeros(1))


def test_every_part_returns_to_its_own_mode() -> None:
    module = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm2d(2)))
    module[1].eval()
    with evaluating(module):
        assert not any(part.training for part in module.modules())
    assert [part.training for part in module.modules()] == [True, True, False, False]


def test_the_mode_returns_after_an_error_too() -> None:
    module = nn.Dropout()
    with pytest.raises(ValueError, match="stop"), evaluating(module):
        raise ValueError("stop")
    assert module.training


def test_an_exported_graph_evaluates_and_trains_again() -> None:
    """Its operators have their mode in their arguments: the flag must reach them."""
    net = Network("drop", nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).eval(), torch.ones(1, 4))
    graph = trainable(export_network(net)).train()
    with evaluating(graph):
        first, second = graph(net.example), graph(net.example)
        assert torch.equal(first, second)
    assert graph.training
    drops = [bool((graph(net.example) == 0).any()) for _ in range(20)]
    assert any(drops)


def test_a_seed_gives_the_same_numbers_and_gives_the_generator_back() -> None:
    before = torch.get_rng_state()
    draws = []
    for seed in (1, 1, 2):
        with seeded(seed):
            draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_the_digest_sees_values_names_and_buffers() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    first = state_digest(module)
    assert state_digest(module) == first
    module[1].running_mean[0] = 7
    second = state_digest(module)
    renamed = nn.Sequential()
    renamed.add_module("a", module[0])
    renamed.add_module("b", module[1])
    assert len({first, second, state_digest(renamed)}) == 3


def test_the_digest_does_not_depend_on_the_layout_in_memory() -> None:
    conv = nn.Conv2d(3, 4, 3)
    before = state_digest(conv)
    assert state_digest(conv.to(memory_format=torch.channels_last)) == before


def test_a_module_without_state_has_a_digest() -> None:
    assert len(state_digest(nn.ReLU())) == 64
