"""The network face of Quantize: where quantisers go and what they do to values."""

import copy
import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from random_nets import CHANNELS, block_lists, network
from torch import nn

from hwflow.edits.fuse import Fuse
from hwflow.edits.methods import Method
from hwflow.edits.quantize import Quantize, quantize
from hwflow.edits.quantizers import QUANTIZERS, prepared
from hwflow.errors import HwflowError, ModelError
from hwflow.extract import extract
from hwflow.fake_quantize import grid
from hwflow.network import Network

IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(9))


@torch.no_grad()
def run(net, images=IMAGES):
    return net.module(images)


class Watched(torch.fx.Interpreter):
    """Keeps what every quantiser reads, makes and is told."""

    def __init__(self, module):
        super().__init__(module)
        self.seen = []

    def run_node(self, n):
        value = super().run_node(n)
        if "fake_quantize" in str(n.target):
            args, _ = self.fetch_args_kwargs_from_env(n)
            self.seen.append((value.detach(), *args))
        return value


@torch.no_grad()
def quantisers(net, images=IMAGES):
    """Return (made, x, scale, zero_point, bits, signed, axis) of every quantiser."""
    watched = Watched(net.module)
    watched.run(images)
    return watched.seen


@settings(deadline=None, max_examples=4, suppress_health_check=list(HealthCheck))
@given(blocks=block_lists())
def test_quantised_values_lie_on_the_levels_of_their_bits(blocks):
    net = network(*blocks)
    space = quantize(net, (1, 2, 3, 8))
    for made, _, scale, zero, bits, signed, axis in quantisers(
        space.apply(space.sample(random.Random(len(blocks))))
    ):
        channels = [made] if axis < 0 else made.unbind(axis)
        for values, step, at in zip(channels, scale.reshape(-1), zero.reshape(-1), strict=True):
            levels = torch.unique(values / step).round() + at * (not signed)
            assert len(levels) <= 2**bits
            assert grid(bits, signed)[0] <= levels.min() <= levels.max() <= grid(bits, signed)[1]


@settings(deadline=None, max_examples=4, suppress_health_check=list(HealthCheck))
@given(blocks=block_lists())
def test_sixteen_bits_are_as_good_as_floats(blocks):
    net = network(*blocks).calibrated(IMAGES)
    space = quantize(net, (16,), first_last=None)
    expected, found = run(net), run(space.apply(space.default))
    assert float((found - expected).abs().max()) < 2e-3 * float(expected.abs().max())


def test_fewer_bits_come_ever_further_from_the_floats():
    net = network("residual", "plain").calibrated(IMAGES)
    errors = []
    for bits in (2, 4, 8):
        space = quantize(net, (bits,))
        found = run(space.apply(space.default))
        errors.append(float((found - run(net)).square().mean()))
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


def test_no_bits_at_all_leave_the_numbers_alone():
    net = network("plain", "excite")
    found = Quantize().in_network(net)
    assert torch.allclose(found.module(IMAGES), net.module(IMAGES), atol=1e-6)
    assert extract(found) == extract(net)


def test_tensors_that_are_passed_on_share_one_scale():
    net = Fuse().in_network(network("concat", "max pool"))
    groups = extract(net).bit_groups
    group = groups["blocks.0.left.conv"]
    assert groups["blocks.0.right.conv"] == group
    made = quantisers(Quantize({}, {group: 4}).in_network(net))
    assert len(made) == 2  # one for each branch, none for the concatenation
    assert torch.equal(made[0][2], made[1][2])


def test_tensors_that_meet_in_an_add_share_bits_but_not_scales():
    net = Fuse().in_network(network("residual"))
    made = quantisers(Quantize({}, {"blocks.0.second.conv": 5}).in_network(net))
    assert [m[4] for m in made] == [5, 5]
    assert made[0][2] != made[1][2]


def test_values_after_a_relu_take_a_half_wave_and_others_do_not():
    net = Fuse().in_network(network("residual"))
    made = quantisers(Quantize({}, {"stem": 4, "blocks.0.second.conv": 4}).in_network(net))
    zero_points = {int(m[3]) > 0 for m in made}
    assert zero_points == {False, True}
    assert all(float(m[1].min()) >= 0 for m in made if int(m[3]) == 0)


@pytest.mark.parametrize(
    ("block", "axis"),
    [("plain", 0), ("depthwise", 0), ("up and down", 1), ("grouped up and down", 1),
     ("depthwise up and down", 0)],
)  # fmt: skip
def test_weights_have_a_scale_per_output_channel(block, axis):
    net = Fuse().in_network(network(block))
    layer = extract(net).mac_layers[1]
    (made,) = quantisers(Quantize({layer.name: 4}).in_network(net))
    assert made[6] == axis
    assert made[2].shape == (made[1].shape[axis],)
    assert made[5]


def test_a_weight_read_twice_has_two_quantisers_with_bits_of_their_own():
    net = network("twice")
    first, second = (x.name for x in extract(net).mac_layers if x.name.startswith("blocks"))
    found = Quantize({first: 2, second: 6}).in_network(net)
    assert sorted(m[4] for m in quantisers(found)) == [2, 6]
    assert [x.weight_bits for x in extract(found).mac_layers] == [32, 2, 6, 32]


class Computed(nn.Module):
    """A convolution whose weight is standardised on the way, and a token beside the features."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.token = nn.Parameter(torch.randn(1, CHANNELS, 1, 8))
        self.last = nn.Conv2d(CHANNELS, 4, 1)

    def forward(self, x):
        weight = self.conv.weight - self.conv.weight.mean(dim=(1, 2, 3), keepdim=True)
        y = torch.relu(nn.functional.conv2d(x, weight, self.conv.bias, padding=1))
        token = self.token.expand(x.shape[0], -1, -1, -1)
        return self.last(torch.cat([y, token], dim=2))


@pytest.fixture
def computed():
    torch.manual_seed(0)
    return Network("computed", Computed().eval(), IMAGES[:1]).calibrated(IMAGES)


def test_a_weight_that_is_computed_is_quantised_where_it_is_read(computed):
    name = extract(computed).mac_layers[0].name
    found = Quantize({name: 3}).in_network(computed)
    (made,) = quantisers(found)
    weight = computed.module.conv.weight
    assert torch.equal(made[1], weight - weight.mean(dim=(1, 2, 3), keepdim=True))
    assert extract(found).mac_layers[0].weight_bits == 3


def test_a_constant_beside_quantised_values_is_quantised_with_them(computed):
    name = extract(computed).mac_layers[0].name
    made = quantisers(Quantize({}, {name: 2}).in_network(computed))
    assert len(made) == 2
    assert made[0][2] == made[1][2]
    joined = torch.cat([made[0][0], made[1][0]], dim=2)
    assert len(torch.unique(joined)) <= 4


def test_the_names_of_the_parameters_stay():
    net = Fuse().in_network(network("residual"))
    keys = Quantize({"stem": 4}, {"x": 4}).in_network(net).module.state_dict().keys()
    added = keys - net.module.state_dict().keys()
    assert added == {
        f"{QUANTIZERS}.{place}.{what}"
        for place in ("stem_weight", "x") for what in ("scale", "zero_point")
    }  # fmt: skip
    assert net.module.state_dict().keys() <= keys


def test_no_two_places_share_a_buffer():
    net = network("plain")
    labels = prepared(net).labels
    assert len(set(labels.values())) == len(labels) == len(extract(net).scale_groups)


def test_gradients_reach_every_weight_and_training_lowers_the_loss():
    net = network("residual", "excite", "dropout").calibrated(IMAGES)
    space = quantize(net, (4,))
    found = space.apply(space.default).module.train()
    wanted = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.SGD(found.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = (found(IMAGES) - wanted).square().mean()
        loss.backward()
        assert all(p.grad is not None for p in found.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_the_original_is_untouched_by_edit_and_training():
    net = network("plain")
    before = copy.deepcopy(net.module.state_dict())
    space = quantize(net, (4,))
    found = space.apply(space.default)
    with torch.no_grad():
        for parameter in found.module.parameters():
            parameter.zero_()
    assert all(torch.equal(before[key], value) for key, value in net.module.state_dict().items())
    assert space.apply(space.default).module(IMAGES).abs().sum() > 0
    assert isinstance(net.module.norm, nn.BatchNorm2d)


def test_the_same_plan_gives_the_same_network():
    net = network("concat").calibrated(IMAGES)
    space = quantize(net, (2, 8))
    plan = space.sample(random.Random(3))
    other = quantize(network("concat").calibrated(IMAGES), (2, 8))
    first = space.apply(plan).module(IMAGES)
    assert torch.equal(first, space.apply(plan).module(IMAGES))
    assert torch.equal(first, other.apply(plan).module(IMAGES))


def test_quantising_again_replaces_what_was_there():
    net = Fuse().in_network(network("residual", "concat"))
    group = extract(net).bit_groups["blocks.1.left.conv"]
    once = Quantize({"stem": 4}, {group: 4, "x": 4}).in_network(net)
    twice = Quantize({"stem": 4}, {group: 4, "x": 4}).in_network(once)
    other = Quantize({"stem": 2}, {group: 8}).in_network(once)
    assert extract(twice) == extract(once)
    assert len(quantisers(twice)) == len(quantisers(once)) == len(quantisers(other))
    assert torch.equal(once.module(IMAGES), twice.module(IMAGES))
    assert extract(other) == extract(Quantize({"stem": 2}, {group: 8, "x": 4}).in_network(net))


def test_weights_need_no_calibration_but_tensors_do():
    net = network("plain", calibrate=False)
    assert extract(Quantize({"stem": 4}).in_network(net))["stem"].weight_bits == 4
    with pytest.raises(HwflowError, match=r"network\.calibrated"):
        Quantize({}, {"x": 4}).in_network(net)


def test_weights_that_are_not_finite_are_refused_by_name():
    net = network("plain")
    net.module.blocks[0].conv.weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"blocks\.0\.conv"):
        Quantize({"blocks.0.conv": 4}).in_network(net)


def test_calibration_inputs_decide_the_scales():
    net = Fuse().in_network(network("plain"))
    small, large = (
        Quantize({}, {"x": 8}).in_network(net.calibrated(IMAGES * factor)) for factor in (1, 10)
    )
    assert quantisers(large)[0][2] == pytest.approx(10 * quantisers(small)[0][2].item(), rel=1e-4)


class Counting(nn.Module):
    """Takes the position of the largest feature: whole numbers that another layer reads."""

    def __init__(self):
        super().__init__()
        self.conv, self.table = nn.Conv2d(3, 4, 1), nn.Embedding(64, 6)
        self.last = nn.Linear(6, 2)

    def forward(self, x):
        return self.last(self.table(self.conv(x).flatten(2).argmax(-1)))


def test_whole_numbers_are_left_alone():
    net = Network("counting", Counting().eval(), IMAGES[:1]).calibrated(IMAGES)
    workload = extract(net)
    whole = next(x.name for x in workload if x.out_shape == (1, 4))
    groups = [c.name.partition(":")[2] for c in quantize(net, (4,), first_last=None).choices]
    assert workload.bit_groups[whole] not in groups
    with pytest.raises(HwflowError, match="cannot be quantised"):
        Quantize({}, {whole: 4}).in_network(net)


def test_any_batch_may_be_run():
    net = network("excite", "concat")
    space = quantize(net, (4,))
    found = space.apply(space.default).module
    alone = torch.cat([found(image[None]) for image in IMAGES[:5]])
    assert torch.allclose(found(IMAGES[:5]), alone, atol=1e-5)


def test_methods_that_fit_alike_have_the_same_scales_and_others_their_own():
    ready = prepared(network("plain"))
    layer, group = next(iter(ready.weights)), next(iter(ready.tensors))
    weight, tensor = ready.weight_scale(layer, 4), ready.tensor_scale(group, 4)
    for name in ("lsq", "pact"):
        assert ready.weight_scale(layer, 4, Method(name)) is weight
        assert ready.tensor_scale(group, 4, Method(name)) is tensor
    dorefa = Method("dorefa")
    assert ready.tensor_scale(group, 4, dorefa) is tensor
    others = [dorefa, Method("dorefa", faithful=True), Method(calibration="minmax")]
    found = [weight, *(ready.weight_scale(layer, 4, method) for method in others)]
    assert len({tuple(scale.scale.flatten().tolist()) for scale in found}) == len(found)
    whole = ready.tensor_scale(group, 4, Method(calibration="minmax"))
    assert not torch.equal(whole.scale, tensor.scale)
