import pytest
import torch
from torch import nn

from hwflow.train import restate


def test_batches_are_alike_in_size_so_that_every_input_counts_the_same():
    norm = nn.BatchNorm2d(1).eval()
    inputs = torch.zeros(6, 1, 1, 1)
    inputs[5] = 6  # with batches of 5 and 1 the average of their means would be 3
    restate(norm, inputs, batch_size=5)
    assert norm.running_mean.item() == pytest.approx(1)
    assert not norm.training


def test_a_module_is_changed_in_place_and_its_weights_are_not():
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).eval()
    before = {name: value.clone() for name, value in module.named_parameters()}
    inputs = torch.randn(4, 1, 3, 3) + 5
    restate(module, inputs)
    expected = module[0](inputs).mean((0, 2, 3))
    torch.testing.assert_close(module[1].running_mean, expected)
    assert all(torch.equal(value, before[name]) for name, value in module.named_parameters())
