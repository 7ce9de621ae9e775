"""Rules for the ATen operators that multiply and accumulate."""

from __future__ import annotations

from math import prod
from typing import Any

from torch import fx

from hwflow.extract import geometry
from hwflow.extract.call import Call, Rule, elements, shape_of, weight_source
from hwflow.extract.nodes import Node
from hwflow.workload import Shape


def _convolution(call: Call) -> Node:
    x, weight = call["input"], call["weight"]
    if call.is_active(weight) or call.is_active(call["bias"]):
        return call.unknown()
    kernel = shape_of(weight)
    dilation = call.ints("dilation", (1,))
    before, after = _zeros(call, kernel[2:], dilation)
    transposed = call.name.startswith("conv_transpose") or bool(call.get("transposed"))
    fields = geometry.convolution(
        shape_of(x), kernel, call.out, stride=call.ints("stride", (1,)), dilation=dilation,
        before=before, after=after, groups=int(call["groups"]), transposed=transposed,
    )  # fmt: skip
    return _weighted(call, x, weight, call["bias"], **fields)


def _zeros(call: Call, kernel: Shape, dilation: tuple[int, ...]) -> tuple[Shape, Shape]:
    """Return the zero positions before and after each axis; "same" may differ at the two ends."""
    if call["padding"] == "same":
        return geometry.same_padding(kernel, dilation)
    if call["padding"] == "valid":
        return (0,), (0,)
    amounts = call.ints("padding", (0,))
    return amounts, amounts


def _weighted(call: Call, x: fx.Node, weight: Any, bias: Any, **fields: Any) -> Node:
    """Return a layer over `x` with a constant weight and perhaps a constant bias."""
    params = call.scope.parameters(weight) + call.scope.parameters(bias)
    shared = call.scope.shared(weight, bias)
    plain = call.leaf and getattr(weight_source(weight), "op", "") == "get_attr"
    fields.setdefault("in_shapes", (shape_of(x),))
    return call.make(
        fields.pop("op"), [x], params=params, weight=weight, foldable=plain and not shared,
        bias=bias is not None, **fields,
    )  # fmt: skip


def _linear(call: Call) -> Node:
    x, weight = call["input"], call["weight"]
    if call.is_active(weight) or call.is_active(call["bias"]):
        return call.unknown()
    outputs, features = (1, *shape_of(weight))[-2:]
    fields = geometry.linear(features, outputs, elements(x) // features, call.scope.batch)
    return _weighted(call, x, weight, call["bias"], **fields)


def _matmul(call: Call) -> Node:
    return _product(call, call["self"], call.first("other", "mat2", "vec", "tensor"))


def _product(
    call: Call, left: fx.Node, right: fx.Node, bias: Any = None, part: str = "",
    dims: tuple[int, int, int, int] | None = None,
) -> Node:  # fmt: skip
    """Return a product: a linear layer when one side is constant, else a matmul.

    `dims` (sets, rows, depth, columns) are those of ``left @ right`` unless given.
    """
    shapes = shape_of(left), shape_of(right)
    constant = next((i for i, side in enumerate((left, right)) if not call.is_active(side)), None)
    fields = geometry.product(
        *(dims or geometry.matmul(*shapes)), constant=constant, batch=call.scope.batch,
        constant_sets=_own_sets(shapes, constant, dims),
    )  # fmt: skip
    if constant is None:
        return call.make(fields.pop("op"), [left, right], part=part, **{"batch": 1, **fields})
    moving, weight = (right, left) if constant == 0 else (left, right)
    axis = max(len(shapes[constant]) - (1 if constant == 1 else 2), 0)
    attrs = (("weight_axis", axis),) if axis and not dims else ()
    return _weighted(call, moving, weight, bias, part=part, attrs=attrs, **fields)


def _own_sets(
    shapes: tuple[Shape, Shape], constant: int | None, dims: tuple[int, int, int, int] | None
) -> int:
    """Return how many distinct matrices the constant side has."""
    if constant is None:
        return 1
    return dims[0] if dims else prod(shapes[constant][:-2])


def _added_product(call: Call) -> Node | list[Node]:
    """Return addmm and baddbmm: a product and what is added to it."""
    names = ("mat1", "mat2") if call.name == "addmm" else ("batch1", "batch2")
    left, right, added = call[names[0]], call[names[1]], call["self"]
    if not call.is_active(added) and not (call.is_active(left) and call.is_active(right)):
        return _product(call, left, right, added)
    product = _product(call, left, right, part="product")
    return [product, call.make("add", [added, product] if call.is_active(added) else [product])]


def _einsum(call: Call) -> Node:
    operands = call["tensors"]
    if len(operands) != 2:
        return call.unknown()
    left, right = operands
    dims = geometry.einsum(str(call["equation"]), shape_of(left), shape_of(right))
    if dims is None:
        return call.unknown()
    return _product(call, left, right, dims=dims)


RULES: dict[str, Rule] = {
    "conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d": (
        _convolution
    ),
    "linear": _linear,
    "matmul mm bmm mv dot": _matmul,
    "addmm baddbmm": _added_product,
    "einsum": _einsum,
}
