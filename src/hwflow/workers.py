"""Worker processes on this machine: each gets the space and the quality once, then plan by plan.

A worker ends with the process that started it, however that dies: an idle one sees its pipe close,
a busy one is watched by a thread. Workers are started afresh (spawn), never forked, as torch's
thread pool does not survive a fork.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from hwflow.errors import HwflowError
from hwflow.evaluate import Job, Outcome, evaluate
from hwflow.space import Space

if TYPE_CHECKING:
    from hwflow.quality import Quality

_PATIENCE = 5.0
"""Seconds that a worker gets to end by itself."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class WorkerError(HwflowError):
    """A worker process that died or could not be started, or an error inside it."""


class Workers:
    """Evaluates in `count` processes, which are started with the first job."""

    def __init__(self, count: int, space: Space, quality: Quality, threads: int) -> None:
        self._count = count
        self._task = (space, quality, threads)
        self._processes: dict[Connection, BaseProcess] = {}
        self._busy: dict[Connection, Job] = {}

    def run(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield jobs as they are done. After a failure the others in hand are finished first."""
        failure: Exception | None = None
        while True:
            if failure is None:
                failure = self._hand_out(jobs)
            if not self._busy:
                break
            for link in wait(list(self._busy)):
                assert isinstance(link, Connection)  # only such were given to wait()
                job, answer = self._busy[link], self._receive(link)
                if isinstance(answer, Outcome):
                    yield job, answer
                else:
                    failure = failure or answer
        if failure is not None:
            raise failure

    def _hand_out(self, jobs: Iterator[Job]) -> Exception | None:
        """Give every idle worker a job, as long as there are any; return what went wrong."""
        while len(self._busy) < self._count and (job := next(jobs, None)) is not None:
            try:
                link = self._idle()
            except WorkerError as error:
                return error
            try:
                link.send(job)
            except BrokenPipeError:
                return self._death(link, job)
            self._busy[link] = job
        return None

    def _idle(self) -> Connection:
        for link in self._processes:
            if link not in self._busy:
                return link
        return self._start()

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, *self._task), name="hwflow worker")
        try:
            with _thread_limit(self._task[2]):
                process.start()
        except Exception as error:
            raise WorkerError(
                f"A worker process cannot be started: {error}. Space and quality must be of "
                "classes that can be imported by name, not made inside a function; "
                "or search with workers=1."
            ) from error
        finally:
            theirs.close()
        self._processes[ours] = process
        return ours

    def _receive(self, link: Connection) -> Outcome | Exception:
        job = self._busy.pop(link)
        try:
            answer = link.recv()
        except (EOFError, ConnectionResetError):
            return self._death(link, job)
        return answer if isinstance(answer, Outcome) else WorkerError(answer)

    def _death(self, link: Connection, job: Job) -> WorkerError:
        process = self._processes.pop(link)
        link.close()
        process.join(_PATIENCE)
        return WorkerError(
            f"A worker process died (exit code {process.exitcode}) with trial #{job.number}. "
            "What was committed is kept; the same command goes on. If memory ran out "
            "(exit code -9), use fewer workers; if this is a script, call search under "
            "`if __name__ == '__main__':`, as workers import it."
        )

    def close(self) -> None:
        """End the workers: the idle by closing their pipes, the busy at once."""
        for link, process in self._processes.items():
            if link in self._busy:
                process.terminate()
            link.close()
        for process in self._processes.values():
            process.join(_PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()
        self._processes, self._busy = {}, {}


def _serve(link: Connection, space: Space, quality: Quality, threads: int) -> None:
    """Evaluate what comes down the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            job = link.recv()
            link.send(_answer(job, space, quality, threads))


def _answer(job: Job, space: Space, quality: Quality, threads: int) -> Outcome | str:
    """Evaluate; an error comes back as text, since not every exception survives the journey."""
    try:
        return evaluate(job, space, quality, threads)
    except HwflowError as error:
        return str(error)
    except Exception:
        return f"Trial #{job.number} failed in a worker process:\n{traceback.format_exc()}"


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _thread_limit(count: int) -> Iterator[None]:
    """Have processes started meanwhile find this number of threads in their environment."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
