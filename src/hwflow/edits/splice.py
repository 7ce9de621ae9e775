"""Options spliced into a workload: the paper face of a replacement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hwflow.edits.sites import Site
from hwflow.errors import HwflowError
from hwflow.workload import FLOAT_BITS, Layer, Workload

HOLDER = "option"
"""Layers and parameters of an option lie below this name below their site's."""


def renamed(site: Site, name: str, own: bool) -> str:
    """Return what a layer or parameter of an option is called in the network.

    `own` says that the option is made from the teacher: its names are the network's already.
    """
    return name if own else f"{site.name}.{HOLDER}.{name}"


def exit_of(site: Site, piece: Workload, own: bool) -> str:
    """Return the tensor that takes the place of a site's exit."""
    made = piece.outputs[0]
    return site.entry if made == piece.inputs[0].name else renamed(site, made, own)


def spliced(workload: Workload, pieces: Mapping[Site, tuple[Workload, bool]]) -> Workload:
    """Return a workload in which other pieces stand at some sites.

    A piece comes with whether its names are those of the network. Its layers stand where the exit
    stood; who read the exit reads what it makes. The sites are such as :func:`check_sites` passes.
    """
    gone = {name for site in pieces for name in site.layers}
    ends = {site.exit: (site, *piece) for site, piece in pieces.items()}
    alias: dict[str, str] = {}
    bits = {i.name: i.bits for i in workload.inputs}
    layers: list[Layer] = []
    loose = workload.loose_params
    for layer in workload:
        if layer.name in gone:
            loose -= layer.loose
        new: tuple[Layer, ...] = (layer,) if layer.name not in gone else ()
        if layer.name in ends:
            site, piece, own = ends[layer.name]
            new, loose = _placed(site, piece, own), loose + piece.loose_params
            made = exit_of(site, piece, own)
            if made != layer.name:  # a piece of the teacher's own layers ends in the exit itself
                alias[layer.name] = made
        for one in new:
            layers.append(_reading(one, alias, bits))
            bits[one.name] = layers[-1].output_bits
    outputs = tuple(_behind(name, alias) for name in workload.outputs)
    return replace(workload, layers=tuple(layers), outputs=outputs, loose_params=loose)


def check_sites(workload: Workload, sites: Mapping[Site, object]) -> None:
    """Raise HwflowError for sites that overlap, or that a workload does not have."""
    taken: dict[str, str] = {}
    for site in sites:
        for name in site.layers:
            if name not in workload:
                raise HwflowError(
                    f"{workload.name!r} has no layer {name!r}, which the site {site.name!r} is "
                    "made of. Take the sites of this network: hwflow.edits.sites.sites(workload)."
                )
            if name in taken:
                raise HwflowError(
                    f"The sites {taken[name]!r} and {site.name!r} overlap: both have the layer "
                    f"{name!r}. Replace one of them only."
                )
            taken[name] = site.name


def _placed(site: Site, piece: Workload, own: bool) -> tuple[Layer, ...]:
    """Return the layers of a piece under their names in the network."""
    called = {layer.name: renamed(site, layer.name, own) for layer in piece}
    called[piece.inputs[0].name] = site.entry
    return tuple(
        replace(
            layer,
            name=called[layer.name],
            inputs=tuple(called[name] for name in layer.inputs),
            path=renamed(site, layer.path, own) if layer.path else "",
            attrs=tuple((k, called[str(v)] if k == "tied" else v) for k, v in layer.attrs),
        )
        for layer in piece
    )


def _behind(name: str, alias: Mapping[str, str]) -> str:
    while name in alias:
        name = alias[name]
    return name


def _reading(layer: Layer, alias: Mapping[str, str], bits: Mapping[str, int]) -> Layer:
    """Return a layer that reads what its inputs have become, at their bits."""
    inputs = tuple(_behind(name, alias) for name in layer.inputs)
    read = tuple(bits[name] for name in inputs)
    if inputs == layer.inputs and read == layer.input_bits:
        return layer
    made = replace(layer, inputs=inputs, input_bits=read)
    if layer.op == "matmul" and len(read) > 1:
        made = replace(made, weight_bits=read[1])
    if layer.passes and read and layer.output_bits == max(layer.input_bits, default=FLOAT_BITS):
        made = replace(made, output_bits=max(read))
    return made
