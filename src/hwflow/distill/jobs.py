"""Jobs of distillation and scoring: which there are, who does them, how far they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hwflow.distill.tasks import Distilled, Group
from hwflow.edits.operations import Option
from hwflow.edits.sites import Site
from hwflow.errors import HwflowError, unknown_name
from hwflow.processes import Crew, Words

W = TypeVar("W")
R = TypeVar("R")

Pair = tuple[int, int]
"""Number of a site and of an option."""

_WORDS = Words("distill", "work", "Network, sites and options")


@dataclass(frozen=True)
class Progress:
    """How far a distillation is."""

    stage: str
    """"activations" or "options"."""
    done: int
    """Images, or options: those of earlier runs are counted."""
    total: int
    seconds_left: float | None = None
    """None where nothing is known yet."""
    last: Distilled | None = None
    """The option that was finished last."""


Progressing = Callable[[Progress], None]


class Clock:
    """Tells the time left from the share of the work that is done."""

    def __init__(self, total: float) -> None:
        self._total, self._began = total, time.monotonic()

    def left(self, done: float) -> float | None:
        """Return seconds, None before anything is done."""
        spent = time.monotonic() - self._began
        return spent * (self._total - done) / done if done else None


def answers(
    work: W, groups: Sequence[Group], do: Callable[[Group, W], R], workers: int
) -> Iterator[tuple[Group, R]]:
    """Yield groups with what `do` makes of them, here or in worker processes."""
    if workers == 1:
        for group in groups:
            yield group, do(group, work)
        return
    crew: Crew[Group, R] = Crew(workers, work, do, threads=1, label=_label, words=_WORDS)
    try:
        yield from crew.run(iter(groups))
    finally:
        crew.close()


def _label(group: Group) -> str:
    return f"the options {group.options} of site {group.site}"


def pairs_of(
    sites: Sequence[Site], options: Sequence[Option], chosen: Mapping[str, Sequence[str]] | None
) -> list[Pair]:
    """Return the jobs: numbers of sites and of the options that fit them and are chosen."""
    _check_names("site", [site.name for site in sites])
    _check_names("option", [option.name for option in options])
    for site, names in (chosen or {}).items():
        check_known("site", [site], [site.name for site in sites])
        check_known("option", names, [option.name for option in options])
    found = [
        (i, j)
        for i, site in enumerate(sites)
        for j, option in enumerate(options)
        if (chosen is None or option.name in chosen.get(site.name, ())) and option.fits(site)
    ]
    if not found:
        raise HwflowError("No option fits any site. Give other options, or other sites.")
    return found


def _check_names(kind: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise HwflowError(f"There are two {kind}s called {twice[0]!r}. Give each its own name.")


def check_known(kind: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Raise HwflowError for a name that is not among the known ones."""
    for name in names:
        if name not in known:
            raise HwflowError(unknown_name(kind, name, known))
