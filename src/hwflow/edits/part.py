"""What stands at a site, on paper: a workload of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hwflow.workload import FLOAT_BITS, Input, Layer, Workload

if TYPE_CHECKING:
    from hwflow.edits.sites import Site

ENTRY = "x"
"""What the one input of an option's workload is called."""


def part_of(workload: Workload, site: Site) -> Workload:
    """Return the layers of a site as a workload, its entry in floating point."""
    entry = ENTRY if ENTRY not in site.layers else f"{ENTRY}/entry"
    layers = tuple(reading(workload[name], site.entry, entry) for name in site.layers)
    loose = sum(layer.loose for layer in layers)
    given = (Input(entry, (1, *site.in_shape)),)
    return Workload(site.name, _floats(layers, entry), given, (site.exit,), loose)


def reading(layer: Layer, old: str, new: str) -> Layer:
    """Return a layer that reads another tensor in place of one."""
    return replace(layer, inputs=tuple(new if name == old else name for name in layer.inputs))


def _floats(layers: tuple[Layer, ...], entry: str) -> tuple[Layer, ...]:
    """Return the layers reading an entry in floating point, whatever made it."""
    return tuple(
        replace(
            layer,
            input_bits=tuple(
                FLOAT_BITS if name == entry else bits
                for name, bits in zip(layer.inputs, layer.input_bits, strict=True)
            ),
        )
        for layer in layers
    )
