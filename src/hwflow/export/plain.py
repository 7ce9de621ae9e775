"""Learned quantisers as plain ones: whoever writes or computes integers need know one operator.

`hwflow::lsq` and `hwflow::pact` become `hwflow::fake_quantize` with the steps they have now. Of
`hwflow::dorefa` the weight itself is stored in place of the trained one; it lies on the odd levels
of a symmetric grid of b + 1 bits (one bit: on both of one bit), which is what it is quantised to.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import fx

from hwflow.export.change import BYTE, keep
from hwflow.extract.call import is_quantizer, operator_name
from hwflow.extract.constants import constant
from hwflow.extract.exported import Extraction
from hwflow.learned_grids import dorefa_step, pact_step
from hwflow.workload import Workload

_Arguments = tuple[fx.Node, fx.Node, fx.Node, int, bool, int]


def plain(module: fx.GraphModule) -> fx.GraphModule:
    """Return a copy whose quantisers are all `hwflow::fake_quantize`; it computes the same."""
    module = copy.deepcopy(module)
    for node in [node for node in module.graph.nodes if is_quantizer(node)]:
        match operator_name(node):
            case "lsq":
                node.args = node.args[:6]
            case "pact":
                node.args = (node.args[0], _pact_step(module, node), *node.args[2:6])
            case "dorefa":
                node.args = _dorefa(module, node)
        node.target = torch.ops.hwflow.fake_quantize.default
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _pact_step(module: fx.GraphModule, node: fx.Node) -> fx.Node:
    step = pact_step(constant(module, node.args[1]), _bits(node))
    with module.graph.inserting_before(node):
        return keep(module, f"hwflow_{node.name}_step", step)


def _dorefa(module: fx.GraphModule, node: fx.Node) -> tuple[object, ...]:
    weight, scale, zero, bits, _, axis = cast(_Arguments, node.args)
    step = dorefa_step(constant(module, weight), constant(module, scale), bits, axis)
    made = constant(module, node)
    wider = bits + 1 if bits > 1 else 1
    alone = weight.op == "get_attr" and len(weight.users) == 1  # then the weight keeps its name
    path = str(weight.target) if alone else f"hwflow_{node.name}_weight"
    with module.graph.inserting_before(node):
        kept = keep(module, path, made), keep(module, f"hwflow_{node.name}_step", step)
    return (*kept, zero, wider, True, axis)


def _bits(node: fx.Node) -> int:
    return cast(int, node.args[3])


def runnable(found: Extraction) -> Workload:
    """Return the workload with the bits that stored weights need: DoReFa's eight need nine."""
    wide = {
        layer: BYTE + 1
        for layer, weight in found.weights.items()
        if any(operator_name(n) == "dorefa" and _bits(n) == BYTE for n in weight.users)
    }
    return found.workload.with_bits(wide, {})
