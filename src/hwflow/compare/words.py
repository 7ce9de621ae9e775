"""Who wins, in one sentence, and what a reader must know of the terms."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hwflow.compare.comparison import Comparison, Contender, Spread


def verdict(found: Comparison) -> str:
    """Say who wins, or who cannot be told apart: ranges over seeds that overlap decide nothing."""
    first, *others = found.ranking()
    spent = f"after {found.evaluations} evaluations"
    after = f"in best {found.quality} {spent}"
    best = first.quality_at(found.evaluations)
    if not isfinite(best.largest):
        return f"Nobody found a plan within the limits in {found.evaluations} evaluations."
    if not others:
        return f"{first.name} reaches {span(found, best)} {spent}; there is nobody beside it."
    close = [one for one in others if _quality(found, one).largest >= best.least]
    if close:
        return _undecided(found, [first, *close], after)
    return _won(found, first, others, after)


def _won(found: Comparison, first: Contender, others: Sequence[Contender], after: str) -> str:
    best = span(found, _quality(found, first))
    rival = max(others, key=lambda one: _quality(found, one).largest)
    limit = shown(found, _quality(found, rival).largest)
    lone = [one.name for one in (first, rival) if len(one.runs) == 1 and one.runs[0].seeded]
    if lone:
        return (
            f"{first.name} is ahead {after}, {best} against {limit} of {rival.name}, but "
            f"{joined(lone)} {'have' if len(lone) > 1 else 'has'} one seed only, which cannot tell "
            "skill from luck."
        )
    count = len(first.runs)
    reach = f"its {count} seeds reach" if count > 1 else "it reaches"
    return (
        f"{first.name} wins {after}: {reach} {best}, the best of the others {limit} ({rival.name})."
    )


def _undecided(found: Comparison, close: Sequence[Contender], after: str) -> str:
    names = joined([one.name for one in close])
    if len(close) > 2:
        ranges = "; ".join(f"{one.name} {span(found, _quality(found, one))}" for one in close)
        return f"{names} cannot be told apart {after}: their seeds overlap ({ranges})."
    mine, theirs = (span(found, _quality(found, one)) for one in close)
    reach = f"both reach {mine}" if mine == theirs else f"{mine} against {theirs} over their seeds"
    return f"{names} cannot be told apart {after}: {reach}."


def notes(found: Comparison) -> list[str]:
    """Return what the figures do not say of themselves: runs cut short, plans costed again."""
    lines = [
        f"{one.name} made {one.shortest} evaluations only; its last value stands."
        for one in found.ranking()
        if one.shortest < found.evaluations
    ]
    if found.recosted:
        lines.append(
            f"Every plan was costed again at the {found.level} level; only those within the "
            "limits there count, whatever the level that they were searched at."
        )
    return lines


def shown(found: Comparison, value: float) -> str:
    """Write a quality: a share in percent, any other metric as it is; "none" below everything."""
    if not isfinite(value):
        return "none"
    return f"{100 * value:.2f} %" if found.is_share else f"{value:.4g}"


def joined(names: Sequence[str]) -> str:
    """Join names with commas and a last "and"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _quality(found: Comparison, one: Contender) -> Spread:
    return one.quality_at(found.evaluations)


def span(found: Comparison, spread: Spread) -> str:
    """Write a quality's range over seeds, such as "98.89 to 99.44 %"."""
    low, high = shown(found, spread.least), shown(found, spread.largest)
    return low if low == high else f"{low.removesuffix(' %')} to {high}"
