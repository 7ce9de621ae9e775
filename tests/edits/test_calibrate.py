import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hwflow.edits.calibrate import (
    SAMPLES,
    Observed,
    activation_scale,
    observe,
    together,
    weight_scale,
)  # fmt: skip
from hwflow.errors import DataError, ModelError
from hwflow.fake_quantize import grid


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seen(values):
    return Observed(values, float(values.min()), float(values.max()), values.numel())


def error(scale, values, bits):
    return float((scale(values, bits) - values).square().mean())


@settings(deadline=None, max_examples=25)
@given(bits=st.integers(2, 8), seed=st.integers(0, 99), power=st.floats(1, 3))
def test_weight_scales_beat_every_range_of_a_fine_grid(bits, seed, power):
    weight = drawn(seed, 3, 200).sign() * drawn(seed, 3, 200).abs() ** power
    scale = weight_scale(weight, bits, 0)
    for row, step in zip(weight, scale.scale, strict=True):
        top = float(row.abs().max()) / grid(bits, True)[1]
        errors = []
        for factor in torch.linspace(0.1, 1, 50):
            levels = (row / (factor * top)).round().clamp(*grid(bits, True))
            errors.append(float((levels * factor * top - row).square().sum()))
        levels = (row / step).round().clamp(*grid(bits, True))
        found = float((levels * step - row).square().sum())
        assert found <= min(errors) * 1.06  # the search looks at fewer ranges


def test_ternary_weights_of_a_normal_distribution_take_the_known_optimum():
    # least squared error of levels -s, 0, s for N(0, 1): s = 1.224 (Lloyd, Max)
    assert float(weight_scale(drawn(0, 1, 50_000), 2, 0).scale) == pytest.approx(1.224, abs=0.03)


def test_one_bit_weights_take_the_mean_magnitude_of_their_channel():
    weight = torch.tensor([[1.0, -3.0], [0.5, 0.5]])
    assert weight_scale(weight, 1, 0).scale.tolist() == [2.0, 0.5]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_there_is_one_scale_per_index_of_the_axis(axis):
    weight = drawn(1, 3, 4, 5)
    scale = weight_scale(weight, 4, axis)
    assert (scale.scale.shape, scale.axis) == ((weight.shape[axis],), axis)
    for index in range(weight.shape[axis]):
        alone = weight_scale(weight.select(axis, index)[None], 4, 0)
        assert torch.equal(alone.scale[0], scale.scale[index])


def test_without_an_axis_there_is_one_scale():
    scale = weight_scale(drawn(1, 3, 4), 4, -1)
    assert scale.scale.shape == (1,)
    assert error(scale, drawn(1, 3, 4), 4) < 0.02


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_dead_channels_stay_at_zero_and_have_a_sound_scale(bits):
    weight = torch.zeros(2, 3)
    weight[1] = 1
    scale = weight_scale(weight, bits, 0)
    assert (scale.scale > 0).all()
    if bits > 1:
        assert torch.equal(scale(weight, bits), weight)


@settings(deadline=None, max_examples=15)
@given(bits=st.integers(1, 15), seed=st.integers(0, 99), shift=st.floats(-4, 4))
def test_one_bit_more_never_hurts_by_more_than_the_coarseness_of_the_search(bits, seed, shift):
    values = drawn(seed, 2000) + shift
    few, many = (error(activation_scale(seen(values), b), values, b) for b in (bits, bits + 1))
    assert many <= few * 1.1


def test_values_that_are_never_negative_take_a_half_wave():
    scale = activation_scale(seen(drawn(0, 4000).relu()), 4)
    assert not scale.signed
    assert int(scale.zero_point) == 0


def test_values_of_both_signs_take_a_zero_point_inside_the_grid():
    values = drawn(0, 4000) + 1
    scale = activation_scale(seen(values), 4)
    assert 0 < int(scale.zero_point) < 15
    assert error(scale, values, 4) < float(values.var()) / 50


def test_values_that_are_never_positive_keep_zero_on_the_grid():
    scale = activation_scale(seen(-drawn(0, 4000).abs()), 4)
    assert int(scale.zero_point) == 15
    assert scale(torch.zeros(1), 4).item() == 0


def test_an_outlier_is_clipped_at_few_bits_and_kept_at_many():
    values = torch.cat([drawn(0, 5000).relu(), torch.tensor([15.0])])
    scales = {bits: float(activation_scale(seen(values), bits).scale) for bits in (3, 16)}
    tops = {bits: scale * grid(bits, False)[1] for bits, scale in scales.items()}
    assert tops[3] < 6
    assert tops[16] == pytest.approx(15, rel=0.01)


def test_a_tensor_of_zeros_has_a_scale():
    scale = activation_scale(seen(torch.zeros(10)), 8)
    assert scale.scale > 0
    assert scale(torch.zeros(3), 8).tolist() == [0, 0, 0]


class Net(nn.Module):
    def forward(self, x):
        return torch.relu(x * 2 - 1)


@pytest.fixture
def graph():
    dims = ({0: torch.export.Dim("batch")},)
    return torch.export.export(Net(), (torch.randn(2, 5),), dynamic_shapes=dims).module()


def node(graph, operator):
    return next(n for n in graph.graph.nodes if operator in str(n.target))


def test_extremes_are_those_of_all_inputs(graph):
    inputs = drawn(2, 100, 5)
    found = observe(graph, {"y": node(graph, "sub")}, inputs)["y"]
    assert found.low == pytest.approx(float((inputs * 2 - 1).min()))
    assert found.high == pytest.approx(float((inputs * 2 - 1).max()))
    assert found.elements == 500


def test_few_values_are_all_kept_and_many_are_sampled(graph):
    few = observe(graph, {"y": node(graph, "mul")}, drawn(2, 10, 5))["y"]
    assert torch.equal(few.values.sort().values, (drawn(2, 10, 5) * 2).reshape(-1).sort().values)
    many = observe(graph, {"y": node(graph, "mul")}, drawn(2, 40_000, 5))["y"]
    assert SAMPLES <= len(many.values) < 2 * SAMPLES
    assert float(many.values.std()) == pytest.approx(2, rel=0.05)


def test_the_same_values_are_taken_every_time(graph):
    runs = [observe(graph, {"y": node(graph, "mul")}, drawn(2, 40_000, 5)) for _ in range(2)]
    assert torch.equal(runs[0]["y"].values, runs[1]["y"].values)


def test_one_node_may_have_several_names(graph):
    found = observe(graph, {"a": node(graph, "mul"), "b": node(graph, "mul")}, drawn(2, 3, 5))
    assert found["a"].low == found["b"].low


def test_no_inputs_are_refused(graph):
    with pytest.raises(DataError, match="no calibration inputs"):
        observe(graph, {"y": node(graph, "mul")}, torch.zeros(0, 5))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused_by_name(graph, bad):
    inputs = torch.zeros(3, 5)
    inputs[1, 2] = bad
    with pytest.raises(ModelError, match="'y' holds values that are not finite"):
        observe(graph, {"y": node(graph, "mul")}, inputs)


def test_tensors_together_give_values_by_their_size():
    large, small = seen(torch.zeros(3 * SAMPLES)), seen(torch.ones(SAMPLES))
    both = together([large, small])
    assert float(both.values.mean()) == pytest.approx(0.25, abs=0.01)
    assert (both.low, both.high, both.elements) == (0, 1, 4 * SAMPLES)
