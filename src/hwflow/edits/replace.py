"""Replace: the space of operations, a choice for each site of a network.

Sites are found by :mod:`hwflow.edits.sites`, options come from :mod:`hwflow.edits.operations`. The
edit of a plan is :class:`hwflow.edits.replace_edit.Replace`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hwflow.edits.inherit import Inheritance, inheritance
from hwflow.edits.operations import Option, find, fitting
from hwflow.edits.quantizers import prepared
from hwflow.edits.replace_edit import Replace, Trained, file_of, owned
from hwflow.edits.sites import Site
from hwflow.edits.sites import sites as sites_of
from hwflow.edits.splice import check_sites
from hwflow.errors import HwflowError, unknown_name
from hwflow.network import Network
from hwflow.space import Apart, Choice, Condition, Space, Value
from hwflow.workload import Workload

OPERATION = "operation:"
"""How the names of choices begin; the name of a site follows."""


@dataclass(frozen=True)
class ReplacePart:
    """The part of a space that chooses what stands at each site."""

    options: Mapping[Site, tuple[Option, ...]]
    """For each site its options, "keep" first."""
    trained: Trained = field(default=None, compare=False, repr=False)
    seed: int = 0
    inheritance: Inheritance = field(default=Inheritance(), compare=False, repr=False)
    kind = "replace"

    def __hash__(self) -> int:
        return hash((tuple(self.options.items()), self.seed))

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """One choice per site."""
        return tuple(
            Choice(OPERATION + site.name, tuple(o.name for o in options), ordered=False)
            for site, options in self.options.items()
        )

    @cached_property
    def _named(self) -> dict[str, tuple[Site, dict[Value, Option]]]:
        return {
            OPERATION + site.name: (site, {option.name: option for option in options})
            for site, options in self.options.items()
        }

    def edit(self, values: Mapping[str, Value]) -> Replace:
        """Return the edit for these values of the choices."""
        chosen = {}
        for name, value in values.items():
            site, options = self._named[name]
            chosen[site] = options[value]
        return Replace(chosen, self.trained, self.seed, self.inheritance)

    @property
    def homes(self) -> Mapping[str, Condition]:
        """What some plans leave out -> the choice, and its values with which it is there."""
        return self.inheritance.homes

    @property
    def heirs(self) -> Mapping[str, str]:
        """What some plans leave out -> the tensor that takes its place, "" where none does."""
        return self.inheritance.heirs

    def apart(self, workload: Workload) -> Apart | None:
        """Return which layers belong to which choice; None where bits reach beyond a site."""
        owners: dict[str, str] = {}
        loose: dict[str, tuple[int, ...]] = {}
        for site, options in self.options.items():
            found = owned(workload, site, options)
            if found is None:
                return None
            owners |= dict.fromkeys(found[0], OPERATION + site.name)
            loose[OPERATION + site.name] = found[1]
        return Apart(owners, loose)

    def digest(self) -> str:
        """Return the SHA-256 of what a study must not mix: options, seed, which are trained."""
        sites = [(site.name, [o.name for o in options]) for site, options in self.options.items()]
        trained = sorted(map(str, _trained_files(self)))
        return hashlib.sha256(json.dumps([sites, self.seed, trained]).encode()).hexdigest()


def _trained_files(part: ReplacePart) -> Iterable[str]:
    """Yield the options at sites whose weights were trained, with their files' digests."""
    for site, options in part.options.items():
        for option in options:
            if isinstance(part.trained, Path):
                path = file_of(part.trained, site, option)
                if path.is_file():
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    yield f"{site.name}/{option.name}/{digest}"
            elif part.trained is not None and (site.name, option.name) in part.trained:
                yield f"{site.name}/{option.name}"


def replace(
    source: Network | Workload,
    sites: Sequence[Site | str] | None = None,
    options: Sequence[Option | str] | Mapping[Site, Sequence[Option]] | None = None,
    *,
    trained: Path | str | Trained = None,
    level: str = "block",
    seed: int = 0,
) -> Space:
    """Return the space of operations: what stands at each site, by default what is there now.

    `sites` are sites or their names; by default all at `level` ("block" or "layer"). `options` are
    options, or names of options or families; by default all that are known. "keep" is always one.
    A mapping gives the options of each site, and with them the sites.
    `trained` is a folder with the weights of trained options, <site>/<option>.safetensors (what
    :mod:`hwflow.distill` writes), or these by names; options without are random (from
    `seed` and both names) or, if they are made from the teacher, as good as that makes them.

    Raises HwflowError for unknown sites or options, sites that overlap, and a network without any.
    """
    workload = prepared(source).workload if isinstance(source, Network) else source
    given = options if isinstance(options, Mapping) else None
    chosen = _sites(workload, sites, level) if given is None else tuple(given)
    check_sites(workload, dict.fromkeys(chosen))
    known = {site: _options(given[site]) for site in chosen} if given is not None else {}
    shared = () if isinstance(options, Mapping) else _options(options)
    offered = {site: fitting(site, known.get(site, shared)) for site in chosen}
    offered = {site: found for site, found in offered.items() if len(found) > 1}
    if not offered:
        raise HwflowError(
            f"Network {workload.name!r} has no site at which one of the given options can stand. "
            "Allow more options, or level='layer'."
        )
    folder = Path(trained) if isinstance(trained, str) else trained
    handed_on = inheritance(workload, offered, OPERATION)
    network = source if isinstance(source, Network) else None
    return Space(workload, (ReplacePart(offered, folder, seed, handed_on),), network)


def _sites(workload: Workload, named: Sequence[Site | str] | None, level: str) -> tuple[Site, ...]:
    found = sites_of(workload, level)
    if named is None:
        return found
    known = {site.name: site for site in (*sites_of(workload, "layer"), *found)}
    chosen = []
    for one in named:
        if isinstance(one, str) and one not in known:
            raise HwflowError(unknown_name("site", one, known))
        chosen.append(known[one] if isinstance(one, str) else one)
    return tuple(dict.fromkeys(chosen))


def _options(named: Sequence[Option | str] | None) -> tuple[Option, ...]:
    if named is None:
        return find()
    names = [one for one in named if isinstance(one, str)]
    given = tuple(one for one in named if not isinstance(one, str))
    return tuple(dict.fromkeys((*find(names), *given)))
