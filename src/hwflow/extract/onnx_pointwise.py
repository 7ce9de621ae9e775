"""Rules for the ONNX operators that work element by element, in windows or along axes."""

from __future__ import annotations

from math import prod

from hwflow.extract import geometry
from hwflow.extract.nodes import BATCH_NORM, BIAS, QUANTIZE, Node, clamp_name
from hwflow.extract.onnx_call import OnnxCall, OnnxRule
from hwflow.extract.onnx_products import zeros

_ACTIVATIONS = {
    "HardSwish": "hardswish", "HardSigmoid": "hardsigmoid", "LeakyRelu": "leaky_relu",
    "ThresholdedRelu": "threshold", "Reciprocal": "reciprocal", "LogSoftmax": "log_softmax",
}  # fmt: skip
_FUNCTIONS = (
    "Abs Acos Asin Atan Ceil Celu Clip Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish "
    "LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus "
    "Softsign Sqrt Swish Tan Tanh ThresholdedRelu Trilu"
)


def _identity(call: OnnxCall) -> Node:
    return call.identity()


def _cast(call: OnnxCall) -> Node:
    values = call.values
    same = values.is_float(call.input(0)) and values.is_float(call.result)
    return call.identity() if same else call.make("act", act=("cast",))


def _activation(call: OnnxCall) -> Node:
    kind = call.node.op_type
    name = _clip(call) if kind == "Clip" else _ACTIVATIONS.get(kind, kind.lower())
    return call.make("act", [call.actives[0]], act=(name,))


def _clip(call: OnnxCall) -> str:
    """Return relu and relu6 under their names."""
    low, high = (
        call.attrs.get(key) if array is None else float(array.reshape(-1)[0])
        for key, array in (("min", call.array(1)), ("max", call.array(2)))
    )
    return clamp_name(low, high, "clamp")


def _prelu(call: OnnxCall) -> Node:
    return call.make("act", [call.input(0)], act=("prelu",), params=call.parameters(1))


def _arithmetic(op: str, folded: str) -> OnnxRule:
    """Return the rule of an operator on two tensors; with a number it folds like an activation."""

    def rule(call: OnnxCall) -> Node:
        read = call.actives
        if len(read) == 1:
            constant = call.input(1 if call.is_active(0) else 0)
            if prod(call.values.shape(constant)) == 1:
                return call.make("act", read, act=(folded,))
            if call.node.op_type == "Add":
                return _with_constant(call, BIAS, constant)
            return _with_constant(call, op, constant)
        return call.make(op, read)

    return rule


def _with_constant(call: OnnxCall, op: str, constant: str) -> Node:
    """Return arithmetic with a constant; one that is added may be the bias of the layer before."""
    index = list(call.node.input).index(constant)
    attrs = (("constant", call.values.shape(constant)),)
    held = call.parameters(index) if call.values.is_float(constant) else ()
    named_by = index if op == BIAS else None
    return call.make(op, call.actives, params=held, attrs=attrs, named_by=named_by)


def _chosen(call: OnnxCall) -> Node:
    """Return a choice between one tensor and constants as a mask, between two as arithmetic."""
    read = call.actives
    return call.make("act", read, act=("where",)) if len(read) == 1 else call.make("mul", read)


def _batch_norm(call: OnnxCall) -> Node:
    op = "norm" if call.attrs.get("training_mode") else BATCH_NORM
    params = call.parameters(1, 2)
    return call.make(op, [call.input(0)], named_by=1, params=params, attrs=(("kind", "batch"),))


def _norm(kind: str) -> OnnxRule:
    def rule(call: OnnxCall) -> Node:
        attrs: tuple[tuple[str, object], ...] = (("kind", kind),)
        if "num_groups" in call.attrs:
            attrs += (("groups", int(call.attrs["num_groups"])),)
        params = call.parameters(1, 2)
        return call.make("norm", [call.input(0)], named_by=1, params=params, attrs=attrs)

    return rule


def _softmax(call: OnnxCall) -> Node:
    default = -1 if call.values.opsets.get("", 1) >= 13 else 1
    dim = int(call.attrs.get("axis", default)) % max(len(call.out), 1)
    return call.make("softmax", [call.input(0)], attrs=(("dim", dim),))


def _pool(op: str) -> OnnxRule:
    def rule(call: OnnxCall) -> Node:
        kernel = call.ints("kernel_shape") or (1,)
        axes = len(kernel)
        stride = call.ints("strides") or (1,) * axes
        dilation = call.ints("dilations") or (1,) * axes
        pads = zeros(call, kernel, stride, dilation)
        fields = geometry.pool(
            call.shape(0), call.out, kernel, stride, dilation, pads[:axes], pads[axes:]
        )
        return call.make(op, [call.input(0)], **fields)

    return rule


def _global_pool(op: str) -> OnnxRule:
    def rule(call: OnnxCall) -> Node:
        x = call.shape(0)
        axes = min(len(x) - 2, 3)
        return call.make(op, [call.input(0)], **geometry.adaptive_pool(x, call.out, axes))

    return rule


def _reduce(call: OnnxCall) -> Node:
    x = call.shape(0)
    rank = max(len(x), 1)
    axes = call.ints("axes", 1) or call.ints("axis") or tuple(range(rank))
    dims = tuple(sorted(axis % rank for axis in axes))
    function = call.node.op_type.removeprefix("Reduce").lower()
    if function == "mean" and rank == 4 and dims == (2, 3):
        fields = geometry.adaptive_pool(x, (1, 1), 2)
        return call.make("avg_pool", [call.input(0)], **fields)
    attrs = (("function", function), ("dims", dims))
    return call.make("reduce", [call.input(0)], attrs=attrs)


def _resize(call: OnnxCall) -> Node:
    if call.shape(0) == call.out:
        return call.identity()
    mode = str(call.attrs.get("mode", "nearest"))
    return call.make("resize", [call.input(0)], attrs=(("mode", mode),))


def _quantize(call: OnnxCall) -> Node:
    return call.make(QUANTIZE, [call.input(0)], bits=call.values.bits(call.result))


def simulated(call: OnnxCall) -> Node:
    """Return a grid that the file computes in floating point: a function of hwflow's exporter."""
    return call.make(QUANTIZE, [call.input(0)], bits=int(call.attrs["bits"]))


def qonnx(call: OnnxCall) -> Node:
    """Return a grid of a QONNX file; one whose bits are not written down is an unknown operator."""
    bits = call.values.qonnx_bits(call.node)
    return call.make(QUANTIZE, [call.input(0)], bits=bits) if bits else call.unknown()


RULES: dict[str, OnnxRule] = {
    "Identity Dropout DequantizeLinear": _identity,
    "QuantizeLinear": _quantize,
    "Cast CastLike": _cast,
    _FUNCTIONS: _activation,
    "PRelu": _prelu,
    "Add Sub Sum": _arithmetic("add", "shift"),
    "Mul Div": _arithmetic("mul", "scale"),
    "Pow": _arithmetic("mul", "pow"),
    "Max Min": _arithmetic("mul", "clamp"),
    "Where": _chosen,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _norm("layer"),
    "GroupNormalization": _norm("group"),
    "InstanceNormalization": _norm("instance"),
    "RMSNormalization SimplifiedLayerNormalization": _norm("rms"),
    "LpNormalization MeanVarianceNormalization LRN": _norm("other"),
    "Softmax LogSoftmax": _softmax,
    "MaxPool": _pool("max_pool"),
    "AveragePool": _pool("avg_pool"),
    "GlobalAveragePool": _global_pool("avg_pool"),
    "GlobalMaxPool": _global_pool("max_pool"),
    "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceSumSquare ArgMax ArgMin": _reduce,
    "Resize Upsample": _resize,
}
