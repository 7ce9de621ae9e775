"""What replaced layers hand on: which of their choices still count, whose bits new layers take.

Names of later choices are those of the pristine network. A layer that an option leaves out has no
bits to choose; new layers take the bits of the site's heaviest layer for their weights and those of
the exit for their tensors. Options that set bits of their own keep them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hwflow.edits.operations import Option
from hwflow.edits.sites import Site
from hwflow.edits.splice import exit_of, renamed
from hwflow.space import Condition, Legacy, Value
from hwflow.workload import Workload


@dataclass(frozen=True)
class Inheritance:
    """What a space of replacements tells the parts after it."""

    homes: Mapping[str, Condition] = field(default_factory=dict)
    """A layer -> the choice, and its values with which the layer's own choices count."""
    heirs: Mapping[str, str] = field(default_factory=dict)
    """A layer -> the tensor that gets its bits where it is left out."""
    lead: Mapping[Site, str] = field(default_factory=dict)
    """A site -> the layer whose weight's bits new layers take."""
    group: Mapping[Site, str] = field(default_factory=dict)
    """A site -> the name of the bit group of its exit."""


def inheritance(
    workload: Workload, options: Mapping[Site, tuple[Option, ...]], prefix: str
) -> Inheritance:
    """Return what is handed on at these sites; `prefix` and a site's name name its choice."""
    homes: dict[str, Condition] = {}
    heirs: dict[str, str] = {}
    leads = {site: _lead(workload, site) for site in options}
    members: dict[str, list[str]] = {}
    for name, group in workload.bit_groups.items():
        members.setdefault(group, []).append(name)
    for site, offered in options.items():
        inside = set(site.layers)
        for name in site.layers:
            alike = members[workload.bit_groups[name]]
            later = alike[alike.index(name) + 1 :]
            heirs[name] = next((other for other in later if other not in inside), "")
            shared = workload.bit_groups[name] == name and not set(alike) <= inside
            if not shared and name != site.exit:  # the bits of a tensor that others share stay
                values = tuple(_active(name == leads[site], offered))
                homes[name] = (prefix + site.name, values)
    groups = {site: workload.bit_groups[site.exit] for site in options}
    return Inheritance(homes, heirs, leads, groups)


def _lead(workload: Workload, site: Site) -> str:
    """Return the layer with a weight that has the most multiplications."""
    weighted = [workload[name] for name in site.layers if workload[name].op != "matmul"]
    return max(weighted, key=lambda layer: layer.macs).name


def _active(lead: bool, offered: tuple[Option, ...]) -> Iterator[Value]:
    """Yield the options with which a layer's own choices count."""
    for option in offered:
        stays = option.derived and not option.own_bits
        if stays or (lead and not option.derived):
            yield option.name


def legacy(handed_on: Inheritance, placed: Mapping[Site, tuple[Option, Workload]]) -> Legacy:
    """Return what options, with their workloads, hand on at their sites."""
    heirs: dict[str, str] = {}
    weights: dict[str, str] = {}
    tensors: dict[str, str] = {}
    own: set[str] = set()
    for site, (option, piece) in placed.items():
        names = [renamed(site, layer.name, option.derived) for layer in piece]
        heirs[site.exit] = exit_of(site, piece, option.derived)
        if option.own_bits:
            own |= {*names} - {heirs[site.exit]}
            continue
        fresh = [name for name in names if name not in site.layers]
        weights |= dict.fromkeys(fresh, handed_on.lead.get(site, ""))
        tensors |= dict.fromkeys(fresh, handed_on.group.get(site, ""))
    return Legacy({k: v for k, v in heirs.items() if k != v}, weights, tensors, frozenset(own))
