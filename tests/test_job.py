"""Jobs: the settings of a run, read and written."""

from pathlib import Path

import pytest

from hwflow.errors import HwflowError
from hwflow.job import Job, Parts

PLAIN = {"model": "cifar:resnet8", "data": "digits", "on": "eyeriss", "input": (1, 8, 8)}


def test_a_job_survives_its_file(tmp_path: Path) -> None:
    job = Job.check(PLAIN | {"below": ("latency=4ms",), "evaluations": 30, "classes": 10}, "here")
    path = tmp_path / "run.toml"
    job.write(path, {"seed": 0, "versions": {"hwflow": "0.1.0"}})
    assert Job.read(path) == job


def test_the_file_says_how_to_repeat_it(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    Job.check(PLAIN, "here").write(path, {})
    assert path.read_text().startswith("# Repeat this run with: hwflow search --from")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluations": 0}, "evaluations"),
        ({"evaluation": 3}, "evaluation"),
        ({"bits": ("four",)}, "bits"),
        ({"model": None}, "model"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(HwflowError, match=f"there: {message}"):
        Job.check(PLAIN | settings, "there")


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(HwflowError, match="there needs data: it was not given"):
        Job.check({"model": "cifar:resnet8", "on": "eyeriss"}, "there")


def test_files_that_are_no_run(tmp_path: Path) -> None:
    with pytest.raises(HwflowError, match="Cannot read"):
        Job.read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(HwflowError, match="not valid TOML"):
        Job.read(tmp_path / "bad.toml")
    (tmp_path / "other.toml").write_text("[tool]\nx = 1\n")
    with pytest.raises(HwflowError, match=r"no \[job\] table"):
        Job.read(tmp_path / "other.toml")


def test_the_parts_of_a_job() -> None:
    parts = Parts(Job.check(PLAIN | {"classes": 10, "bits": (4, 8), "calibration": 32}, "here"))
    assert parts.network.calibration is not None
    assert parts.network.calibration.shape == (32, 1, 8, 8)
    assert {option for choice in parts.space.choices for option in choice.options} == {4, 8}
    assert parts.problem.machine.name == "eyeriss"
    assert parts.problem.objectives == ("accuracy", "energy_j", "latency_s")
    assert parts.solver.name == "nsga2"


def test_without_an_edit_there_is_nothing_to_search() -> None:
    with pytest.raises(HwflowError, match="--quantize"):
        _ = Parts(Job.check(PLAIN | {"classes": 10, "edits": ()}, "here")).space


def test_unknown_parts_are_named() -> None:
    with pytest.raises(HwflowError, match="Did you mean 'nsga2'"):
        _ = Parts(Job.check(PLAIN | {"solver": "nsga3"}, "here")).solver
