"""Progress bars: of a search, of training, of measuring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hwflow.screen.base import err
from hwflow.units import show

if TYPE_CHECKING:
    from hwflow.costs.measured.fill import Progress as Measured
    from hwflow.loop import Progress as SearchProgress
    from hwflow.train import Progress as Step


def counting_bar(quiet: bool) -> Progress:
    """Return a progress bar with a count, a note, and the time that is left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TextColumn("[dim]{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err, disable=quiet)


@contextmanager
def search_bar(quiet: bool) -> Iterator[SearchBar]:
    """Show a progress bar while a search runs; nothing when `quiet`."""
    with counting_bar(quiet) as bar:
        yield SearchBar(bar)


class SearchBar:
    """Feeds the progress of a search to a rich progress bar."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("loading", total=None, count="", note="")

    def __call__(self, progress: SearchProgress) -> None:
        """Show one more step of the search."""
        best = "-" if progress.best is None else f"{100 * progress.best:.2f} %"
        note = f"best {best}, hypervolume {progress.hypervolume:.3f}"
        if progress.infeasible:
            note += f", {progress.infeasible} beyond the limits"
        self._bar.update(
            self._task,
            description="searching",
            completed=progress.evaluated,
            total=progress.budget,
            count=f"{progress.evaluated}{f'/{progress.budget}' if progress.budget else ''}",
            note=note,
        )


@contextmanager
def tuning_bar(quiet: bool) -> Iterator[Callable[[Step], None]]:
    """Show a progress bar while a network is fine-tuned; nothing when `quiet`."""
    with counting_bar(quiet) as bar:
        task = bar.add_task("fine-tuning", total=None, count="", note="")

        def show(at: Step) -> None:
            note = f"loss {at.loss:.3f}, learning rate {at.lr:.2g}"
            count = f"{at.step}/{at.steps}"
            bar.update(task, completed=at.step, total=at.steps, count=count, note=note)

        yield show


@contextmanager
def measuring_bar(quiet: bool) -> Iterator[Callable[[Measured], None]]:
    """Show a progress bar with the time left while layers are measured; nothing when `quiet`."""
    with counting_bar(quiet) as bar:
        task = bar.add_task("measuring", total=None, count="", note="")

        def show_step(at: Measured) -> None:
            left = "" if at.left_s is None else f"{show(at.left_s, 's')} left"
            bar.update(
                task, completed=at.done, total=at.total, count=f"{at.done}/{at.total}", note=left
            )

        yield show_step
