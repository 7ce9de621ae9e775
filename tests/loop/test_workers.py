"""Worker processes: the same outcomes, and an orderly end whatever happens."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy import ToyQuality, toy_problem

from hwflow.errors import HwflowError
from hwflow.loop import search
from hwflow.loop.evaluate import Job, evaluate
from hwflow.loop.workers import WorkerError, Workers
from hwflow.solvers.random import Random
from hwflow.space import Builder, Plan
from hwflow.study import Study

SPACE = toy_problem().space
HERE = Path(__file__).parents[1]


def jobs(count: int) -> list[Job]:
    plans = [tuple(int(i == place) for i in range(12)) for place in range(count)]
    return [Job(plan, number, number, {"macs": 1.0}) for number, plan in enumerate(plans)]


@dataclass(frozen=True)
class Troubled(ToyQuality):
    """Meets trouble at one plan."""

    trouble: str = ""

    def score(self, plan: Plan, build: Builder) -> float:
        if plan == jobs(3)[2].plan:
            if self.trouble == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            raise (HwflowError if self.trouble == "expected" else ZeroDivisionError)("trouble!")
        return super().score(plan, build) + float(os.environ["OMP_NUM_THREADS"])


def test_workers_find_what_is_found_here() -> None:
    quality = ToyQuality(noise=0.1)
    workers = Workers(2, SPACE, quality, 1)
    try:
        for _ in range(2):  # workers are there for more than one batch
            found = {job.number: out.quality for job, out in workers.run(iter(jobs(5)))}
            assert found == {
                job.number: evaluate(job, SPACE, quality, 1).quality for job in jobs(5)
            }
    finally:
        workers.close()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("die", r"died \(exit code -9\) with trial #2.*fewer workers"),
        ("expected", "^trouble!$"),
        ("other", r"Trial #2 failed in a worker process:\n[\s\S]*ZeroDivisionError: trouble!"),
    ],
)
def test_a_worker_in_trouble_leaves_the_other_trials(
    tmp_path: Path, trouble: str, said: str
) -> None:
    class Asking:
        name = "asking"
        endless = False

        def run(self, problem: object, evaluate: object) -> None:
            evaluate([job.plan for job in jobs(8)])  # type: ignore[operator]

        def settings(self) -> dict[str, object]:
            return {}

    run = tmp_path / "run"
    with pytest.raises(WorkerError, match=said):
        search(toy_problem(), Troubled(trouble=trouble), Asking(), run, workers=2)
    kept = {trial.number: trial.quality for trial in Study.read(run).trials()}
    assert set(kept) >= {0, 1}
    assert 2 not in kept
    assert kept[0] > 1  # the environment of a worker says one thread


def test_what_cannot_be_sent_is_explained() -> None:
    class Local(ToyQuality):
        pass

    workers = Workers(1, SPACE, Local(), 1)
    with pytest.raises(WorkerError, match="imported by name"):
        list(workers.run(iter(jobs(1))))
    workers.close()


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from toy import ToyQuality, toy_problem\n"
        "from hwflow.loop import search\n"
        "from hwflow.solvers.random import Random\n"
        "search(toy_problem(), ToyQuality(), Random(), evaluations=4, workers=2)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent / "src")])},
    )  # fmt: skip
    assert done.returncode == 1
    assert "if __name__ == '__main__':" in done.stderr.splitlines()[-1]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


@dataclass(frozen=True)
class Telling(ToyQuality):
    """Writes down its process, then takes a minute."""

    def score(self, plan: Plan, build: Builder) -> float:
        assert self.log is not None
        with self.log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(60)
        return 0.0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_busy_workers_end_with_their_parent(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = (
        "from pathlib import Path\n"
        "from test_workers import Telling, toy_problem, search, Random\n"
        "if __name__ == '__main__':\n"
        f"    search(toy_problem(), Telling(log=Path({str(log)!r})), Random(), evaluations=4,"
        " workers=2)\n"
    )
    paths = [str(Path(__file__).parent), str(HERE), str(HERE.parent / "src")]
    parent = subprocess.Popen(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    )
    end = time.monotonic() + 60
    while not log.exists() or len(log.read_text().split()) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    pids = [int(line) for line in log.read_text().split()]
    assert all(map(alive, pids))
    parent.kill()
    parent.wait()
    while any(map(alive, pids)):
        assert time.monotonic() < end, "workers outlive the search"
        time.sleep(0.01)


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    search(toy_problem(), ToyQuality(), Random(), evaluations=2, workers=2)
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in os.environ
