import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_nets import BLOCKS, network
from torch import Tensor, nn
from torch.nn import functional as F

from hwflow.data import load_data
from hwflow.edits.quantize import Quantize, quantize
from hwflow.errors import DataError, HwflowError, ModelError
from hwflow.fake_quantize import fake_quantize
from hwflow.fake_quantize import grid as grid_limits
from hwflow.integer import agreement, exact_simulation, integer_network, simulated_codes
from hwflow.integer.values import Grid
from hwflow.models import load
from hwflow.network import Network

IMAGES = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(3))
BITS = (1, 2, 3, 4, 5, 8, 11, 16)
WITH_INTEGERS = sorted(set(BLOCKS) - {"statless"})


def drawn(net, seed, bits=BITS, **options):
    space = quantize(net, bits, **options)
    return space.apply(space.sample(random.Random(seed)))


def check(quantised, images=IMAGES):
    """Every code of the program is that of the exact simulation, and no accumulator overflows."""
    program = integer_network(quantised)
    found = agreement(quantised, program, images)
    assert found.exact == 0, found
    assert found.codes > 0
    assert found.output_difference < 1e-12
    for layer, (low, high) in program.sums(images.numpy()).items():
        half = 2 ** (program.accumulators[layer] - 1)
        assert -half <= low <= high < half, layer
    return program, found


DRAWN = st.lists(st.sampled_from(WITH_INTEGERS), min_size=1, max_size=3), st.integers(0, 10**6)


@settings(max_examples=5, deadline=None)
@given(*DRAWN)
def test_random_networks_of_random_bits_are_bit_exact(blocks, seed):
    check(drawn(network(*blocks), seed))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(*DRAWN)
def test_many_random_networks_of_random_bits_are_bit_exact(blocks, seed):
    check(drawn(network(*blocks), seed))


def test_resnet20_is_bit_exact():
    net = load("cifar:resnet20")
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    program, found = check(drawn(net.calibrated(images), 5), images)
    assert found.float32 < 0.02 * found.codes
    assert {"layer1.0.conv1", "linear"} <= set(program.accumulators)


def digits(bits):
    """ResNet-8 on digits: with mean and std 0.5 every pixel lies in the middle of two codes."""
    net = load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8))
    data = load_data("digits", net)
    space = quantize(net.calibrated(data.calibration(256)), (bits,), first_last=bits)
    return space.apply(space.default), data.test.head(64)


def test_pixels_that_tie_are_given_the_codes_of_the_float32_network():
    made, images = digits(8)
    program, found = check(made, images)
    ratio = images.numpy() / np.float64(program.input_grid.scale)
    assert (np.abs(ratio % 1 - 0.5) < 1e-4).mean() > 0.9
    name = program.input
    assert np.array_equal(program.codes(images.numpy())[name], simulated_codes(made, images)[name])
    assert found.predictions == 0
    assert found.float32_alone < 1e-4 * found.codes


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.floats(width=32, allow_nan=False) | st.integers(-600, 600).map(lambda n: n / 510),
        min_size=1, max_size=20,
    ),
    st.floats(2**-99, 10, width=32) | st.just(1 / 127.5),
    st.integers(0, 255),
    st.sampled_from([(1, True), (2, True), (8, True), (1, False), (8, False), (16, False)]),
)  # fmt: skip
def test_input_codes_are_those_of_fake_quantize(values, scale, zero, kind):
    bits, signed = kind
    x, step = torch.tensor(values, dtype=torch.float32), torch.tensor(scale)
    low, high = grid_limits(bits, signed)
    zero = 0 if signed else min(zero, high)
    grid = Grid(step.double().numpy(), np.array(zero), bits, signed, low, high)
    points = fake_quantize(x, step, torch.tensor(zero, dtype=torch.int32), bits, signed, -1)
    codes = grid.codes(x.numpy())
    assert np.array_equal(np.float32(grid.real(codes)), points.numpy())


def test_halves_fall_to_the_even_code_and_infinities_to_the_ends():
    grid = Grid(np.array(1.0), np.array(1), 4, False, 0, 15)
    given = np.float32([-1.5, -0.5, 0.5, 1.5, 2.5, np.inf, -np.inf])
    for real in (given, given.astype(np.float64)):
        assert grid.codes(real).tolist() == [0, 1, 1, 3, 3, 15, 0]


def test_images_with_nan_are_refused():
    made = drawn(network("plain"), 0)
    program, images = integer_network(made), IMAGES.clone()
    images[1, 0, 2, 3] = torch.nan
    for use in (
        lambda: program.run(images.numpy()),
        lambda: simulated_codes(made, images),
        lambda: agreement(made, program, images),
    ):
        with pytest.raises(DataError, match="NaN"):
            use()


def test_infinite_pixels_are_clipped():
    images = IMAGES.clone()
    images[0, 0, 0, :2] = torch.tensor([torch.inf, -torch.inf])
    check(drawn(network("plain"), 0), images)


class Kinds(nn.Module):
    """Operators that random networks do not have."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding="same", dilation=2)
        self.wide = nn.Conv2d(6, 12, 3, stride=2, padding=(1, 2), groups=6)
        self.point = nn.Conv2d(12, 8, 1)
        self.up = nn.ConvTranspose2d(8, 8, 3, 2, padding=1, output_padding=1, dilation=1, groups=2)
        self.last = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.stem(x))
        x = F.avg_pool2d(F.gelu(self.wide(x)), 3, 1, 1)
        x = F.max_pool2d(F.leaky_relu(self.point(x), 0.1), 2, 2, ceil_mode=True)
        left, right = F.elu(self.up(x)).chunk(2, 1)
        x = torch.cat([right, left], 1)
        x = x.view(-1, 2, 4, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
        x = F.pad(x, (0, 0, 0, 1)) * 0.5 + 1.25
        return self.last(torch.tanh(2 - x).mean((2, 3)))


@pytest.mark.parametrize("seed", range(2))
def test_other_operators_are_bit_exact(seed):
    torch.manual_seed(seed)
    net = Network("kinds", Kinds().eval(), IMAGES[:1]).calibrated(IMAGES)
    check(drawn(net, seed, (2, 3, 6, 8)))


def test_quantised_outputs_are_the_same_numbers():
    net = network("plain", head="map")
    space = quantize(net, (4,), first_last=None)
    made = space.apply(space.default)
    workload = quantize(net).workload
    last = Quantize(tensors={workload.layers[-1].name: 6}).in_network(made)
    program, found = check(last)
    assert found.output_difference == 0
    exact = exact_simulation(last).module(IMAGES.double()).detach().numpy()
    assert np.array_equal(program.run(IMAGES.numpy())[0], exact)


def test_a_batch_norm_that_was_not_fused_goes_into_the_requantization():
    net = network("plain", "depthwise")
    workload = quantize(net).workload
    every = {x.name: 5 for x in workload.mac_layers}
    tensors = dict.fromkeys([i.name for i in workload.inputs] + [x.name for x in workload], 6)
    made = Quantize(every, tensors).in_network(net)
    assert "batch_norm" in str(made.module.graph)
    program, _ = check(made)
    assert not [step for step in program.steps if "norm" in step.kind]


@pytest.mark.parametrize("method", ["lsq", "pact", "dorefa"])
def test_learned_quantisers_are_bit_exact(method):
    pytest.importorskip("hwflow.learned_grids")
    made = drawn(network("residual"), 2, (2, 4, 8))
    for node in [n for n in made.module.graph.nodes if "fake_quantize" in str(n.target)]:
        weight = node.args[4]
        if method == "lsq":
            node.args = (*node.args, 10)
        elif (method == "pact") == weight or (method == "pact" and not half_wave(made, node)):
            continue
        node.target = getattr(torch.ops.hwflow, method).default
    made.module.recompile()
    found = agreement(made, integer_network(made), IMAGES)
    assert found.exact == 0


def half_wave(made, node):
    return int(made.module.get_buffer(str(node.args[2].target))) == 0


class Channels(nn.Module):
    """Activations with one scale, and one zero point, per channel."""

    def __init__(self, dense):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1, groups=1 if dense else 3)
        self.register_buffer("scale", torch.tensor([0.1, 0.03, 0.2]))
        self.register_buffer("zero", torch.tensor([3, 0, 9], dtype=torch.int32))
        self.register_buffer("step", torch.tensor([0.01, 0.02, 0.03]))
        self.register_buffer("none", torch.zeros(3, dtype=torch.int32))

    def forward(self, x):
        x = fake_quantize(x, self.scale, self.zero, 4, False, 1)
        weight = fake_quantize(self.conv.weight, self.step, self.none, 5, True, 0)
        x = F.conv2d(x, weight, self.conv.bias, padding=1, groups=self.conv.groups)
        return fake_quantize(torch.relu(x), self.scale, self.zero, 4, False, 1)


def exported(module):
    from hwflow.extract.exported import export_network

    net = Network("own", module.eval(), IMAGES[:1])
    return net.with_module(export_network(net, dynamic_batch=True))


def test_scales_per_channel_of_activations_are_bit_exact_where_channels_stay_apart():
    torch.manual_seed(0)
    check(exported(Channels(dense=False)))
    with pytest.raises(ModelError, match="different scales"):
        integer_network(exported(Channels(dense=True)))


class Signs(nn.Module):
    """Binary weights and binary signed activations."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("one", torch.tensor(0.5))
        self.register_buffer("zero", torch.tensor(0, dtype=torch.int32))

    def forward(self, x):
        x = fake_quantize(x, self.one, self.zero, 1, True, -1)
        weight = fake_quantize(self.conv.weight, self.one, self.zero, 1, True, -1)
        return fake_quantize(F.conv2d(x, weight), self.one, self.zero, 1, True, -1)


def test_binary_networks_round_by_sign_and_zero_is_positive():
    program, _ = check(exported(Signs()))
    codes = program.codes(IMAGES.numpy())
    assert all(set(np.unique(c)) == {-1, 1} for c in codes.values())
    assert program.accumulators["conv"] == 6  # 27 products of 1


def test_ties_fall_to_the_even_code_where_scales_are_powers_of_two():
    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("fine", torch.tensor(0.25))
            self.register_buffer("coarse", torch.tensor(0.5))
            self.register_buffer("zero", torch.tensor(3, dtype=torch.int32))

        def forward(self, x):
            x = fake_quantize(x, self.fine, self.zero, 8, False, -1)
            return fake_quantize(x, self.coarse, self.zero, 4, False, -1)

    module = exported(Halves())
    images = torch.arange(-5, 187).reshape(1, 3, 8, 8) * 0.25
    found = agreement(module, integer_network(module), images)
    assert (found.exact, found.float32) == (0, 0)


def test_the_agreement_is_what_is_counted_by_hand():
    made = drawn(network("residual", "biased"), 1)
    program = integer_network(made)
    found = agreement(made, program, IMAGES)
    ours, theirs = program.codes(IMAGES.numpy()), simulated_codes(made, IMAGES)
    assert ours.keys() == theirs.keys() == program.grids.keys()
    assert found.float32 == sum(int((ours[k] != theirs[k]).sum()) for k in ours)
    assert found.codes == sum(c.size for c in ours.values())
    for name, codes in ours.items():
        grid = program.grids[name]
        assert grid.low <= codes.min() <= codes.max() <= grid.high, name


def test_another_program_is_seen_to_differ():
    made = drawn(network("residual"), 1, (8,))
    narrow = integer_network(made, multiplier_bits=8)
    assert agreement(made, narrow, IMAGES).exact > 0
    other = integer_network(drawn(network("residual"), 2, (7,)))
    assert not agreement(made, replace(other, grids=narrow.grids), IMAGES).bit_exact


def test_images_do_not_depend_on_who_runs_beside_them():
    program = integer_network(drawn(network("excite"), 0))
    many = torch.randn(18, 3, 8, 8).numpy()
    alone = np.concatenate([program.run(many[i : i + 1])[0] for i in (0, 17)])
    assert np.array_equal(program.run(many)[0][[0, 17]], alone)


def test_floating_point_networks_are_refused():
    with pytest.raises(ModelError, match="no quantisers"):
        integer_network(network("plain"))


def test_an_operand_that_is_not_quantised_is_refused_by_the_layer_that_reads_it():
    net = network("plain")
    made = Quantize({"stem": 8, "blocks.0.conv": 4, "head.2": 8}, {"x": 8}).in_network(net)
    with pytest.raises(ModelError, match=r"'blocks\.0\.conv'.*'stem', is not quantised"):
        integer_network(made)
    made = Quantize({"stem": 8}, {"stem": 8}).in_network(net)
    with pytest.raises(ModelError, match="input 'x', which is not quantised"):
        integer_network(made)
    space = quantize(net, weights=(), activations=(8,))
    with pytest.raises(ModelError, match=r"'stem'.*its weight is not quantised"):
        integer_network(space.apply(space.default))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 8)

    def forward(self, x):
        x = self.first(x.flatten(2))
        return x @ x.transpose(1, 2)


class Batch(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x):
        return self.norm(self.first(x))


class Reflected(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")

    def forward(self, x):
        return self.first(x)


@pytest.mark.parametrize(
    ("module", "why"),
    [(Attention, "no integer rule"), (Batch, "by the batch"), (Reflected, "other values than 0")],
)
def test_what_has_no_integer_form_is_refused_with_a_remedy(module, why):
    images = torch.randn(4, 3, 2, 4) if module is Attention else IMAGES
    net = Network("odd", module().eval(), images[:1]).calibrated(images)
    space = quantize(net, (8,))
    with pytest.raises(ModelError, match=f"no integer form: .*{why}"):
        integer_network(space.apply(space.default))


@pytest.mark.parametrize("shape", [(2, 3, 9, 8), (3, 8, 8), (0, 3, 8, 8)])
def test_images_of_another_shape_are_refused(shape):
    program = integer_network(drawn(network("plain"), 0))
    with pytest.raises(DataError, match=r"shape \(N, 3, 8, 8\)"):
        program.run(np.zeros(shape))


@pytest.mark.parametrize("bits", [7, 49])
def test_multipliers_that_do_not_fit_are_refused(bits):
    with pytest.raises(HwflowError, match="8 to 48"):
        integer_network(drawn(network("plain"), 0), multiplier_bits=bits)
