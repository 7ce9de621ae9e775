"""Rules for the ONNX operators that multiply and accumulate."""

from __future__ import annotations

from math import prod
from typing import Any

from hwflow.extract import geometry
from hwflow.extract.nodes import Node
from hwflow.extract.onnx_call import OnnxCall, OnnxRule
from hwflow.workload import Shape


def _convolution(call: OnnxCall) -> Node:
    if call.is_active(1):
        return call.unknown()
    x, weight = call.shape(0), call.shape(1)
    axes = len(weight) - 2
    stride = call.ints("strides") or (1,) * axes
    dilation = call.ints("dilations") or (1,) * axes
    transposed = call.node.op_type == "ConvTranspose"
    pads = zeros(call, weight[2:], stride, dilation)
    fields = geometry.convolution(
        x, weight, call.out, stride=stride, dilation=dilation, before=pads[:axes],
        after=pads[axes:], groups=int(call.attrs.get("group", 1)), transposed=transposed,
    )  # fmt: skip
    return _weighted(call, 0, 1, 2, **fields)


def zeros(
    call: OnnxCall, kernel: Shape, stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the zero positions before each axis, then those after each."""
    mode = call.attrs.get("auto_pad", "NOTSET")
    if mode in {"NOTSET", "VALID"}:
        given = call.ints("pads") if mode == "NOTSET" else None
        return given or (0,) * (2 * len(kernel))
    total = [
        max((-(-size // step) - 1) * step + gap * (rows - 1) + 1 - size, 0)
        for size, rows, step, gap in zip(call.shape(0)[2:], kernel, stride, dilation, strict=True)
    ]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return (*small, *large) if mode == "SAME_UPPER" else (*large, *small)


def _weighted(call: OnnxCall, x: int, weight: int, bias: int | None, **fields: Any) -> Node:
    """Return a layer over input `x` with a constant weight and perhaps a constant bias."""
    given = bias is not None and bool(call.input(bias)) and not call.is_active(bias)
    held = (weight, bias) if given and bias is not None else (weight,)
    fields.setdefault("in_shapes", (call.shape(x),))
    return call.make(
        fields.pop("op"), [call.input(x)], weight=weight, named_by=bias if given else None,
        params=call.parameters(*held), bias=given, **fields,
    )  # fmt: skip


def _gemm(call: OnnxCall) -> Node | list[Node]:
    left, right = call.shape(0), call.shape(1)
    left = left[::-1] if call.attrs.get("transA") else left
    right = right[::-1] if call.attrs.get("transB") else right
    if call.input(2) and call.is_active(2):
        inner = _product(call, left, right, None, part="product")
        return [inner, call.make("add", [inner, call.input(2)])]
    return _product(call, left, right, 2)


def _matmul(call: OnnxCall) -> Node:
    return _product(call, call.shape(0), call.shape(1), None)


def _product(
    call: OnnxCall, left: Shape, right: Shape, bias: int | None, part: str = "",
    dims: tuple[int, int, int, int] | None = None,
) -> Node:  # fmt: skip
    """Return a product: a linear layer when one side is constant, else a matmul."""
    constant = next((side for side in (0, 1) if not call.is_active(side)), None)
    own = 1 if constant is None else dims[0] if dims else prod((left, right)[constant][:-2])
    fields = geometry.product(
        *(dims or geometry.matmul(left, right)), constant=constant, constant_sets=own,
        batch=call.batch,
    )  # fmt: skip
    if constant is None:
        inputs = [call.input(0), call.input(1)]
        return call.make(fields.pop("op"), inputs, part=part, **{"batch": 1, **fields})
    return _weighted(call, 1 - constant, constant, bias, part=part, **fields)


def _einsum(call: OnnxCall) -> Node:
    if len(call.node.input) != 2:
        return call.unknown()
    left, right = call.shape(0), call.shape(1)
    dims = geometry.einsum(str(call.attrs["equation"]), left, right)
    return call.unknown() if dims is None else _product(call, left, right, None, dims=dims)


def _attention(call: OnnxCall) -> Node | list[Node]:
    """Return the Attention operator as softmax(q kᵀ) v."""
    if not all(call.is_active(index) for index in range(3)) or call.node.domain:
        return call.unknown()
    q, k, v = (_heads(call, index) for index in range(3))
    sets, rows, columns = q[0] * q[1], q[2], k[2]
    scores = (q[0], q[1], rows, columns)
    first = geometry.product(sets, rows, q[3], columns)
    second = geometry.product(sets, rows, columns, v[3])
    qk = call.make(
        first.pop("op"), [call.input(0), call.input(1)], part="qk", out_shape=scores,
        **{"batch": 1, **first},
    )  # fmt: skip
    weights = call.make("softmax", [qk], part="softmax", out_shape=scores, attrs=(("dim", 3),))
    av = call.make(second.pop("op"), [weights, call.input(2)], **{"batch": 1, **second})
    return [qk, weights, av]


def _heads(call: OnnxCall, index: int) -> Shape:
    """Return (batch, heads, length, size) of an input of attention, wherever its heads are."""
    shape = call.shape(index)
    if len(shape) == 4:
        return shape
    heads = int(call.attrs["q_num_heads" if index == 0 else "kv_num_heads"])
    return shape[0], heads, shape[1], shape[2] // heads


RULES: dict[str, OnnxRule] = {
    "Conv ConvTranspose": _convolution,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Einsum": _einsum,
    "Attention": _attention,
}
