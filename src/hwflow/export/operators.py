"""How hwflow's operators are written in ONNX.

- Weights of up to 8 bits are stored as int8 levels with a DequantizeLinear, wider ones as float32
  on their grid.
- Activations that integer layers read (:mod:`hwflow.export.kinds`) become QuantizeLinear and
  DequantizeLinear.
- Any other grid is *simulated*: a function ``hwflow.FakeQuantize`` in the file, of standard float
  operators, which every runtime inlines. It gives the values of the grid and no speed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import torch
from onnx import TensorProto
from onnx.defs import OpSchema
from onnxscript import values

from hwflow.fake_quantize import grid, shape_along

DOMAIN = "hwflow"
SIMULATED = "FakeQuantize"
"""The function that stands for a grid which is simulated; its attribute `bits` says which."""

BY_SIGN = "FakeQuantizeSign"
"""The function that stands for the signed grid of one bit."""

_FUNCTION = """
<domain: "hwflow", opset_import: ["" : {opset}]>
FakeQuantize <bits, signed, low, high> (x, scale, zero_point) => (y)
{{
   ratio = Div (x, scale)
   level = Round (ratio)
   shifted = Add (level, zero_point)
   lowest = Constant <value_float: float = @low> ()
   highest = Constant <value_float: float = @high> ()
   clipped = Clip (shifted, lowest, highest)
   centred = Sub (clipped, zero_point)
   y = Mul (centred, scale)
}}
"""
"""Like the torch operator: rounds half to even, clips after the zero point is added."""

_BY_SIGN = """
<domain: "hwflow", opset_import: ["" : {opset}]>
FakeQuantizeSign <bits> (x, scale) => (y)
{{
   zero = Constant <value_float: float = 0.0> ()
   negative = Less (x, zero)
   minus = Neg (scale)
   y = Where (negative, minus, scale)
}}
"""
"""The signed grid of one bit: by sign, zero counts as positive."""


def functions(opset: int) -> dict[str, onnx.FunctionProto]:
    """Return hwflow's functions by name."""
    made = [onnx.parser.parse_function(text.format(opset=opset)) for text in (_FUNCTION, _BY_SIGN)]
    return {function.name: function for function in made}


def translations(opset: int) -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the translation table for torch.onnx.export."""
    op = values.Opset("", opset)
    simulate, by_sign = (_symbol(function) for function in functions(opset).values())

    def fake_quantize(
        x: Any, scale: Any, zero_point: Any, bits: int, signed: bool, axis: int
    ) -> Any:
        step = _spread(op, scale, x, axis)
        if signed and bits == 1:
            return by_sign(x, step, bits=1)
        low, high = map(float, grid(bits, signed))
        zero = _spread(op, op.Cast(zero_point, to=TensorProto.FLOAT), x, axis)
        return simulate(x, step, zero, bits=bits, signed=int(signed), low=low, high=high)

    def requantize(x: Any, scale: Any, zero_point: Any) -> Any:
        zero = op.Cast(zero_point, to=TensorProto.UINT8)
        return op.DequantizeLinear(op.QuantizeLinear(x, scale, zero), scale, zero)

    def dequantize(levels: Any, scale: Any, zero_point: Any, axis: int) -> Any:
        along = {"axis": axis} if axis >= 0 else {}
        return op.DequantizeLinear(levels, scale, zero_point, **along)

    return {
        torch.ops.hwflow.fake_quantize.default: fake_quantize,
        torch.ops.hwflow.requantize.default: requantize,
        torch.ops.hwflow.dequantize.default: dequantize,
    }


def _spread(op: Any, per_index: Any, x: Any, axis: int) -> Any:
    """Shape per-index values so that they broadcast along `axis` of `x`."""
    if axis < 0:
        return per_index
    return op.Reshape(per_index, op.Constant(value_ints=shape_along(len(x.shape), axis)))


_FLOATS = frozenset({"low", "high"})


def _symbol(function: onnx.FunctionProto) -> values.Op:
    """Return an operator that leaves a call of a function in the graph."""
    schema = OpSchema(
        function.name, DOMAIN, 1,
        inputs=[OpSchema.FormalParameter(name, "T") for name in function.input],
        outputs=[OpSchema.FormalParameter(name, "T") for name in function.output],
        type_constraints=[("T", ["tensor(float)"], "float32")],
        attributes=[
            OpSchema.Attribute(
                name, OpSchema.AttrType.FLOAT if name in _FLOATS else OpSchema.AttrType.INT, ""
            )
            for name in function.attribute
        ],
    )  # fmt: skip
    return values.Op(values.Opset(DOMAIN, 1), function.name, schema)
