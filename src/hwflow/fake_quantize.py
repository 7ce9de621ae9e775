"""The operator ``hwflow::fake_quantize``: a value moved to the nearest point of a b-bit grid.

It is one node in an exported graph, says its bits in its arguments, and trains by the
straight-through estimator (Bengio et al., arXiv 1308.3432): the gradient passes where the rounded
value is a level of the grid. The scale's gradient is that of LSQ (Esser et al., arXiv 1902.08153,
eq. 3) without LSQ's own factor.

Grids (b bits):

- signed, b >= 2: integers -(2^(b-1)-1) .. 2^(b-1)-1, zero point 0 (symmetric);
- signed, b = 1: -1 and +1, by sign, zero counts as positive (a symmetric grid has no other level);
- unsigned: integers 0 .. 2^b-1 and a zero point among them (half-wave where that is 0).
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from hwflow.errors import HwflowError

Values = TypeVar("Values", Tensor, np.ndarray[Any, Any])

MAX_BITS = 16
"""The widest grid; wider operands stay floating point."""


def check_bits(bits: int) -> int:
    """Return `bits`; raise HwflowError unless a grid of that many bits exists."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= MAX_BITS:
        raise HwflowError(
            f"There is no grid of {bits!r} bits. Allowed: whole numbers from 1 to {MAX_BITS}; "
            "leave an operand out to keep it in floating point."
        )
    return bits


def grid(bits: int, signed: bool) -> tuple[int, int]:
    """Return the smallest and the largest integer of the grid.

    Raises HwflowError for bits outside 1..16.
    """
    check_bits(bits)
    if not signed:
        return 0, 2**bits - 1
    largest = max(1, 2 ** (bits - 1) - 1)
    return -largest, largest


@torch.library.custom_op("hwflow::fake_quantize", mutates_args=())
def fake_quantize(
    x: Tensor, scale: Tensor, zero_point: Tensor, bits: int, signed: bool, axis: int
) -> Tensor:
    """Return scale * (clip(round(x / scale) + zero_point) - zero_point), rounded half to even.

    `x` has any shape; `scale` (float, above zero) and `zero_point` (int32) hold one element, or one
    per index of axis `axis` of `x` (-1: one for the whole tensor); a signed grid's zero point is 0
    and not read. Raises HwflowError for bits outside 1..16 and for scales that do not fit `x`.
    """
    # torch's own fake_quantize_* kernels multiply by 1 / scale, where ONNX's QuantizeLinear
    # divides, and with scales in tensors they take 10 times as long as these vectorised passes.
    low, high = grid(bits, signed)
    _check_shapes(x, scale, zero_point, axis)
    if signed and bits == 1:
        step = spread(scale, x.dim(), axis).to(x.dtype)
        return torch.where(x < 0, -step, step)
    step = spread(scale, x.dim(), axis)
    levels = x.div(step).round_()
    if signed:
        return levels.clamp_(low, high).mul_(step).to(x.dtype)
    zero = spread(zero_point, x.dim(), axis)
    return levels.add_(zero).clamp_(low, high).sub_(zero).mul_(step).to(x.dtype)


def spread(values: Values, rank: int, axis: int) -> Values:
    """Shape per-index values so that they broadcast along `axis` of a tensor of `rank` axes.

    -1 is for one value for the whole tensor.
    """
    return values.reshape(shape_along(rank, axis))


def shape_along(rank: int, axis: int) -> list[int]:
    """Return the shape of values that :func:`spread` gives; -1 stands for their number."""
    return [] if axis < 0 else [-1 if a == axis else 1 for a in range(rank)]


def _check_shapes(x: Tensor, scale: Tensor, zero_point: Tensor, axis: int) -> None:
    if not x.is_floating_point():
        raise HwflowError(f"Only floating-point tensors are quantised, not {x.dtype}.")
    if axis >= x.dim() or axis < -1:
        raise HwflowError(
            f"A tensor of shape {tuple(x.shape)} has no axis {axis}. Use -1 for none."
        )
    wanted = 1 if axis < 0 else x.shape[axis]
    if scale.numel() != wanted or zero_point.numel() != wanted:
        raise HwflowError(
            f"Axis {axis} of a tensor of shape {tuple(x.shape)} needs {wanted} scales and zero "
            f"points, not {scale.numel()} and {zero_point.numel()}."
        )


@fake_quantize.register_fake
def _(x: Tensor, scale: Tensor, zero_point: Tensor, bits: int, signed: bool, axis: int) -> Tensor:
    return torch.empty_like(x)


def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Keep what the gradients need."""
    x, scale, zero_point, ctx.bits, ctx.signed, ctx.axis = inputs
    ctx.save_for_backward(x, scale, zero_point, output if ctx.needs_input_grad[1] else None)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    to_x = None
    if ctx.needs_input_grad[0]:
        kept = inside(ctx, rounded=True)
        to_x = grad if kept is None else grad * kept
    to_scale = scale_gradient(ctx, grad, inside(ctx)) if ctx.needs_input_grad[1] else None
    return to_x, to_scale, None, None, None, None


def scale_gradient(ctx: Any, grad: Tensor, within: Tensor | None) -> Tensor:
    """Return the gradient of the scale, by eq. 3, from what :func:`keep` has kept.

    `within` is what :func:`inside` returns.
    """
    x, scale, _, output = ctx.saved_tensors
    # d out / d scale = out / scale - x / scale inside the range, out / scale where it clips
    passed = 0 if within is None else x * within
    slope = grad * (output - passed) / spread(scale, x.dim(), ctx.axis)
    others = [a for a in range(x.dim()) if a != ctx.axis]
    found: Tensor = (slope.sum(others) if others else slope).reshape(scale.shape).to(scale.dtype)
    return found


def inside(ctx: Any, *, rounded: bool = False) -> Tensor | None:
    """Return where the kept value lies inside the range; None where nothing clips (sign only).

    Inside is between the ends of the grid, without them (eq. 3); `rounded`: what rounds to a level.
    """
    x, scale, zero_point, _ = ctx.saved_tensors
    if ctx.signed and ctx.bits == 1:
        return None
    low, high = grid(ctx.bits, ctx.signed)
    zero = 0 if ctx.signed else spread(zero_point, x.dim(), ctx.axis)
    ratio: Tensor = x / spread(scale, x.dim(), ctx.axis)
    if rounded:
        level = ratio.round() + zero
        return (level >= low) & (level <= high)
    return (ratio > low - zero) & (ratio < high - zero)


fake_quantize.register_autograd(_backward, setup_context=keep)
