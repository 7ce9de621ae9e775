"""The moving average of the weights."""

import pytest
import torch
from torch import nn

from hwflow.errors import HwflowError
from hwflow.train.average import Average


def test_it_keeps_its_share_with_each_step_and_less_at_the_start():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    average = Average(layer, 0.5)
    nn.init.ones_(layer.weight)
    average.update(1)
    assert average.state["weight"].item() == pytest.approx(1 - 2 / 11)
    average.update(100)
    assert average.state["weight"].item() == pytest.approx(1 - 0.5 * 2 / 11)


def test_counters_are_copied_and_the_module_takes_the_averages():
    norm = nn.BatchNorm2d(2)
    average = Average(norm, 0.9)
    norm.train()
    norm(torch.randn(4, 2, 3, 3) + 5)
    average.update(1000)
    average.write()
    assert norm.num_batches_tracked.item() == 1
    assert torch.allclose(norm.running_mean, average.state["running_mean"])
    assert 0 < norm.running_mean[0].item() < 0.2  # 0.9 x 0 + 0.1 x 0.1 x about 5


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_share_outside_its_range_is_refused(decay):
    with pytest.raises(HwflowError, match="ema is the share kept"):
        Average(nn.Linear(1, 1), decay)
