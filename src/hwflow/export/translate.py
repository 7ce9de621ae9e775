"""How hwflow's operators are written in ONNX.

8-bit operands become QuantizeLinear and DequantizeLinear. Other bits have no element type that
runtimes compute with: their levels are carried in the next wider integer (8 or 16 bits), clipped to
the grid before they are rounded. The values are exactly those of the simulation, and weights take
8 (or 16) bits in the file; no machine gets faster by it than 8 bits are. That is what this project
calls simulated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnx import TensorProto
from onnxscript import values

from hwflow.fake_quantize import grid

Table = dict[Callable[..., Any], Callable[..., Any]]


def translations(opset: int) -> Table:
    """Return the translation table for torch.onnx.export."""
    op = values.Opset("", opset)

    def fake_quantize(
        x: Any, scale: Any, zero_point: Any, bits: int, signed: bool, axis: int
    ) -> Any:
        if signed and bits == 1:
            step = _reshaped(op, scale, x, axis)
            return op.Where(op.Less(x, op.Constant(value_float=0.0)), op.Neg(step), step)
        container = _container(bits, signed)
        if (bits, signed) not in ((8, False), (16, False)):
            x = _clipped(op, x, scale, zero_point, bits, signed, axis)
        zero = op.Cast(zero_point, to=container)
        extra = {"axis": axis} if axis >= 0 else {}
        return op.DequantizeLinear(op.QuantizeLinear(x, scale, zero, **extra), scale, zero, **extra)

    def dequantize(levels: Any, scale: Any, zero_point: Any, axis: int) -> Any:
        # without a zero point, ONNX Runtime's treatment of u8s8 on AVX2 fails
        extra = {"axis": axis} if axis >= 0 else {}
        return op.DequantizeLinear(levels, scale, zero_point, **extra)

    return {
        torch.ops.hwflow.fake_quantize.default: fake_quantize,
        torch.ops.hwflow.dequantize.default: dequantize,
    }


def _clipped(
    op: Any, x: Any, scale: Any, zero_point: Any, bits: int, signed: bool, axis: int
) -> Any:
    """Clip to the values of the grid's ends: the container's own range is wider."""
    low, high = grid(bits, signed)
    zero = op.Cast(zero_point, to=TensorProto.FLOAT)
    ends = [op.Mul(op.Sub(op.Constant(value_float=float(v)), zero), scale) for v in (low, high)]
    if axis < 0:
        return op.Clip(x, *ends)
    lower, upper = (_reshaped(op, end, x, axis) for end in ends)
    return op.Min(op.Max(x, lower), upper)


def _reshaped(op: Any, values: Any, x: Any, axis: int) -> Any:
    """Shape per-index values so that they broadcast along `axis` of `x`."""
    if axis < 0:
        return values
    shape = [1] * len(x.shape)
    shape[axis] = -1
    return op.Reshape(values, op.Constant(value_ints=shape))


def _container(bits: int, signed: bool) -> int:
    if bits <= 8:
        return int(TensorProto.INT8 if signed else TensorProto.UINT8)
    return int(TensorProto.INT16 if signed else TensorProto.UINT16)
