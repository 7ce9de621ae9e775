"""The evaluate loop: solver, limits, quality and study, and the only door to expensive work."""

from hwflow.loop.door import search
from hwflow.loop.progress import Progress

__all__ = ["Progress", "search"]
