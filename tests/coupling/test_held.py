from dataclasses import replace

import pytest
from paper_nets import Paper

from hwflow.coupling.held import per_channel


def layer(out=4, params=None, **fields):
    net = Paper(channels=3)
    net.conv("a", "x", out)
    made = net.workload()["a"]
    return replace(made, **fields) if params is None else replace(made, params=params, **fields)


def test_bias_and_factors_are_held_per_output_channel():
    held = per_channel(layer())
    assert (held.weight, held.per_output, held.once) == (True, 3, 0)
    assert held.count(layer(out=2)) == 2 * 3 + 2 * 3


def test_a_weight_counted_elsewhere_is_not_counted_again():
    held = per_channel(layer(params=4))
    assert (held.weight, held.count(layer(out=2))) == (False, 2)


@pytest.mark.parametrize(("params", "once"), [(24 + 1, 1), (24 + 4, 0)])
def test_slopes_of_an_activation_are_one_or_one_per_channel(params, once):
    assert per_channel(layer(params=params, act=("prelu",))).once == once


@pytest.mark.parametrize("params", [25, 24 + 8])
def test_parameters_that_cannot_be_shared_out_are_not_guessed(params):
    assert per_channel(layer(params=params)) is None
