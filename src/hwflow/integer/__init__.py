"""A quantised network in integers only, bit for bit what the simulation says.

:func:`integer_network` compiles a quantised network to a numpy program: integer weights, integer
activations, integer accumulators of a stated width, and a requantization in integers
(:mod:`hwflow.integer.requantize`). :mod:`hwflow.integer.simulate` says what is equal to what, and
:func:`agreement` counts it.
"""

from __future__ import annotations

from hwflow.errors import HwflowError, ModelError
from hwflow.extract.exported import read_graph
from hwflow.integer.lower import Lowering, Value
from hwflow.integer.operators import RULES
from hwflow.integer.program import IntegerNetwork
from hwflow.integer.requantize import MULTIPLIER_BITS
from hwflow.integer.simulate import (
    Agreement,
    agreement,
    exact_simulation,
    quantised_graph,
    simulated_codes,
)
from hwflow.network import Network

__all__ = [
    "Agreement",
    "IntegerNetwork",
    "agreement",
    "exact_simulation",
    "integer_network",
    "simulated_codes",
]


def integer_network(network: Network, *, multiplier_bits: int = MULTIPLIER_BITS) -> IntegerNetwork:
    """Compile a quantised network (fused is best) to a program on integers.

    `multiplier_bits` (8 to 48) are those of the requantization's multipliers; the default gives the
    codes of the exact simulation, fewer what hardware of that width would give.
    Raises ModelError, with the layer's name and a remedy, for what has no integer form: operands
    that are not quantised, products of two tensors that are not element by element, ...
    """
    if not 8 <= multiplier_bits <= MULTIPLIER_BITS:
        raise HwflowError(
            f"Multipliers of {multiplier_bits} bits do not fit: allowed are 8 to {MULTIPLIER_BITS}."
        )
    module = quantised_graph(network)
    low = Lowering(module, read_graph(module, network.name), multiplier_bits)
    outputs = low.run(RULES)
    return _program(network, low, outputs)


def _program(network: Network, low: Lowering, outputs: tuple[Value, ...]) -> IntegerNetwork:
    given = [node for node in low.found.graph.nodes if node.op == "placeholder"]
    inputs = [name for name in low.grids if name in {low.layer(node) for node in given}]
    if len(given) != 1 or len(inputs) != 1:
        raise ModelError(
            f"Network {network.name!r} has {len(given)} inputs with {len(inputs)} quantisers; an "
            "integer program takes one of each. Quantise its one input with one scale."
        )
    shape = tuple(network.example.shape[1:])
    return IntegerNetwork(
        network.name, inputs[0], low.grids[inputs[0]], shape, tuple(low.steps), low.grids, outputs
    )
