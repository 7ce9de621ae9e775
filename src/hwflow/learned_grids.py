"""Quantisers of the literature, as siblings of ``hwflow::fake_quantize``, and their parameters.

Each is one node of an exported graph and has that operator's arguments in its places, so that bits
are read in the same way; only what the second argument is, and the gradients, differ.

- ``hwflow::lsq``: the step is learned (Esser et al., arXiv 1902.08153). The gradient of eq. 3 is
  multiplied by 1 / sqrt(N Q_P), N values for a step, Q_P the largest integer of the grid; that of x
  passes where -Q_N < x / step < Q_P (eq. 5).
- ``hwflow::pact``: the second argument is the level alpha at which a half-wave is clipped (Choi et
  al., arXiv 1805.06085, eq. 1 to 3): d out / d alpha = 1 where x >= alpha, else 0; the gradient of
  x passes where 0 <= x < alpha.
- ``hwflow::dorefa``: weights w become s r, r = 2 q(tanh w / (2 max|tanh w|) + 1/2) - 1, q rounding
  to 2^b - 1 steps (Zhou et al., arXiv 1606.06160, eq. 9); the gradient goes straight through q
  and on through tanh and max. One bit: s mean|w| sign(w) (eq. 7), gradient 1. The b-bit levels are
  the odd ones of a symmetric grid of b + 1 bits: there is no zero among them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hwflow.errors import HwflowError
from hwflow.fake_quantize import (
    check_bits,
    fake_quantize,
    grid,
    inside,
    keep,
    scale_gradient,
    spread,
)

FLOOR = 0.01
"""A learned scale stays above this share of where it started: a grid needs a scale above zero."""


@torch.library.custom_op("hwflow::lsq", mutates_args=())
def lsq(
    x: Tensor, scale: Tensor, zero_point: Tensor, bits: int, signed: bool, axis: int, count: int
) -> Tensor:
    """Return what ``fake_quantize`` returns; `count` is the N of the gradient's factor."""
    found: Tensor = fake_quantize(x, scale, zero_point, bits, signed, axis)
    return found


def _keep_lsq(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    keep(ctx, inputs[:6], output)
    ctx.factor = (inputs[6] * grid(ctx.bits, ctx.signed)[1]) ** -0.5


def _lsq_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    within = inside(ctx)
    to_x = grad if within is None else grad * within
    to_scale = scale_gradient(ctx, grad, within) * ctx.factor if ctx.needs_input_grad[1] else None
    return to_x if ctx.needs_input_grad[0] else None, to_scale, None, None, None, None, None


@torch.library.custom_op("hwflow::pact", mutates_args=())
def pact(x: Tensor, clip: Tensor, zero_point: Tensor, bits: int, signed: bool, axis: int) -> Tensor:
    """Return `x` clipped to [0, clip] on 2^bits - 1 equal steps; `clip` holds one element.

    Raises HwflowError for a signed grid or one with an axis, which PACT does not have.
    """
    if signed or axis >= 0:
        raise HwflowError("PACT clips half-waves, one level per tensor: signed=False, axis=-1.")
    found: Tensor = fake_quantize(x, pact_step(clip, bits), zero_point, bits, False, -1)
    return found


def pact_step(clip: Tensor, bits: int) -> Tensor:
    """Return the step between the levels of a half-wave that is clipped at `clip`."""
    return clip / grid(bits, signed=False)[1]


def _keep_pact(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _pact_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, clip = ctx.saved_tensors
    clipped = x >= clip
    to_x = grad * ((x >= 0) & ~clipped) if ctx.needs_input_grad[0] else None
    to_clip = (grad * clipped).sum().reshape(clip.shape) if ctx.needs_input_grad[1] else None
    return to_x, to_clip, None, None, None, None


@torch.library.custom_op("hwflow::dorefa", mutates_args=())
def dorefa(
    weight: Tensor, scale: Tensor, zero_point: Tensor, bits: int, signed: bool, axis: int
) -> Tensor:
    """Return `weight` on the 2^bits levels of DoReFa; `zero_point` is not read.

    `scale` holds one factor, or one per index of `axis`, whose range is then its own.
    """
    check_bits(bits)
    step = spread(dorefa_step(weight, scale, bits, axis), weight.dim(), axis).to(weight.dtype)
    if bits == 1:
        return torch.where(weight < 0, -step, step)
    top = grid(bits, signed=False)[1]
    share = torch.tanh(weight) / (2 * _largest(weight, axis)) + 0.5
    return (2 * torch.round(share * top) - top) * step


def dorefa_step(weight: Tensor, scale: Tensor, bits: int, axis: int) -> Tensor:
    """Return the step of the symmetric grid on whose odd integers the levels lie."""
    if bits > 1:
        return scale / grid(bits, signed=False)[1]
    mean = weight.abs().mean(_others(weight, axis)) if axis >= 0 else weight.abs().mean()
    return scale * mean.reshape(scale.shape)


def _largest(weight: Tensor, axis: int) -> Tensor:
    """Return max|tanh w|, 1 where all weights are zero."""
    top = torch.tanh(weight).abs()
    top = top.amax(_others(weight, axis), keepdim=True) if axis >= 0 else top.amax()
    return torch.where(top > 0, top, 1.0)


def _others(x: Tensor, axis: int) -> list[int]:
    return [a for a in range(x.dim()) if a != axis]


def _keep_dorefa(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    weight, scale, _, ctx.bits, _, ctx.axis = inputs
    ctx.save_for_backward(weight, scale)


def _dorefa_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    weight, scale = ctx.saved_tensors
    if ctx.bits == 1:
        return grad, None, None, None, None, None
    bent, top = torch.tanh(weight), _largest(weight, ctx.axis)
    grad = grad * spread(scale, weight.dim(), ctx.axis)
    hot = (bent.abs() == top).to(grad.dtype)  # equals share the gradient of the maximum
    others = _others(weight, ctx.axis)
    pull = (grad * bent).sum(others, keepdim=True) / hot.sum(others, keepdim=True).clamp(min=1)
    to_bent = grad / top - hot * bent.sign() * pull / top.square()
    return to_bent * (1 - bent.square()), None, None, None, None, None


for _operator, _kept, _back in (
    (lsq, _keep_lsq, _lsq_backward),
    (pact, _keep_pact, _pact_backward),
    (dorefa, _keep_dorefa, _dorefa_backward),
):
    _operator.register_fake(lambda x, *arguments: torch.empty_like(x))
    _operator.register_autograd(_back, setup_context=_kept)


class Grid(nn.Module):
    """What a quantiser reads: its zero point, and its `scale` or, of PACT, its `clip`."""

    zero_point: Tensor
    floor: Tensor

    def __init__(self, name: str, value: Tensor, zero_point: Tensor, learned: bool) -> None:
        super().__init__()
        self.name = name
        self.learned = learned
        if learned:
            self.register_parameter(name, nn.Parameter(value))
            self.register_buffer("floor", FLOOR * value.detach(), persistent=False)
        else:
            self.register_buffer(name, value)
        self.register_buffer("zero_point", zero_point)

    @property
    def value(self) -> Tensor:
        """The scale, or the level of clipping."""
        found: Tensor = getattr(self, self.name)
        return found

    @torch.no_grad()
    def settle(self) -> None:
        """Bring a learned value that a step took too far back above its floor."""
        if self.learned:
            self.value.clamp_(min=self.floor)


def learned_grids(module: nn.Module) -> list[Grid]:
    """Return the grids of a module that have something to learn."""
    return [part for part in module.modules() if isinstance(part, Grid) and part.learned]
