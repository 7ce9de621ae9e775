"""What each ATen operator is as a layer: one rule by operator name."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from torch import fx

from hwflow.extract import geometry
from hwflow.extract.call import Call, Rule, elements, shape_of, weight_source
from hwflow.extract.nodes import BATCH_NORM, IDENTITY, Node
from hwflow.workload import Shape

_PASSING = (
    "alias alpha_dropout clone contiguous detach dropout feature_alpha_dropout feature_dropout "
    "lift_fresh lift_fresh_copy positive resolve_conj resolve_neg"
)
_UNARY = (
    "abs celu clamp clamp_max clamp_min cos elu erf exp expm1 gelu hardshrink hardsigmoid "
    "hardswish hardtanh leaky_relu log log1p log2 log_sigmoid logical_not masked_fill mish neg "
    "reciprocal relu relu6 round rsqrt selu sigmoid sign silu sin softplus softshrink sqrt square "
    "tan tanh threshold tril triu floor ceil"
)
_RESHAPES = (
    "flatten reshape reshape_as squeeze unflatten unsqueeze view view_as _unsafe_view ravel"
)
_REDUCTIONS = (
    "all amax amin any argmax argmin linalg_vector_norm logsumexp max min norm prod std sum var "
    "var_mean median count_nonzero"
)
_RESIZES = (
    "upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d "
    "upsample_nearest2d upsample_nearest3d upsample_trilinear3d _upsample_bilinear2d_aa "
    "_upsample_bicubic2d_aa _upsample_nearest_exact2d _upsample_nearest_exact1d"
)


def _convolution(call: Call) -> Node:
    x, weight = call["input"], call["weight"]
    kernel = shape_of(weight)
    axes = len(kernel) - 2
    dilation = call.ints("dilation", (1,))
    before, after = _zeros(call, kernel[2:], dilation)
    transposed = call.name.startswith("conv_transpose") or bool(call.get("transposed"))
    fields = geometry.convolution(
        shape_of(x), kernel, call.out, stride=call.ints("stride", (1,) * axes), dilation=dilation,
        before=before, after=after, groups=int(call["groups"]), transposed=transposed,
    )  # fmt: skip
    attrs = fields.pop("attrs", ()) + ((("weight_axis", 1),) if transposed else ())
    return _weighted(call, x, weight, call["bias"], attrs=attrs, **fields)


def _zeros(call: Call, kernel: Shape, dilation: tuple[int, ...]) -> tuple[Shape, Shape]:
    """Return the zero positions before and after each axis; "same" may differ at the two ends."""
    if call["padding"] == "same":
        return geometry.same_padding(kernel, dilation)
    if call["padding"] == "valid":
        return (0,), (0,)
    amounts = call.ints("padding", (0,))
    return amounts, amounts


def _weighted(call: Call, x: fx.Node, weight: Any, bias: Any, **fields: Any) -> Node:
    """Return a layer with a weight (and perhaps a bias) that are constants."""
    params = call.scope.parameters(weight) + call.scope.parameters(bias)
    shared = any(call.scope.uses.get(key, 1) > 1 for key in params)
    plain = call.label("").leaf and getattr(weight_source(weight), "op", "") == "get_attr"
    reads = [x, *(b for b in (bias,) if call.is_active(b))]
    op = fields.pop("op")
    fields["in_shapes"] = fields.get("in_shapes", (shape_of(x),)) + tuple(map(shape_of, reads[1:]))
    return call.make(
        op, reads, params=params, weight=weight, foldable=plain and not shared,
        bias=bias is not None, **fields,
    )  # fmt: skip


def _linear(call: Call) -> Node | list[Node]:
    if call.is_active(call["weight"]) or not call.is_active(call["input"]):
        return call.make("unknown", attrs=(("target", str(call.node.target)),))
    x, weight = call["input"], call["weight"]
    outputs, features = shape_of(weight)
    fields = geometry.linear(features, outputs, elements(x) // features, call.scope.batch)
    return _weighted(call, x, weight, call["bias"], **fields)


RULES: dict[str, Rule] = {}


def _rules(names: str, rule: Rule) -> None:
    RULES.update(dict.fromkeys(names.split(), rule))


def _unary(call: Call) -> Node:
    return call.make("act", [call.actives[0]], act=(call.name.removesuffix("_"),))


def _reshape(call: Call) -> Node:
    x = call.actives[0]
    return call.identity(x) if shape_of(x) == call.out else call.make("reshape", [x])


def _batch_norm(call: Call) -> Node:
    params = call.parameters("weight", "bias")
    own = not any(call.scope.uses.get(key, 1) > 1 for key in params)
    running = not (call.get("training") or call.get("use_input_stats"))
    return call.make(
        BATCH_NORM, [call["input"]], params=params, weight=call["weight"],
        foldable=own and running and call.label("").leaf, attrs=(("kind", "batch"),),
    )  # fmt: skip


def _pool(call: Call) -> Node:
    return call.make("avg_pool" if "avg" in call.name else "max_pool", [call.actives[0]])


def _arithmetic(op: str) -> Rule:
    def rule(call: Call) -> Node:
        return call.make(op)
    return rule


_rules("conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d", _convolution)
_rules("linear", _linear)
_rules("batch_norm", _batch_norm)
_rules(_PASSING, Call.identity)
_rules(_UNARY, _unary)
_rules(_RESHAPES, _reshape)
_rules("adaptive_avg_pool2d max_pool2d avg_pool2d", _pool)
_rules("add sub", _arithmetic("add"))
_rules("mul div", _arithmetic("mul"))
_rules("cat", _arithmetic("concat"))
