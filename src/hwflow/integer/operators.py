"""Rules: one ATen operator that computes -> steps of the integer program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import fx

from hwflow.extract.call import Call, shape_of
from hwflow.fake_quantize import spread
from hwflow.integer import kernels
from hwflow.integer.kernels import Pair, Window
from hwflow.integer.lower import Lowering, Rule, Value, floats
from hwflow.integer.values import Array, Codes, Curve, Real, Term
from hwflow.integer.views import VIEWS


def _pair(values: tuple[int, ...]) -> Pair:
    return (values[0], values[-1])


def _convolution(low: Lowering, call: Call) -> Value:
    weight, scales, axis = low.weight(call["weight"], call.node)
    source = low.codes(call["input"], call.node)
    if weight.ndim != 4:
        low.refuse(call.node, "only 2-D convolutions have one.", "Write it as a 2-D convolution.")
    groups, transposed = call.size(call["groups"]), call.name == "conv_transpose2d"
    per_group = weight.shape[0] // groups if transposed else weight.shape[1]
    if not source.grid.uniform and per_group != 1:
        low.refuse(
            call.node, "it adds up channels that have different scales.",
            "Quantise its input with one scale per tensor.",
        )  # fmt: skip
    out = call.out[1]
    factor = _output_scales(scales, axis, groups, transposed, out) * _repeated(source, out)
    term = low.centred(source)
    bounds = kernels.sums_of_weight(weight, term.low, term.high, transposed, groups)
    bound = _magnitude(weight, term, transposed)
    window = _window(call, _pair(weight.shape[2:]))
    if transposed:
        more = _pair(call.ints("output_padding", (0,)))

        def compute(x: Array) -> Array:
            return kernels.convolve_transposed(x, weight, window, more, groups, bound)
    else:

        def compute(x: Array) -> Array:
            return kernels.convolve(x, weight, window, groups, bound)

    bias = _bias(low, call, spread_rank=4)
    return low.sum(call.node, "conv", (term.name,), compute, spread(factor, 4, 1), bounds, bias)


def _output_scales(scales: Array, axis: int, groups: int, transposed: bool, out: int) -> Array:
    """Return the weight's scale of every output channel."""
    if axis < 0:
        return np.broadcast_to(scales, (out,))
    if not transposed:
        return scales
    # a transposed weight is (C, K / groups, R, S): scales of its outputs repeat over the groups,
    # scales of its inputs tell the groups apart where each has one input
    return np.tile(scales, groups) if axis == 1 else np.repeat(scales, out // groups)


def _repeated(source: Codes, out: int) -> Array:
    scale = source.grid.scale.reshape(-1)
    return np.repeat(scale, out // scale.size) if scale.size > 1 else np.broadcast_to(scale, (out,))


def _magnitude(weight: Array, term: Term, transposed: bool = False) -> int:
    """Return a bound of every partial sum of an accumulator."""
    largest = max(abs(term.low), abs(term.high))
    axes = tuple(a for a in range(weight.ndim) if a != (1 if transposed else 0))
    return int(np.abs(weight).sum(axis=axes).max()) * largest


def _window(call: Call, size: Pair) -> Window:
    stride, dilation = (_pair(call.ints(name, (1,))) for name in ("stride", "dilation"))
    padding = call.get("padding")
    if isinstance(padding, str):
        extent = Window(size, (1, 1), dilation).extent
        total = tuple((e - 1) * (padding == "same") for e in extent)
        before = _pair(tuple(t // 2 for t in total))
        return Window(size, stride, dilation, before, (total[0] - before[0], total[1] - before[1]))
    amount = _pair(call.ints("padding", (0,)))
    return Window(size, stride, dilation, amount, amount)


def _bias(low: Lowering, call: Call, spread_rank: int, axis: int = 1) -> Array:
    bias = call.get("bias")
    if bias is None:
        return np.zeros(())
    return spread(floats(low.constant(bias)), spread_rank, axis)


def _linear(low: Lowering, call: Call) -> Value:
    weight, scales, _ = low.weight(call["weight"], call.node)
    source, rank = low.codes(call["input"], call.node), len(call.out)
    if not source.grid.uniform:
        low.refuse(
            call.node, "it adds up channels that have different scales.",
            "Quantise its input with one scale per tensor.",
        )  # fmt: skip
    term = low.centred(source)
    bounds = kernels.sums_of_weight(weight, term.low, term.high, False, 1)
    bound = _magnitude(weight, term)
    factor = spread(np.broadcast_to(scales, (len(weight),)), rank, rank - 1) * source.grid.scale
    bias = _bias(low, call, rank, rank - 1)
    return low.sum(
        call.node, "linear", (term.name,),
        lambda x: kernels.multiply_matrix(x, weight, bound), factor, bounds, bias,
    )  # fmt: skip


def _batch_norm(low: Lowering, call: Call) -> Value:
    if call.get("running_mean") is None or call.get("training"):
        low.refuse(
            call.node, "it normalises by the batch.", "Use running statistics, and eval mode."
        )
    mean, variance = (floats(low.constant(call[n])) for n in ("running_mean", "running_var"))
    gamma, beta = (
        np.full(mean.shape, start) if call.get(n) is None else floats(low.constant(call[n]))
        for n, start in (("weight", 1.0), ("bias", 0.0))
    )
    factor = gamma / np.sqrt(variance + float(call["eps"]))
    rank = len(call.out)
    x = low.real(call["input"], call.node)
    return _scaled(x, spread(factor, rank, 1), spread(beta - mean * factor, rank, 1))


def _scaled(x: Real, factor: Array, offset: Array) -> Real:
    terms = tuple(replace(term, factor=term.factor * factor) for term in x.terms)
    return Real(terms, x.offset * factor + offset)


def _add(low: Lowering, call: Call) -> Value:
    sign = -1.0 if call.name in {"sub", "subtract", "rsub"} else 1.0
    weights = [1.0, sign * float(call.get("alpha", 1) or 1)]
    if call.name == "rsub":
        weights = [sign * float(call.get("alpha", 1) or 1), 1.0]
    total = Real((), np.zeros(()))
    for operand, weight in zip((call["self"], call["other"]), weights, strict=True):
        if call.is_active(operand):
            part = _scaled(low.real(operand, call.node), np.asarray(weight), np.zeros(()))
            total = Real((*total.terms, *part.terms), total.offset + part.offset)
        else:
            total = replace(total, offset=total.offset + weight * _number(low, operand))
    return total


def _number(low: Lowering, operand: Any) -> Array:
    return (
        floats(low.constant(operand)) if isinstance(operand, fx.Node) else np.float64(operand)  # type: ignore[return-value]
    )


def _mul(low: Lowering, call: Call) -> Value:
    a, b = call["self"], call["other"]
    if not (call.is_active(a) and call.is_active(b)):
        x, constant = (a, b) if call.is_active(a) else (b, a)
        number = _number(low, constant)
        if call.name in {"div", "divide", "true_divide"}:
            if not call.is_active(a):
                low.refuse(call.node, "it divides by a tensor.", "Replace the layer.")
            number = 1.0 / number
        return _scaled(low.real(x, call.node), np.asarray(number), np.zeros(()))
    if call.name not in {"mul", "multiply"}:
        low.refuse(call.node, "it divides by a tensor.", "Replace the layer.")
    p, q = (low.centred(low.codes(x, call.node)) for x in (a, b))
    corners = [i * j for i in (p.low, p.high) for j in (q.low, q.high)]
    return low.sum(
        call.node, "mul", (p.name, q.name), lambda x, y: x * y, p.factor * q.factor,
        (min(corners), max(corners)),
    )  # fmt: skip


def _average(low: Lowering, call: Call) -> Value:
    x = call.actives[0]
    size = shape_of(x)
    window = _average_window(low, call, size)
    value = low.real(x, call.node)
    if not value.is_plain:
        low.refuse(call.node, "it averages a tensor that is not quantised.",
                   "Give that tensor 1 to 16 bits.")  # fmt: skip
    term, count = value.terms[0], window.size[0] * window.size[1]
    divisor = call.get("divisor_override") or count
    keep = call.get("keepdim", True) or call.name != "mean"
    factor = term.factor / divisor

    def compute(acc: Array) -> Array:
        made = kernels.sum_pool(acc, window)
        return made if keep else made[:, :, 0, 0]

    if not keep and factor.ndim:
        factor = factor[:, :, 0, 0]
    bounds = (count * min(term.low, 0), count * max(term.high, 0))
    return low.sum(call.node, "average", (term.name,), compute, factor, bounds)


def _average_window(low: Lowering, call: Call, size: tuple[int, ...]) -> Window:
    """Return the window of a mean over height and width, or of a pool."""
    if len(size) != 4:
        low.refuse(call.node, "only averages of height and width have one.", "Replace the layer.")
    if call.name == "mean":
        if tuple(sorted(axis % 4 for axis in call.ints("dim"))) != (2, 3):
            low.refuse(call.node, "it averages other axes than height and width.", "Replace it.")
        return Window(_pair(size[2:]))
    if call.name.startswith(("adaptive", "_adaptive")):
        steps = [a // b for a, b in zip(size[2:], call.out[2:], strict=True)]
        if any(a % b for a, b in zip(size[2:], call.out[2:], strict=True)):
            low.refuse(call.node, "its windows have different sizes.",
                       "Choose an output size that divides the input's.")  # fmt: skip
        return Window(_pair(tuple(steps)), _pair(tuple(steps)))
    window = _pool_window(low, call)
    if any(window.before) and not call.get("count_include_pad"):
        low.refuse(call.node, "it leaves padding out of its averages.",
                   "Set count_include_pad=True, or take the padding out.")  # fmt: skip
    return window


def _pool_window(low: Lowering, call: Call) -> Window:
    size = _pair(call.ints("kernel_size"))
    stride, pads = _pair(call.ints("stride") or size), _pair(call.ints("padding", (0,)))
    window = Window(size, stride, _pair(call.ints("dilation", (1,))), pads, pads)
    rows, columns = shape_of(call["self"])[2:]
    missing = [
        (out - 1) * s + e - (n + 2 * p)
        for out, s, e, n, p in zip(
            call.out[2:], stride, window.extent, (rows, columns), pads, strict=True
        )
    ]
    if call.get("ceil_mode") and call.name == "avg_pool2d" and max(missing) > 0:
        low.refuse(call.node, "its last windows are cut.", "Set ceil_mode=False.")
    after = (pads[0] + max(missing[0], 0), pads[1] + max(missing[1], 0))
    return replace(window, after=after)


def _max_pool(low: Lowering, call: Call) -> Value:
    source = low.codes(call["self"], call.node)
    if call.name.startswith("adaptive"):
        window = _average_window(low, call, shape_of(call["self"]))
    else:
        window = _pool_window(low, call)
    name = low.add(call.node, "max_pool", (source.name,), lambda x: kernels.max_pool(x, window))
    return Codes(name, source.grid)


def _clip(name: str, limits: Callable[[Call], tuple[Any, Any]]) -> Rule:
    def rule(low: Lowering, call: Call) -> Value:
        found = limits(call)
        if any(isinstance(limit, fx.Node) for limit in found):
            low.refuse(call.node, "its limits are tensors.", "Give it numbers as limits.")
        a = -np.inf if found[0] is None else float(found[0])
        b = np.inf if found[1] is None else float(found[1])
        return low.curve(call, Curve(name, lambda x: np.clip(x, a, b), (a, b), ()))

    return rule


def _nonlinear(turns: tuple[float, ...] | None = None) -> Rule:
    """Return the rule of a function that torch computes, in float64, while compiling."""

    def rule(low: Lowering, call: Call) -> Value:
        node = call.node
        rest, named = node.args[1:], dict(node.kwargs)
        if any(isinstance(value, fx.Node) for value in (*rest, *named.values())):
            low.refuse(node, "it has learned parameters.", "Replace the activation.")

        def apply(x: Array) -> Array:
            given = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64))
            return np.asarray(node.target(given, *rest, **named).numpy())  # type: ignore[operator]

        known = turns
        if call.name == "leaky_relu" and float(call["negative_slope"]) < 0:
            known = (0.0,)
        return low.curve(call, Curve(call.name, apply, None, known))

    return rule


_GROUPS: dict[str, Rule] = {
    "conv2d conv_transpose2d conv1d conv3d": _convolution,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "add sub rsub subtract": _add,
    "mul multiply div divide true_divide": _mul,
    "mean avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool2d": _average,
    "max_pool2d adaptive_max_pool2d max_pool2d_with_indices": _max_pool,
    "relu": _clip("relu", lambda _: (0, None)),
    "relu6": _clip("relu6", lambda _: (0, 6)),
    "hardtanh": _clip("hardtanh", lambda call: (call["min_val"], call["max_val"])),
    "clamp clip": _clip("clamp", lambda call: (call["min"], call["max"])),
    "clamp_min": _clip("clamp_min", lambda call: (call["min"], None)),
    "clamp_max": _clip("clamp_max", lambda call: (None, call["max"])),
    "sigmoid hardsigmoid tanh softplus leaky_relu elu selu celu exp erf": _nonlinear(()),
    "silu": _nonlinear((-1.2784645427610738,)),
    "hardswish": _nonlinear((-1.5,)),
    "gelu": _nonlinear((-0.7517915,)),
    "mish": _nonlinear((-1.1924312,)),
    "abs square": _nonlinear((0.0,)),
    "sqrt rsqrt log sin cos neg reciprocal softsign": _nonlinear(None),
}

RULES = {name: rule for names, rule in (VIEWS | _GROUPS).items() for name in names.split()}
"""Operator -> rule."""
