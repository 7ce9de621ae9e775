"""Worker processes for plans: each gets the space and the quality once, then plan by plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwflow.loop.evaluate import Job, Outcome, evaluate
from hwflow.processes import Crew, Words, WorkerError
from hwflow.space import Space

if TYPE_CHECKING:
    from hwflow.quality import Quality

__all__ = ["WorkerError", "Workers"]

_Task = tuple[Space, "Quality", int]


class Workers(Crew[Job, Outcome]):
    """Evaluates in `count` processes, which are started with the first job."""

    def __init__(self, count: int, space: Space, quality: Quality, threads: int) -> None:
        words = Words("search", "problem", "Space and quality")
        super().__init__(
            count, (space, quality, threads), _evaluate, threads=threads, label=_label, words=words
        )


def _evaluate(job: Job, task: _Task) -> Outcome:
    return evaluate(job, *task)


def _label(job: Job) -> str:
    return f"trial #{job.number}"
