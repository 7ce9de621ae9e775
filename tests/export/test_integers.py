import pytest
import torch
from random_nets import network
from torch import nn

from hwflow.edits.calibrate import weight_scale
from hwflow.edits.fuse import Fuse
from hwflow.edits.quantize import Quantize
from hwflow.export.integers import dequantize, in_integers, levels, requantize
from hwflow.fake_quantize import fake_quantize, grid

IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def quantised(net, weights, tensors=None):
    return Quantize(weights, tensors or {}).in_network(Fuse().in_network(net)).module


def targets(module):
    return [str(n.target) for n in module.graph.nodes if str(n.target).startswith("hwflow.")]


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_levels_times_scale_are_the_fake_quantised_weight(bits, axis):
    weight = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(bits))
    scale = weight_scale(weight, bits, axis)
    stored = levels(weight, scale.scale, bits, axis)
    assert stored.dtype == torch.int8
    assert grid(bits, True)[0] <= stored.min() <= stored.max() <= grid(bits, True)[1]
    zero = torch.zeros_like(scale.scale, dtype=torch.int8)
    assert torch.equal(dequantize(stored, scale.scale, zero, axis), scale(weight, bits))


def test_a_requantiser_is_an_eight_bit_quantiser():
    scale, zero = torch.tensor(0.1), torch.tensor(3, dtype=torch.int32)
    expected = fake_quantize(IMAGES, scale, zero, 8, False, -1)
    assert torch.equal(requantize(IMAGES, scale, zero), expected)


@pytest.mark.parametrize("operator", [dequantize, requantize])
def test_torch_finds_nothing_wrong_with_the_operators(operator):
    scale, zero = torch.full((3,), 0.1), torch.zeros(3, dtype=torch.int8)
    if operator is dequantize:
        args = (torch.ones(2, 3, dtype=torch.int8), scale, zero, 1)
    else:
        args = (torch.randn(2, 3), scale[0], zero[0].int())
    torch.library.opcheck(operator, args)


def test_the_copy_computes_the_same():
    net = network("residual", "grouped up and down", "depthwise")
    weights = {"stem": 8, "blocks.0.first.conv": 1, "blocks.1.up": 3, "blocks.2.conv": 12}
    module = quantised(net, weights, {"x": 8, "stem": 8, "blocks.1.up": 4})
    stored = in_integers(module, ["x"])
    assert torch.allclose(stored(IMAGES), module(IMAGES), atol=1e-6)
    assert targets(stored).count("hwflow.dequantize.default") == 3
    assert targets(stored).count("hwflow.requantize.default") == 1


def test_weights_of_up_to_eight_bits_become_bytes_under_their_name():
    module = quantised(network("plain"), {"stem": 8, "blocks.0.conv": 2})
    state = in_integers(module, []).state_dict()
    assert state["stem.weight"].dtype == state["blocks.0.conv.weight"].dtype == torch.int8
    assert set(state["blocks.0.conv.weight"].unique().tolist()) == {-1, 0, 1}
    assert state["head.2.weight"].dtype == torch.float32


def test_wider_weights_stay_floats_on_their_grid():
    module = quantised(network("plain"), {"stem": 9})
    stored = in_integers(module, [])
    assert stored.state_dict()["stem.weight"].dtype == torch.float32
    assert not targets(stored)
    assert torch.equal(stored(IMAGES), module(IMAGES))


def test_the_module_itself_stays_as_it_was():
    module = quantised(network("plain"), {"stem": 4}, {"x": 8})
    before, keys = targets(module), list(module.state_dict())
    in_integers(module, ["x"])
    assert targets(module) == before
    assert list(module.state_dict()) == keys
    assert isinstance(module.stem.weight, nn.Parameter)


def test_a_weight_with_two_readers_is_stored_for_each():
    net = network("twice")
    names = ["blocks.0.conv", "blocks.0.conv#2"]
    module = Quantize(dict(zip(names, (2, 6), strict=True))).in_network(net).module
    stored = in_integers(module, [])
    kept = [b for b in stored.buffers() if b.dtype == torch.int8 and b.dim() == 4]
    assert sorted(len(b.unique()) <= 3 for b in kept) == [False, True]
    assert torch.allclose(stored(IMAGES), module(IMAGES), atol=1e-6)
