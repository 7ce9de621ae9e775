import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hwflow.errors import HwflowError
from hwflow.fake_quantize import check_bits, fake_quantize, grid

ZERO = torch.tensor(0, dtype=torch.int32)

bits = st.integers(1, 16)


def quantise(x, bits, signed=True, scale=0.1, zero=0):
    return fake_quantize(
        x, torch.tensor(scale), torch.tensor(zero, dtype=torch.int32), bits, signed, -1
    )


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("bits", "signed", "expected"),
    [
        (1, True, (-1, 1)), (2, True, (-1, 1)), (8, True, (-127, 127)), (16, True, (-32767, 32767)),
        (1, False, (0, 1)), (4, False, (0, 15)), (8, False, (0, 255)),
    ],
)  # fmt: skip
def test_grid_has_the_ends_of_its_bits(bits, signed, expected):
    assert grid(bits, signed) == expected


@pytest.mark.parametrize("bits", [0, 17, -3, 2.5, True, "8"])
def test_bits_outside_one_to_sixteen_are_refused_with_the_value(bits):
    with pytest.raises(HwflowError, match=repr(bits)):
        check_bits(bits)


@settings(deadline=None, max_examples=40)
@given(bits=bits, signed=st.booleans(), scale=st.floats(1e-3, 10), seed=st.integers(0, 99))
def test_values_lie_on_at_most_two_to_the_bits_levels(bits, signed, scale, seed):
    y = quantise(drawn(seed, 500) * 5, bits, signed, scale, 0 if signed else 2**bits // 3)
    levels = torch.unique(y / scale)
    assert len(levels) <= 2**bits
    assert torch.allclose(levels, levels.round(), atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(bits=bits, signed=st.booleans(), seed=st.integers(0, 99))
def test_a_second_time_changes_nothing(bits, signed, seed):
    once = quantise(drawn(seed, 300), bits, signed, 0.125)
    assert torch.equal(quantise(once, bits, signed, 0.125), once)


@settings(deadline=None, max_examples=30)
@given(bits=st.integers(2, 16), seed=st.integers(0, 99))
def test_error_is_at_most_half_a_step_inside_the_range(bits, seed):
    high = grid(bits, True)[1]
    x = drawn(seed, 300)
    scale = float(x.abs().max()) / high
    assert float((quantise(x, bits, True, scale) - x).abs().max()) <= scale / 2 * (1 + 1e-3)


def test_halves_round_to_even_as_onnx_does():
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])
    assert quantise(x, 8, True, 1.0).tolist() == [0.0, 2.0, 2.0, 0.0, -2.0]


def test_zero_stays_zero_whatever_the_zero_point():
    for zero in (0, 3, 15):
        assert quantise(torch.zeros(3), 4, False, 0.37, zero).tolist() == [0.0] * 3


def test_one_signed_bit_keeps_the_sign_and_counts_zero_as_positive():
    x = torch.tensor([-2.0, -0.1, 0.0, 0.1, 3.0])
    assert quantise(x, 1, True, 0.5).tolist() == [-0.5, -0.5, 0.5, 0.5, 0.5]


def test_an_affine_grid_reaches_from_minus_zero_point_to_the_rest():
    x = torch.tensor([-100.0, 100.0])
    assert quantise(x, 2, False, 1.0, 1).tolist() == [-1.0, 2.0]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_scales_along_an_axis_agree_with_torch(axis):
    x = drawn(0, 4, 5, 6)
    scale = 2.0 ** -torch.arange(1, x.shape[axis] + 1)  # powers of two: no rounding in x / scale
    zero = torch.zeros(x.shape[axis], dtype=torch.int32)
    ours = fake_quantize(x, scale, zero, 3, True, axis)
    theirs = torch.fake_quantize_per_channel_affine(x, scale, zero, axis, -3, 3)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_dtype_is_kept(dtype):
    y = quantise(torch.tensor([0.26, -1.0], dtype=dtype), 4, True, 0.25)
    assert y.dtype == dtype
    assert y.tolist() == [0.25, -1.0]


def test_the_gradient_passes_inside_the_range_and_stops_outside():
    x = torch.tensor([-0.5, 0.0, 1.75, 1.8, 2.0, -2.0], requires_grad=True)
    quantise(x, 4, True, 0.25).sum().backward()
    assert x.grad.tolist() == [1, 1, 1, 1, 0, 0]  # what rounds to the last level is inside


def test_the_gradient_of_one_bit_passes_everywhere():
    x = torch.tensor([-5.0, 0.2, 7.0], requires_grad=True)
    quantise(x, 1, True, 0.1).sum().backward()
    assert x.grad.tolist() == [1, 1, 1]


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("signed", [True, False])
def test_the_gradient_of_the_scale_is_that_of_lsq(axis, signed):
    x = drawn(3, 6, 4)
    count = 1 if axis < 0 else x.shape[axis]
    scale = torch.linspace(0.1, 0.4, count).requires_grad_()
    zero = torch.full((count,), 0 if signed else 2, dtype=torch.int32)
    weight = drawn(4, 6, 4)
    (fake_quantize(x, scale, zero, 3, signed, axis) * weight).sum().backward()

    other = scale.detach().clone().requires_grad_()
    step = other.reshape([] if axis < 0 else [-1 if a == axis else 1 for a in range(2)])
    low, high = (v - int(zero[0]) for v in grid(3, signed))
    ratio = x / step
    passed = ratio + (ratio.round() - ratio).detach()  # straight through the rounding
    inside = (ratio > low) & (ratio < high)  # eq. 3
    (torch.where(inside, passed, ratio.clamp(low, high).detach()) * step * weight).sum().backward()
    assert torch.allclose(scale.grad, other.grad, atol=1e-5)


def test_the_gradient_of_the_scale_of_one_bit_is_the_sign():
    x, scale = torch.tensor([-3.0, 0.1, 2.0]), torch.tensor(0.5, requires_grad=True)
    fake_quantize(x, scale, ZERO, 1, True, -1).sum().backward()
    assert scale.grad.item() == 1.0


class Quantised(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.register_buffer("scale", torch.full((3,), 0.1))
        self.register_buffer("zero", torch.zeros(3, dtype=torch.int32))

    def forward(self, x):
        weight = fake_quantize(self.linear.weight, self.scale, self.zero, 4, True, 0)
        return nn.functional.linear(x, weight, self.linear.bias)


@pytest.mark.parametrize("training", [True, False])
def test_it_is_one_node_of_an_exported_graph_that_trains(training):
    module = Quantised().train(training)
    graph = torch.export.export(module, (torch.randn(2, 4),)).module()
    nodes = [n for n in graph.graph.nodes if "fake_quantize" in str(n.target)]
    assert [str(n.target) for n in nodes] == ["hwflow.fake_quantize.default"]
    assert nodes[0].args[3:] == (4, True, 0)
    x = torch.randn(2, 4)
    assert torch.equal(graph(x), module(x))
    graph(x).square().sum().backward()
    assert graph.linear.weight.grad.abs().sum() > 0


# torch's own check reads .grad of tensors inside the graph
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize(("signed", "axis"), [(True, -1), (False, -1), (True, 1)])
def test_torch_finds_nothing_wrong_with_the_operator(signed, axis):
    count = 1 if axis < 0 else 4
    scale = torch.full((count,), 0.2, requires_grad=True)
    zero = torch.ones(count, dtype=torch.int32) * (not signed)
    torch.library.opcheck(
        fake_quantize, (drawn(0, 3, 4).requires_grad_(), scale, zero, 3, signed, axis)
    )


@pytest.mark.parametrize(
    ("x", "scale", "axis", "message"),
    [
        (torch.ones(3, dtype=torch.int32), torch.ones(1), -1, "floating-point"),
        (torch.ones(3), torch.ones(2), -1, "needs 1 scales"),
        (torch.ones(2, 3), torch.ones(2), 1, "needs 3 scales"),
        (torch.ones(3), torch.ones(1), 1, "no axis 1"),
        (torch.ones(3), torch.ones(1), -2, "no axis -2"),
    ],
)
def test_what_does_not_fit_is_refused(x, scale, axis, message):
    zero = torch.zeros(len(scale), dtype=torch.int32)
    with pytest.raises(HwflowError, match=message):
        fake_quantize(x, scale, zero, 4, True, axis)


def test_a_grid_of_no_bits_is_refused_by_the_operator():
    with pytest.raises(HwflowError, match="no grid of 0 bits"):
        quantise(torch.ones(2), 0)
