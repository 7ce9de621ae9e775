"""Worker processes on this machine: each gets the task once, then job by job.

A worker ends with the process that started it, however that dies: an idle one sees its pipe close,
a busy one is watched by a thread. Workers are started afresh (spawn), never forked, as torch's
thread pool does not survive a fork. Nothing is ever unpacked but what the parent itself sent.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, ClassVar, Generic, TypeVar

from hwflow.errors import HwflowError

Job = TypeVar("Job")
Answer = TypeVar("Answer")

_PATIENCE = 5.0
"""Seconds that a worker gets to end by itself."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class WorkerError(HwflowError):
    """A worker process that died or could not be started, or an error inside it."""


@dataclass(frozen=True)
class Words:
    """How errors speak of what workers do."""

    call: str
    """The function that a user calls, such as "search"."""
    task: str
    """What every worker gets, such as "problem"."""
    parts: str
    """What the task is made of, such as "Space and quality"."""


@dataclass(frozen=True)
class _Failure:
    text: str


class Crew(Generic[Job, Answer]):
    """Answers jobs in `count` processes, which are started with the first job.

    `answer(job, task)` and `label(job)` are functions that can be imported by name; `label` says
    what a job is called in errors. Each process computes on `threads` threads.
    """

    def __init__(
        self,
        count: int,
        task: Any,
        answer: Callable[[Job, Any], Answer],
        *,
        threads: int,
        label: Callable[[Job], str],
        words: Words,
    ) -> None:
        self._count = count
        self._threads = threads
        self._task = (answer, task, label, words)
        self._label = label
        self._words = words
        self._processes: dict[Connection, BaseProcess] = {}
        self._busy: dict[Connection, Job] = {}

    def run(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Answer]]:
        """Yield jobs as they are done. After a failure the others in hand are finished first."""
        failure: WorkerError | None = None
        while True:
            if failure is None:
                failure = self._hand_out(jobs)
            if not self._busy:
                break
            for link in wait(list(self._busy)):
                assert isinstance(link, Connection)  # only such were given to wait()
                job, answer = self._busy[link], self._receive(link)
                if isinstance(answer, WorkerError):
                    failure = failure or answer
                else:
                    yield job, answer
        if failure is not None:
            raise failure

    def _hand_out(self, jobs: Iterator[Job]) -> WorkerError | None:
        """Give every idle worker a job, as long as there are any; return what went wrong."""
        while len(self._busy) < self._count and (job := next(jobs, None)) is not None:
            if not self._processes:
                self._start()
            link = next(link for link in self._processes if link not in self._busy)
            try:
                link.send(job)
            except OSError:
                return self._death(link, job)
            self._busy[link] = job
        return None

    def _start(self) -> None:
        """Start all workers, then send each its task: they come up side by side."""
        message = _by_value(self._task, self._words)
        context = multiprocessing.get_context("spawn")
        with _thread_limit(self._threads):
            for _ in range(self._count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs,), name="hwflow worker")
                process.start()
                theirs.close()
                self._processes[ours] = process
        for link in self._processes:
            with suppress(OSError):  # a worker that is dead already is found out by its first job
                link.send_bytes(message)

    def _receive(self, link: Connection) -> Answer | WorkerError:
        job = self._busy.pop(link)
        try:
            answer = link.recv()
        except (EOFError, OSError):
            return self._death(link, job)
        return WorkerError(answer.text) if isinstance(answer, _Failure) else answer

    def _death(self, link: Connection, job: Job) -> WorkerError:
        process = self._processes.pop(link)
        link.close()
        process.join(_PATIENCE)
        return WorkerError(
            f"A worker process died (exit code {process.exitcode}) with {self._label(job)}. "
            "What was committed is kept; the same command goes on. If memory ran out "
            f"(exit code -9), use fewer workers; if this is a script, call {self._words.call} "
            "under `if __name__ == '__main__':`, as workers import it."
        )

    def close(self) -> None:
        """End the workers at once; between jobs they hold nothing that could be lost."""
        for link, process in self._processes.items():
            process.terminate()
            link.close()
        for process in self._processes.values():
            process.join(_PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()
        self._processes, self._busy = {}, {}


class _ByValue(ForkingPickler):
    """How multiprocessing itself sends objects to a child, but for torch's way with tensors.

    torch would send them as shared memory: a file descriptor each (ResNet-152 has more tensors than
    a process may have files open), of a size that containers do not grant.
    """

    _extra_reducers: ClassVar[dict[type, Any]] = {}


def _by_value(task: object, words: Words) -> bytes:
    """Return what a worker's pipe unpacks into the task."""
    try:
        return bytes(_ByValue.dumps(task))
    except Exception as error:
        raise WorkerError(
            f"The {words.task} cannot be sent to worker processes: {error}. {words.parts} must be "
            "of classes that can be imported by name, not made inside a function; "
            f"or {words.call} with workers=1."
        ) from error


def _serve(link: Connection) -> None:
    """Take the task, then answer what comes down the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        task = _unpack(link)
        while True:
            job = link.recv()
            link.send(task if isinstance(task, _Failure) else _answer(job, *task))


def _unpack(link: Connection) -> tuple[Any, ...] | _Failure:
    try:
        task: tuple[Any, ...] = link.recv()
    except (EOFError, OSError):
        raise
    except Exception:
        return _Failure(f"A worker process cannot take up its task:\n{traceback.format_exc()}")
    return task


def _answer(
    job: Job,
    answer: Callable[[Job, Any], Answer],
    task: Any,
    label: Callable[[Job], str],
    words: Words,
) -> Answer | _Failure:
    """Answer; an error comes back as text, since not every exception survives the journey."""
    try:
        return answer(job, task)
    except HwflowError as error:
        return _Failure(str(error))
    except Exception:
        name = label(job)
        about = f"{name[:1].upper()}{name[1:]}"
        return _Failure(f"{about} failed in a worker process:\n{traceback.format_exc()}")


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
