"""Pruning where tensors share a parameter, take their size from another, or are written into."""

import random

import pytest
import torch
from masked_twins import differs, lively, masked_twin, random_kept, relative_error
from torch import Tensor, nn
from torch.nn import functional as F

from hwflow.coupling import couple
from hwflow.design import Design
from hwflow.edits.fuse import read
from hwflow.edits.prune import Prune, prune
from hwflow.edits.quantizers import prepared
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.machine import load_machine
from hwflow.network import Network
from hwflow.testing import difference


class Body(nn.Module):
    """A stem, something in between and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 1), nn.Linear(8, 5)
        self.first, self.second = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(F.silu(self.stem(x))).mean((2, 3)))


class TiedWeights(Body):
    def __init__(self) -> None:
        super().__init__()
        self.second.weight = self.first.weight
        self.third = nn.Conv2d(8, 8, 1)

    def body(self, x: Tensor) -> Tensor:
        return self.third(F.silu(self.second(F.silu(self.first(x)))))


class OneActivation(Body):
    """Slopes by channel that two tensors share."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.PReLU(8)

    def body(self, x: Tensor) -> Tensor:
        return self.second(self.act(self.first(self.act(x))))


class ZerosBeside(Body):
    """A shortcut that is widened by as many zeros as it has channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(8, 16, 1), nn.Conv2d(16, 8, 1)

    def body(self, x: Tensor) -> Tensor:
        wide = torch.cat([x, torch.zeros_like(x)], 1)
        return self.second(F.relu(self.first(x) + wide))


class WrittenInto(Body):
    def body(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y[:, :4] += x[:, 4:]
        return self.second(F.relu(y))


def net_of(kind: type[Body]) -> Network:
    torch.manual_seed(0)
    return lively(Network(kind.__name__, kind().eval(), torch.randn(1, 3, 6, 6)))


@pytest.mark.parametrize("kind", [TiedWeights, OneActivation, ZerosBeside, WrittenInto])
def test_what_the_space_offers_keeps_both_promises(kind):
    net = net_of(kind)
    exclude = prune(net).parts[0].exclude
    workload, images = read(net).workload, 10 * torch.randn(3, 3, 6, 6)
    for seed in range(3):
        kept = random_kept(couple(workload, exclude), random.Random(seed), fewest=0.4)
        edit = Prune(kept, exclude)
        pruned = edit.in_network(net)
        paper = edit.on_paper(Design(workload, load_machine("eyeriss"))).workload
        assert extract(pruned) == paper, difference(extract(pruned), paper)
        with torch.no_grad():
            expected = masked_twin(net, kept, exclude)(images)
            assert differs(expected) > 1e-3  # else an error would not be seen
            assert relative_error(pruned.module(images), expected) < 1e-5


def test_a_weight_of_two_layers_is_cut_for_both_and_stays_one():
    net = net_of(TiedWeights)
    assert "stem" in couple(read(net).workload).names
    module = Prune({"stem": (0, 3, 5)}).in_network(net).module
    assert module.get_parameter("first.weight") is module.get_parameter("second.weight")
    assert module.get_parameter("first.weight").shape[:2] == (3, 3)


def test_both_readers_of_shared_slopes_are_named():
    with pytest.raises(HwflowError, match=r"reads act.weight, which others read") as caught:
        Prune().in_network(net_of(OneActivation))
    assert "\n  first: " in str(caught.value)
    assert "\n  stem: " in str(caught.value)


def test_zeros_as_wide_as_a_pruned_tensor_are_not_taken_for_a_constant():
    with pytest.raises(HwflowError, match="as wide as a tensor with other channels"):
        Prune().in_network(net_of(ZerosBeside))
    assert "stem" in prune(net_of(ZerosBeside)).parts[0].exclude


def test_what_is_written_over_a_whole_batch_is_read_as_what_was_written():
    net = net_of(WrittenInto)
    assert prepared(net).workload["add"].inputs == extract(net)["add"].inputs
    assert prepared(net).workload.mac_readers("stem") == ("first", "second")
