"""The table of modelled, tabled and measured latencies of built networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hwflow.report import words

WAYS = ("modelled", "tabled", "measured")


def rows(latencies: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each line: network, way, machine, original, built, speed-up."""
    for entry in latencies:
        for way in WAYS:
            found = entry[way]
            if found is not None:
                before, after = found["before_s"], found["after_s"]
                yield (
                    f"#{entry['trial']}", way, found["on"], words.cost("latency_s", before),
                    words.cost("latency_s", after),
                    f"{before / after:.2f}x" if before and after else words.NOTHING,
                )  # fmt: skip


def notes(latencies: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the sentences of what was measured: a speed-up, or none."""
    for entry in latencies:
        if entry["measured"] is not None:
            yield from (f"#{entry['trial']}: {text}" for text in entry["measured"]["notes"])
