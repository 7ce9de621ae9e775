"""Killed at any moment and started again, a search ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy import ToyQuality, facts
from toy_search import SlowQuality, task

from hwflow.errors import StudyError
from hwflow.loop import search
from hwflow.study import STUDY_FILE, Study

HERE = Path(__file__).parents[1]
PATIENCE = 60.0


def spawn(script: str, *words: object) -> subprocess.Popen[bytes]:
    """Start a script of this folder as a process of its own."""
    paths = [str(HERE), str(HERE.parent / "src")]
    return subprocess.Popen(
        [sys.executable, str(HERE / script), *map(str, words)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
    )


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def wait_for(count: int, log: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until so many evaluations have begun."""
    end = time.monotonic() + PATIENCE
    while len(lines(log)) < count:
        assert process.poll() is None, "the search ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.002)


def committed(run: Path) -> set[str]:
    if not (run / STUDY_FILE).exists():
        return set()
    return {",".join(map(str, t.plan)) for t in Study.read(run).trials() if t.quality is not None}


@pytest.mark.parametrize(
    ("solver", "workers", "kills", "evaluations", "sleep"),
    [("nsga2", 1, 10, 100, 0.004), ("random", 2, 2, 60, 0.02)],
)
def test_a_killed_search_ends_with_the_front_of_an_undisturbed_one(
    tmp_path: Path, solver: str, workers: int, kills: int, evaluations: int, sleep: float
) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    rng = random.Random(workers)
    known: set[str] = set()
    for count in sorted(rng.sample(range(1, evaluations - 10), kills)):
        start = len(lines(log))
        process = spawn("toy_search.py", run, log, solver, evaluations, workers, sleep)
        wait_for(max(count, start + 1), log, process)
        time.sleep(rng.uniform(0, 2 * sleep))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL
        time.sleep(2 * sleep if workers > 1 else 0)  # a worker's last line may still come
        assert known.isdisjoint(lines(log)[start:]), "a committed plan was evaluated again"
        assert known <= committed(run), "a committed trial was lost"
        known = committed(run)
    start = len(lines(log))
    assert spawn("toy_search.py", run, log, solver, evaluations, workers, sleep).wait() == 0
    assert known.isdisjoint(lines(log)[start:])

    problem, searching = task(solver)
    quality = SlowQuality(noise=0.01)
    whole = tmp_path / "undisturbed"
    front = search(problem, quality, searching, whole, evaluations=evaluations, seed=5)
    study = Study.read(run)
    assert facts(study.front().trials) == facts(front.trials)
    assert facts(study.trials()) == facts(Study.read(whole).trials())
    assert study.infeasible > 0
    assert len(lines(log)) - evaluations <= kills * workers


def test_a_finished_search_evaluates_nothing_more(tmp_path: Path) -> None:
    problem, solver = task("nsga2")
    first = search(problem, ToyQuality(), solver, tmp_path / "run", evaluations=20)
    log = tmp_path / "log"
    again = search(problem, ToyQuality(log=log), solver, tmp_path / "run", evaluations=20)
    assert facts(again.trials) == facts(first.trials)
    assert not log.exists()


def test_a_larger_budget_goes_further(tmp_path: Path) -> None:
    problem, solver = task("nsga2")
    search(problem, ToyQuality(), solver, tmp_path / "run", evaluations=20)
    log = tmp_path / "log"
    front = search(problem, ToyQuality(log=log), solver, tmp_path / "run", evaluations=50)
    at_once = search(problem, ToyQuality(), solver, evaluations=50)
    assert len(lines(log)) == 30
    assert facts(front.trials) == facts(at_once.trials)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_study_killed_while_it_is_made_can_be_used(tmp_path: Path, seed: int) -> None:
    log = tmp_path / "log"
    process = spawn("toy_studies.py", tmp_path, log)
    wait_for(1, log, process)
    time.sleep(random.Random(seed).uniform(0, 0.15))
    process.send_signal(signal.SIGKILL)
    process.wait()
    made = sorted(tmp_path.glob("run*"))
    assert made
    for run in made:
        if (run / STUDY_FILE).exists():
            assert len(Study.read(run)) <= 3
        with Study.start(run, {"space": []}) as study:
            assert study.settings == {"space": []}


def test_two_processes_do_not_run_one_study(tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    process = spawn("toy_search.py", run, log, "random", 1000, 1, 0.05)
    try:
        wait_for(2, log, process)
        problem, solver = task("random")
        quality = SlowQuality(noise=0.01)
        with pytest.raises(StudyError, match=rf"Another search is writing.*process {process.pid}"):
            search(problem, quality, solver, run, evaluations=1000, seed=5)
        assert len(Study.read(run).trials()) >= 1
    finally:
        process.kill()
        process.wait()
