"""The result in one sentence, and the trial that it is about."""

from __future__ import annotations

from math import isfinite, log

from hwflow.front import Trial
from hwflow.report import words
from hwflow.report.data import ReportData

CLOSE = 0.005
"""A network this near to the original's quality counts as equally good (half a point)."""


def highlight(data: ReportData) -> Trial | None:
    """Return the trial that the page opens with, None when the front is empty.

    Of the networks that are cheaper than the original in every cost objective: the one that saves
    most among those at most half a point less accurate, else the most accurate one. The knee of
    the front when no network is cheaper, or when the original's quality is unknown.
    """
    if not data.front.trials:
        return None
    cheaper = savers(data)
    original = data.original_quality
    if not cheaper or original is None:
        return data.front.knee()
    span = CLOSE if data.is_share else CLOSE * abs(original)
    close = [t for t in cheaper if (t.quality or 0.0) >= original - span]
    if close:
        return min(close, key=lambda t: (_mean_log_ratio(data, t), t.number))
    return max(cheaper, key=lambda t: (t.quality or 0.0, -t.number))


def savers(data: ReportData) -> list[Trial]:
    """Return the trials of the front that cost less than the original in every cost objective."""
    return [
        trial
        for trial in data.front
        if data.cost_objectives and all(r is not None and r < 0 for r in _ratios(data, trial))
        and trial.quality is not None and isfinite(trial.quality)
    ]  # fmt: skip


def headline(data: ReportData) -> str:
    """Say in one sentence what the search found; honest when nothing improved."""
    trial = highlight(data)
    if trial is None:
        return _nothing(data)
    count = len(data.front)
    start = f"{count} network{'' if count == 1 else 's'} on the front"
    names = words.joined([words.NAMES[name] for name in data.cost_objectives])
    if not data.cost_objectives:
        return f"{start}; the best has {data.quality} {words.quality(data, trial.quality)}."
    if not savers(data):
        at_once = " at once" if len(data.cost_objectives) > 1 else ""
        return f"{start}, but none of them needs less {names} than the original{at_once}."
    return f"{start}; {_at(data, trial)}: {_savings(data, trial)}."


def _nothing(data: ReportData) -> str:
    if not data.trials:
        return "Nothing has been evaluated yet."
    if data.evaluated:
        return "No network is on the front: no quality that was measured is a number."
    count = len(data.trials)
    tried = "The only network tried breaks" if count == 1 else f"All {count} networks tried break"
    return f"{tried} a limit, so none was evaluated."


def _at(data: ReportData, trial: Trial) -> str:
    original, name = data.original_quality, f"validation {data.quality}"
    if original is None or trial.quality is None:
        return f"at {words.quality(data, trial.quality, 1)} {name}, against the original"
    gap = words.difference(data, trial.quality, 1)
    amount = gap.lstrip("+\N{MINUS SIGN}")
    amount = amount.replace("1.0\N{NO-BREAK SPACE}points", "1.0\N{NO-BREAK SPACE}point")
    if gap == words.difference(data, original, 1):
        return f"at the same {name} as the original"
    return f"at {amount} {'less' if gap[0] != '+' else 'more'} {name} than the original"


def _savings(data: ReportData, trial: Trial) -> str:
    pairs = zip(data.cost_objectives, _ratios(data, trial), strict=True)
    return words.joined([words.less(name, ratio) for name, ratio in pairs if ratio is not None])


def _ratios(data: ReportData, trial: Trial) -> list[float | None]:
    return [data.relative_change(trial, name) for name in data.cost_objectives]


def _mean_log_ratio(data: ReportData, trial: Trial) -> float:
    """Return the sum of log(after / before): lowest where most is saved, objectives alike."""
    return sum(log(max(1 + (r or 0.0), 1e-300)) for r in _ratios(data, trial))
