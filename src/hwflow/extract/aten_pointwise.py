"""Rules for the ATen operators that work element by element, in windows or along axes."""

from __future__ import annotations

from typing import Any

from torch import fx

from hwflow.extract import geometry
from hwflow.extract.call import Call, Rule, elements, shape_of
from hwflow.extract.nodes import BATCH_NORM, BIAS, Node, clamp_name


def _identity(call: Call) -> Node:
    return call.identity()


def _cast(call: Call) -> Node:
    """Return a cast: between floating-point types it changes nothing that hwflow counts."""
    made, read = call.node.meta["val"].dtype, call.actives[0].meta["val"].dtype
    if made == read or (made.is_floating_point and read.is_floating_point):
        return call.identity(call.actives[0])
    return call.make("act", [call.actives[0]], act=("cast",))


def _copied(call: Call) -> Node:
    """Return a copy of one tensor into the place of another."""
    source = call["src"]
    if not call.is_active(source):
        return call.unknown()
    same = shape_of(source) == call.out
    return call.identity(source) if same else call.make("expand", [source])


def _dropout(call: Call) -> Node:
    return call.make("act", act=("dropout",)) if call.get("train") else call.identity()


def _activation(call: Call) -> Node:
    name = call.name
    if name == "hardtanh":
        name = clamp_name(call["min_val"], call["max_val"], name)
    elif name == "clamp" and not any(call.is_active(call[key]) for key in ("min", "max")):
        name = clamp_name(call["min"], call["max"], name)
    return call.make("act", [call.actives[0]], act=(name,))


def _prelu(call: Call) -> Node:
    return call.make(
        "act", [call["self"]], act=("prelu",), params=call.parameters("weight"),
    )  # fmt: skip


def _arithmetic(op: str, folded: str) -> Rule:
    """Return the rule of an operator on two tensors; with a number it folds like an activation."""

    def rule(call: Call) -> Node:
        operands = [call["self"], call.first("other", "exponent")]
        read = [operand for operand in operands if call.is_active(operand)]
        if len(read) == 1 and all(_is_number(o) for o in operands if o is not read[0]):
            return call.make("act", read, act=(folded,))
        if call.name == "add" and len(read) == 1:
            return _with_constant(call, BIAS, read[0], operands)
        if len(read) == 1:
            return _with_constant(call, op, read[0], operands)
        return call.make(op, read, attrs=_function(call, op))

    return rule


def _with_constant(call: Call, op: str, x: fx.Node, operands: list[Any]) -> Node:
    """Return arithmetic with a constant; one that is added may be the bias of the layer before."""
    constant = next(operand for operand in operands if operand is not x)
    attrs = (("constant", shape_of(constant)), *(() if op == BIAS else _function(call, op)))
    return call.make(op, [x], params=call.scope.parameters(constant), attrs=attrs)


def _function(call: Call, op: str) -> tuple[tuple[str, object], ...]:
    return () if op == call.name else (("function", call.name),)


def _is_number(operand: Any) -> bool:
    return not isinstance(operand, fx.Node) or elements(operand) == 1


def _chosen(call: Call) -> Node:
    """Return a choice between one tensor and constants as a mask, between two as arithmetic."""
    read = call.actives
    one = len(read) == 1 and shape_of(read[0]) == call.out
    return (
        call.make("act", read, act=("where",))
        if one
        else call.make("mul", attrs=(("function", "where"),))
    )


def _batch_norm(call: Call) -> Node:
    params = call.parameters("weight", "bias")
    mean = call.get("running_mean")
    shared = call.scope.shared(call["weight"], call["bias"], mean)
    running = mean is not None and not call.get("training")
    return call.make(
        BATCH_NORM, [call["input"]], params=params, weight=call["weight"],
        foldable=running and call.leaf and not shared, attrs=(("kind", "batch"),),
    )  # fmt: skip


def _norm(kind: str) -> Rule:
    def rule(call: Call) -> Node:
        attrs: tuple[tuple[str, object], ...] = (("kind", kind),)
        if kind == "group":
            attrs += (("groups", call.first("num_groups", "group")),)
        params = call.parameters("weight", "bias")
        return call.make("norm", [call["input"]], params=params, weight=call["weight"], attrs=attrs)

    return rule


def _softmax(call: Call) -> Node:
    dim = int(call["dim"]) % max(len(call.out), 1)
    return call.make("softmax", attrs=(("dim", dim),))


def _pool(op: str) -> Rule:
    def rule(call: Call) -> Node:
        x = call["self"]
        kernel = call.ints("kernel_size", (1,))
        before = call.ints("padding", (0,))
        stride = call.ints("stride") or kernel
        fields = geometry.pool(
            shape_of(x), call.out, kernel, stride, call.ints("dilation", (1,)), before
        )
        return call.make(op, [x], **fields)

    return rule


def _adaptive_pool(op: str) -> Rule:
    def rule(call: Call) -> Node:
        x = call["self"]
        axes = len(call.ints("output_size")) or 1
        if shape_of(x) == call.out:
            return call.identity(x)
        return call.make(op, [x], **geometry.adaptive_pool(shape_of(x), call.out, axes))

    return rule


def _reduce(call: Call) -> Node:
    x = call.actives[0]
    rank = max(len(shape_of(x)), 1)
    dims = tuple(sorted(axis % rank for axis in call.ints("dim", tuple(range(rank)))))
    if call.name == "mean" and rank == 4 and dims == (2, 3):
        return call.make("avg_pool", [x], **geometry.adaptive_pool(shape_of(x), (1, 1), 2))
    return call.make("reduce", [x], attrs=(("function", call.name), ("dims", dims)))


def _resize(call: Call) -> Node:
    mode = call.name.removeprefix("_").removeprefix("upsample_")
    return call.make("resize", [call.actives[0]], attrs=(("mode", mode),))


RULES: dict[str, Rule] = {
    "alias clone contiguous detach lift_fresh lift_fresh_copy positive alias_copy": _identity,
    "copy": _copied,
    "to _to_copy type_as float half bfloat16 double": _cast,
    "dropout alpha_dropout feature_dropout feature_alpha_dropout native_dropout": _dropout,
    "abs acos asin atan ceil celu clamp clamp_max clamp_min clip cos cosh elu erf erfc exp exp2 "
    "expm1 floor gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu log log10 log1p log2 "
    "log_sigmoid logical_not masked_fill mish nan_to_num neg reciprocal relu relu6 round rrelu "
    "rrelu_with_noise rsqrt selu sigmoid sign silu sin sinh softplus softshrink sqrt square tan "
    "tanh threshold tril triu": _activation,
    "prelu _prelu_kernel": _prelu,
    "add sub rsub subtract": _arithmetic("add", "shift"),
    "mul div multiply divide true_divide": _arithmetic("mul", "scale"),
    "pow": _arithmetic("mul", "pow"),
    "maximum minimum fmax fmin": _arithmetic("mul", "clamp"),
    "where": _chosen,
    "batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm": _batch_norm,
    "layer_norm native_layer_norm": _norm("layer"),
    "group_norm native_group_norm": _norm("group"),
    "instance_norm": _norm("instance"),
    "rms_norm _fused_rms_norm": _norm("rms"),
    "softmax _softmax log_softmax _log_softmax special_softmax": _softmax,
    "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices "
    "max_pool3d_with_indices": _pool("max_pool"),
    "avg_pool1d avg_pool2d avg_pool3d": _pool("avg_pool"),
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d": (
        _adaptive_pool("avg_pool")
    ),
    "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d": _adaptive_pool("max_pool"),
    "mean sum amax amin max min prod std var var_mean std_mean median norm linalg_vector_norm "
    "logsumexp argmax argmin all any count_nonzero": _reduce,
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d upsample_linear1d upsample_bilinear2d upsample_trilinear3d "
    "upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa": _resize,
}
