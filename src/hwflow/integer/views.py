"""Rules of the operators that only move codes: reshape, slice, pad, concatenate, ..."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hwflow.extract.call import Call, operator_name, shape_of
from hwflow.integer.lower import Lowering, Rule, Value
from hwflow.integer.values import Array, Codes, Real


def _same(low: Lowering, call: Call) -> Value:
    """Return what an operator that changes no value passes on."""
    if call.name.endswith("dropout") and call.get("train"):
        low.refuse(call.node, "it is in training mode.", "Call network.module.eval() first.")
    return low.values[call.actives[0]]


def _view(low: Lowering, call: Call, kind: str, compute: Callable[[Array], Array]) -> Value:
    """Return codes that are only arranged anew."""
    x = call.actives[0]
    source = low.values[x]
    if isinstance(source, Real):
        scalar = all(term.factor.size == 1 for term in source.terms)
        if source.curves or source.offset.any() or not scalar:
            low.codes(x, call.node)  # which refuses
        terms = tuple(
            replace(term, name=low.add(call.node, kind, (term.name,), compute),
                    factor=term.factor.reshape(()))
            for term in source.terms
        )  # fmt: skip
        return Real(terms, np.zeros(()))
    if not source.grid.uniform:
        low.refuse(call.node, "its channels have different scales.",
                   "Quantise its input with one scale per tensor.")  # fmt: skip
    return Codes(low.add(call.node, kind, (source.name,), compute), source.grid)


def _reshape(low: Lowering, call: Call) -> Value:
    before, after = shape_of(call.actives[0]), call.out
    if before == after:
        return _same(low, call)
    if not after or after[0] != before[0]:
        low.refuse(call.node, "it reshapes the batch.", "Keep the first axis as it is.")
    return _view(low, call, "reshape", lambda x: x.reshape(len(x), *after[1:]))


def _permute(low: Lowering, call: Call) -> Value:
    rank = len(shape_of(call["self"]))
    order = list(range(rank))
    if call.name == "permute":
        order = [axis % rank for axis in call.ints("dims")]
    else:
        a, b = (call.size(call[f"dim{i}"]) for i in range(2))
        order[a], order[b] = order[b], order[a]
    if order[0] != 0:
        low.refuse(call.node, "it moves the batch.", "Keep the first axis as it is.")
    return _view(low, call, "permute", lambda x: x.transpose(order))


def _slice(low: Lowering, call: Call) -> Value:
    shape = shape_of(call["self"])
    dim = call.size(call["dim"]) % len(shape)
    if call.name == "select":
        index = call.size(call["index"])
        return _view(low, call, "select", lambda x: np.take(x, index, axis=dim))
    if dim == 0:
        if shape == call.out and call.size(call["step"]) == 1:
            return _same(low, call)
        low.refuse(call.node, "it takes part of the batch.", "Keep the first axis as it is.")
    start, stop = (None if call[n] is None else call.size(call[n]) for n in ("start", "end"))
    cut = (*[slice(None)] * dim, slice(start, stop, call.size(call["step"])))
    return _view(low, call, "slice", lambda x: x[cut])


def _piece(low: Lowering, call: Call) -> Value:
    """Return one output of a splitting operator."""
    source = call.node.all_input_nodes[0]
    split = Call(source, low.scope)
    if operator_name(source) not in {"split", "chunk", "split_with_sizes", "tensor_split"}:
        return _same(low, call)
    dim = int(split.get("dim", 0)) % len(shape_of(split["self"]))
    sizes = [split.size(part.shape[dim]) for part in source.meta["val"]]
    index = call.size(call.node.args[1])
    start = sum(sizes[:index])
    cut = (*[slice(None)] * dim, slice(start, start + sizes[index]))
    return _view(low, call, "split", lambda x: x[cut])


def _pad(low: Lowering, call: Call) -> Value:
    amounts = call.ints("pad")
    rank = len(call.out)
    if call.get("mode", "constant") != "constant" or (call.get("value") or 0) != 0:
        low.refuse(call.node, "it pads with other values than 0.", "Pad with zeros.")
    pairs = [(0, 0)] * (rank - len(amounts) // 2)
    pairs += list(zip(amounts[::2], amounts[1::2], strict=True))[::-1]
    if any(pairs[0]) or min(amounts) < 0:
        low.refuse(call.node, "it pads the batch, or crops.", "Pad other axes, slice instead.")
    source = low.values[call["self"]]
    zero = int(source.grid.zero.reshape(-1)[0]) if isinstance(source, Codes) else 0
    if isinstance(source, Codes) and source.grid.by_sign:
        low.refuse(call.node, "a grid of -1 and +1 has no zero to pad with.", "Give it 2 bits.")
    return _view(low, call, "pad", lambda x: np.pad(x, pairs, constant_values=zero))


def _concat(low: Lowering, call: Call) -> Value:
    parts = [part for part in call["tensors"] if shape_of(part) != (0,)]
    dim = int(call.get("dim", 0)) % len(call.out)
    if any(part not in low.values for part in parts):
        low.refuse(call.node, "it takes a constant in.", "Take the constant out of it.")
    codes = [low.codes(part, call.node) for part in parts]
    grid = codes[0].grid
    if not (grid.uniform and all(grid.same(other.grid) for other in codes)):
        low.refuse(call.node, "its inputs lie on different grids.",
                   "Quantise them by hwflow, which gives them one scale.")  # fmt: skip
    if dim == 0:
        low.refuse(call.node, "it changes the batch.", "Keep the first axis as it is.")
    names = tuple(code.name for code in codes)
    made = low.add(call.node, "concat", names, lambda *x: np.concatenate(x, axis=dim))
    return Codes(made, grid)


VIEWS: dict[str, Rule] = {
    "alias clone contiguous detach dropout feature_dropout alpha_dropout to _to_copy "
    "lift_fresh_copy": _same,
    "flatten reshape squeeze unflatten unsqueeze view _unsafe_view": _reshape,
    "permute transpose": _permute,
    "slice select": _slice,
    "split chunk split_with_sizes tensor_split": _same,
    "getitem": _piece,
    "pad constant_pad_nd": _pad,
    "cat concat": _concat,
}
"""Operators -> rule."""
