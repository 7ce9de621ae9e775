"""All options that are known, from hwflow's families and those of other packages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from hwflow import plugins
from hwflow.edits.operations.option import Option
from hwflow.edits.sites import Site
from hwflow.errors import HwflowError, unknown_name


@lru_cache(maxsize=1)
def registry() -> tuple[Option, ...]:
    """Return all options, "keep" first, then family by family.

    Raises HwflowError where two families have an option of one name.
    """
    families = plugins.names("operations")
    found = [option for family in families for option in plugins.load("operations", family)()]
    names = [option.name for option in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise HwflowError(f"Two options are called {min(twice)!r}: rename one of them.")
    return tuple(sorted(found, key=lambda option: option.name != "keep"))


def find(names: Iterable[str] | None = None) -> tuple[Option, ...]:
    """Return options by name or by family, "keep" always and first; all by default.

    Raises HwflowError for names that are neither.
    """
    known = registry()
    if names is None:
        return known
    wanted = tuple(names)
    for name in wanted:
        if not any(name in (option.name, option.family) for option in known):
            families = dict.fromkeys(option.family for option in known)
            both = [*families, *(option.name for option in known)]
            raise HwflowError(unknown_name("option or family of options", name, both))
    return tuple(o for o in known if o.name in wanted or o.family in wanted or o.name == "keep")


def fitting(site: Site, options: Sequence[Option] | None = None) -> tuple[Option, ...]:
    """Return those of the options (all by default) that can stand at a site."""
    return tuple(o for o in (registry() if options is None else options) if o.fits(site))
