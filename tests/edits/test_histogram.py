"""Ranges of activations by histograms, and whole ones."""

import pytest
import torch

from hwflow.edits.calibrate import Observed, activation_scale, weight_scale
from hwflow.fake_quantize import grid


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seen(values):
    return Observed(values, float(values.min()), float(values.max()), values.numel())


def top(values, bits, calibration):
    scale = activation_scale(seen(values), bits, calibration)
    return float(scale.scale) * (grid(bits, False)[1] - int(scale.zero_point))


@pytest.mark.parametrize("calibration", ["kl", "minmax"])
def test_evenly_spread_values_keep_their_range(calibration):
    assert top(torch.linspace(0, 4, 50_000), 8, calibration) == pytest.approx(4, rel=0.05)


def test_a_long_thin_tail_is_clipped_by_divergence_and_kept_whole_by_minmax():
    values = torch.cat([drawn(0, 100_000).abs(), torch.tensor([40.0])])
    assert top(values, 8, "minmax") == pytest.approx(40)
    assert 2 < top(values, 8, "kl") < 10
    assert top(values, 4, "kl") <= top(values, 8, "kl")


def test_zeros_do_not_count():
    values = drawn(1, 50_000).relu()
    padded = torch.cat([values, torch.zeros(100_000)])
    assert top(values, 4, "kl") == top(padded, 4, "kl")


@pytest.mark.parametrize("values", [torch.zeros(9), torch.tensor([0.0, 2.0])])
@pytest.mark.parametrize("calibration", ["kl", "minmax"])
def test_tensors_with_hardly_a_value_have_a_scale(values, calibration):
    scale = activation_scale(seen(values), 4, calibration)
    assert float(scale.scale) > 0
    assert scale(torch.zeros(2), 4).tolist() == [0, 0]


def test_values_of_both_signs_keep_zero_on_the_grid():
    scale = activation_scale(seen(drawn(0, 50_000) + 0.5), 4, "kl")
    assert 0 < int(scale.zero_point) < 15
    assert scale(torch.zeros(1), 4).item() == 0


def test_whole_ranges_of_weights_reach_to_the_largest():
    weight = drawn(0, 3, 50)
    found = weight_scale(weight, 4, 0, fit=False)
    assert torch.allclose(found.scale * 7, weight.abs().amax(1))
    one = weight_scale(weight, 1, 0, fit=False)
    assert torch.allclose(one.scale, weight.abs().mean(1))
