"""The operators of LSQ, PACT and DoReFa against their papers, written again with autograd."""

import copy

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from hwflow.errors import HwflowError
from hwflow.fake_quantize import fake_quantize, grid
from hwflow.learned_grids import FLOOR, Grid, dorefa, learned_grids, lsq, pact

ZERO = torch.tensor(0, dtype=torch.int32)


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def straight(x):
    """Round with gradient 1."""
    return x + (x.round() - x).detach()


def scaled(x, factor):
    """Return x, with a gradient multiplied by a factor: `gradscale` of LSQ's appendix."""
    return x * factor + (x - x * factor).detach()


def lsq_paper(v, s, bits, signed, count):
    """Appendix A of arXiv 1902.08153."""
    low, high = grid(bits, signed)
    s = scaled(s, (count * high) ** -0.5)
    return straight((v / s).clamp(low, high)) * s


def pact_paper(x, alpha, bits):
    """Eq. 1 to 3 of arXiv 1805.06085."""
    y = 0.5 * (x.abs() - (x - alpha).abs() + alpha)
    top = 2**bits - 1
    level = (y * top / alpha).round() * alpha / top
    return y + (level - y).detach()


def dorefa_paper(w, bits, dims=()):
    """Eq. 9 of arXiv 1606.06160, and eq. 7 for one bit."""
    if bits == 1:
        return w + (w.abs().mean(dims, keepdim=True) * torch.where(w < 0, -1.0, 1.0) - w).detach()
    bent, top = torch.tanh(w), 2**bits - 1
    share = bent / (2 * (bent.abs().amax(dims, keepdim=True) if dims else bent.abs().max())) + 0.5
    return 2 * straight(share * top) / top - 1


@settings(deadline=None, max_examples=20)
@given(bits=st.integers(2, 8), signed=st.booleans(), seed=st.integers(0, 50))
def test_lsq_has_the_values_and_gradients_of_the_paper(bits, signed, seed):
    x, weight = drawn(seed, 5, 7), drawn(seed + 1, 5, 7)
    found, wanted = (
        (x.clone().requires_grad_(), torch.tensor(2.0 / 2**bits, requires_grad=True))
        for _ in range(2)
    )
    ours = lsq(found[0], found[1], ZERO, bits, signed, -1, 35)
    theirs = lsq_paper(*wanted, bits, signed, 35)
    assert torch.allclose(ours, theirs, atol=1e-6)
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    assert torch.allclose(found[0].grad, wanted[0].grad)
    assert torch.allclose(found[1].grad, wanted[1].grad, atol=1e-5)


RATIO = st.floats(-6, 6, width=32) | st.integers(-12, 12).map(lambda n: n / 2)


@settings(deadline=None, max_examples=200)
@given(
    ratios=st.lists(RATIO, min_size=1, max_size=9),
    bits=st.integers(1, 4),
    zero=st.integers(0, 15) | st.none(),
)
def test_the_gradients_of_lsq_are_equations_3_and_5(ratios, bits, zero):
    signed = zero is None
    assume(bits > 1 or not signed)  # by sign: no grid of the paper
    low, high = grid(bits, signed)
    zero = 0 if signed else min(zero, high)
    point = torch.tensor(zero, dtype=torch.int32)
    step = 0.5  # a power of two: v / s is exact
    for ratio in ratios:
        v = torch.tensor([ratio * step], requires_grad=True)
        s = torch.tensor(step, requires_grad=True)
        lsq(v, s, point, bits, signed, -1, 3).sum().backward()
        if ratio <= low - zero:  # -Q_N
            to_s, to_v = low - zero, 0
        elif ratio >= high - zero:  # Q_P
            to_s, to_v = high - zero, 0
        else:
            to_s, to_v = round(ratio) - ratio, 1
        assert v.grad.item() == to_v
        assert s.grad.item() == pytest.approx(to_s / (3 * high) ** 0.5, abs=1e-5)


def test_lsq_has_a_gradient_for_each_channel():
    x, scale = drawn(0, 3, 4).clamp(-0.2, 0.2), torch.full((3,), 0.1, requires_grad=True)
    lsq(x, scale, ZERO.expand(3), 4, True, 0, 4).sum().backward()
    for row, seen in zip(x, scale.grad, strict=True):
        alone = torch.tensor(0.1, requires_grad=True)
        lsq_paper(row, alone, 4, True, 4).sum().backward()
        assert seen.item() == pytest.approx(alone.grad.item(), abs=1e-5)


@settings(deadline=None, max_examples=20)
@given(bits=st.integers(1, 8), seed=st.integers(0, 50), alpha=st.floats(0.3, 3))
def test_pact_has_the_values_and_gradients_of_the_paper(bits, seed, alpha):
    x, weight = drawn(seed, 40), drawn(seed + 1, 40)
    found, wanted = (
        (x.clone().requires_grad_(), torch.tensor(alpha, requires_grad=True)) for _ in range(2)
    )
    ours, theirs = pact(*found, ZERO, bits, False, -1), pact_paper(*wanted, bits)
    assert torch.allclose(ours, theirs, atol=1e-5)
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    assert torch.allclose(found[0].grad, wanted[0].grad, atol=1e-6)
    assert found[1].grad.item() == pytest.approx(wanted[1].grad.item(), abs=1e-4)


@pytest.mark.parametrize(("signed", "axis"), [(True, -1), (False, 0)])
def test_pact_clips_half_waves_only(signed, axis):
    with pytest.raises(HwflowError, match="half-waves"):
        pact(torch.ones(2), torch.ones(1), ZERO, 4, signed, axis)


@settings(deadline=None, max_examples=20)
@given(bits=st.integers(1, 8), seed=st.integers(0, 50), by_channel=st.booleans())
def test_dorefa_has_the_values_and_gradients_of_the_paper(bits, seed, by_channel):
    w, weight = drawn(seed, 4, 6), drawn(seed + 1, 4, 6)
    found, wanted = w.clone().requires_grad_(), w.clone().requires_grad_()
    count, axis = (4, 0) if by_channel else (1, -1)
    ours = dorefa(found, torch.ones(count), ZERO.expand(count), bits, True, axis)
    theirs = dorefa_paper(wanted, bits, (1,) if by_channel else ())
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert len(torch.unique((ours[0] * 1e4).round())) <= 2**bits
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    assert torch.allclose(found.grad, wanted.grad, atol=1e-5)


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_dorefa_of_zero_weights_is_finite(bits):
    w = torch.zeros(2, 3, requires_grad=True)
    made = dorefa(w, torch.ones(2), ZERO.expand(2), bits, True, 0)
    made.sum().backward()
    assert torch.isfinite(made).all()
    assert torch.isfinite(w.grad).all()


# torch's own check reads .grad of tensors inside the graph
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("operator", ["lsq", "pact", "dorefa"])
def test_torch_finds_nothing_wrong_with_the_operators(operator):
    x, scale = drawn(0, 3, 4).requires_grad_(), torch.full((1,), 0.7, requires_grad=True)
    zero = ZERO.reshape(1)
    arguments = {
        "lsq": (lsq, (x, scale, zero, 3, True, -1, 12)),
        "pact": (pact, (x, scale, zero, 3, False, -1)),
        "dorefa": (dorefa, (x, scale.detach(), zero, 3, True, -1)),
    }[operator]
    torch.library.opcheck(*arguments)


def test_a_learned_scale_stays_above_its_floor():
    learned, fixed = (Grid("scale", torch.tensor([0.5, 2.0]), ZERO, known) for known in (1, 0))
    for made in (learned, fixed):
        made.value.data.copy_(torch.tensor([-3.0, 5.0]))
        made.settle()
    assert learned.value.tolist() == [pytest.approx(0.5 * FLOOR), 5.0]
    assert fixed.value.tolist() == [-3.0, 5.0]
    assert [name for name, _ in learned.named_parameters()] == ["scale"]
    assert list(fixed.parameters()) == []
    assert set(learned.state_dict()) == set(fixed.state_dict()) == {"scale", "zero_point"}


def test_learned_grids_are_found_in_copies_too():
    module = nn.Sequential(nn.Identity(), Grid("clip", torch.tensor(1.0), ZERO, True))
    module.append(Grid("scale", torch.tensor(1.0), ZERO, False))
    assert [made.name for made in learned_grids(copy.deepcopy(module))] == ["clip"]


def test_lsq_rounds_as_the_plain_operator():
    x, scale = drawn(0, 50), torch.tensor(0.25)
    plain = fake_quantize(x, scale, ZERO, 3, True, -1)
    assert torch.equal(lsq(x, scale, ZERO, 3, True, -1, 50), plain)
