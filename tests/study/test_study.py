"""The study: what it keeps, what it refuses, and what it leaves alone."""

import csv
import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import facts, toy_problem

from hwflow.errors import HwflowError, StudyError
from hwflow.front import Front, Trial
from hwflow.study import STUDY_FILE, Study, trial_seed, write_csv

SETTINGS = {
    "seed": 0,
    "objectives": ["accuracy", "energy_j"],
    "solver": {"name": "random", "seed": 0},
    "machine": {"name": "eyeriss", "digest": "abc"},
    "space": [
        {"name": "weight_bits:a", "options": [2, 4, 8], "default": 2},
        {"name": "weight_bits:b", "options": [2, 4, 8], "default": 2},
    ],
}


def trial(number: int, plan: tuple[int, ...], quality: float | None = 0.5, **more: object) -> Trial:
    total = {"energy_j": 1e-6 * (1 + sum(plan)), "macs": 3.0}
    return replace(Trial(number, plan, total, quality), **more)


TRIALS = [
    trial(0, (2, 2), 0.9, seed=2**62 + 1, seconds=0.25),
    trial(1, (0, 0), 0.3),
    trial(2, (1, 2), 1 / 3),
    trial(-1, (2, 1), None, infeasible=("latency is 5 ms, allowed 4 ms",)),
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A closed study with four trials."""
    folder = tmp_path / "run"
    with Study.start(folder, SETTINGS, {"who": "test"}) as study:
        for one in TRIALS:
            study.add(one)
    return folder


def garble(run: Path, start: int, junk: bytes) -> bytes:
    """Overwrite a part of the file and return what it then holds."""
    path = run / STUDY_FILE
    whole = bytearray(path.read_bytes())
    whole[start : start + len(junk)] = junk
    path.write_bytes(whole)
    return bytes(whole)


def rewrite(run: Path, statement: str) -> None:
    """Change the file behind the study's back."""
    db = sqlite3.connect(run / STUDY_FILE, isolation_level=None)
    db.execute(statement)
    db.close()


def test_trials_come_back_as_they_were_written(run: Path) -> None:
    study = Study.read(run)
    assert study.trials() == TRIALS
    assert study.evaluated == 3
    assert study.infeasible == 1
    assert study[(2, 1)].infeasible == ("latency is 5 ms, allowed 4 ms",)
    assert (1, 1) not in study


def test_a_study_at_rest_is_one_file_beside_its_lock(run: Path) -> None:
    assert sorted(path.name for path in run.iterdir()) == ["study.db", "study.lock"]


def test_evaluated_trials_come_by_number(tmp_path: Path) -> None:
    with Study.start(tmp_path / "run", SETTINGS) as study:
        for one in reversed(TRIALS):
            study.add(one)
        assert study.trials() == TRIALS
    assert Study.read(tmp_path / "run").trials() == TRIALS


def test_a_study_goes_on_where_it_stopped(run: Path) -> None:
    with Study.start(run, SETTINGS, {"who": "someone else"}) as study:
        assert len(study) == 4
        study.add(trial(3, (1, 1)))
    study = Study.read(run)
    assert len(study) == 5
    assert study.provenance == {"who": "test"}


def test_a_study_can_be_read_while_it_is_written(run: Path) -> None:
    with Study.start(run, SETTINGS) as study:
        study.add(trial(3, (1, 1)))
        assert len(Study.read(run)) == 5


def test_a_study_in_memory_touches_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Study.start(None, SETTINGS) as study:
        study.add(TRIALS[0])
        study.remember("bound", 3.5)
        assert study.trials() == TRIALS[:1]
    assert list(tmp_path.iterdir()) == []


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1e300))
def test_numbers_are_kept_to_the_last_digit(quality: float, energy: float) -> None:
    with Study.start(None, SETTINGS) as study:
        study.add(Trial(0, (0, 0), {"energy_j": energy}, quality))
        study.add(Trial(1, (0, 1), {"energy_j": energy / 3}, quality))
        kept = [json.loads(row[0]) for row in study._db.execute("SELECT total FROM trials")]
        qualities = [row[0] for row in study._db.execute("SELECT quality FROM trials")]
    assert kept == [{"energy_j": energy}, {"energy_j": energy / 3}]
    assert qualities == [quality, quality]


def test_answers_are_remembered(run: Path) -> None:
    with Study.start(run, SETTINGS) as study:
        assert study.recall("exact") is None
        study.remember("exact", {"plan": [1, 2], "bound": 0.1})
        study.remember("exact", {"plan": [1, 1], "bound": 0.2})
    assert Study.read(run).recall("exact") == {"plan": [1, 1], "bound": 0.2}


def test_a_plan_is_recorded_once(run: Path) -> None:
    with Study.start(run, SETTINGS) as study:
        with pytest.raises(StudyError, match="recorded before"):
            study.add(trial(9, (2, 2)))
        with pytest.raises(StudyError, match="recorded before"):
            study.add(trial(0, (1, 1)))
        with pytest.raises(StudyError, match="nan"):
            study.add(trial(9, (1, 1), float("nan")))
    assert Study.read(run).trials() == TRIALS


def test_trials_added_together_are_kept_together_or_not_at_all(run: Path) -> None:
    with Study.start(run, SETTINGS) as study:
        with pytest.raises(StudyError):
            study.add_all([trial(7, (1, 1)), trial(8, (2, 2))])
        assert len(study) == 4
    assert len(Study.read(run)) == 4


def test_a_closed_study_can_be_read_but_not_written(run: Path) -> None:
    study = Study.read(run)
    assert study.trials()
    for write in (lambda: study.add(trial(9, (1, 1))), lambda: study.remember("a", 1)):
        with pytest.raises(StudyError, match=r"Study\.start"):
            write()


def test_elapsed_time_adds_up_over_sessions(run: Path) -> None:
    with Study.start(run, SETTINGS) as study:
        assert study.elapsed == 0
        study.add(trial(3, (1, 1)), started=1e9, elapsed=12.5)
    with Study.start(run, SETTINGS) as study:
        assert study.elapsed == 12.5


def test_free_numbers(run: Path) -> None:
    study = Study.read(run)
    assert study.free_number(17) == 17
    assert study.free_number(1) == 3


def test_the_front_leaves_out_what_is_beaten_or_infeasible(run: Path) -> None:
    front = Study.read(run).front()
    assert [t.number for t in front] == [1, 2, 0]
    with pytest.raises(HwflowError, match="without its space"):
        front.knee().build()


def test_the_front_can_carry_its_space(run: Path) -> None:
    space = toy_problem().space
    assert all(t.space is space for t in Study.read(run).front(space))


def test_trial_seeds_depend_on_study_and_plan_only() -> None:
    seeds = {trial_seed(s, p) for s in range(50) for p in ((0, 1), (1, 0), (0, 1, 0))}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert trial_seed(3, (0, 1)) == trial_seed(3, (0, 1))
    digest = "af4f4bb9d7e740bd"  # sha256 of "[0, [1, 2]]"
    assert trial_seed(0, (1, 2)) == int(digest, 16) >> 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, r"\(the seed\): seed was 0, now it is 1"),
        ({"solver": {"name": "nsga2", "seed": 0}}, r'solver\.name was "random", now it is "nsga2"'),
        ({"machine": {"name": "eyeriss", "digest": "abd"}}, "the machine's figures"),
        ({"objectives": ["accuracy"]}, "objectives was"),
        ({"extra": 1}, "extra was null, now it is 1"),
        (
            {"space": [SETTINGS["space"][0], {**SETTINGS["space"][1], "options": [2, 4]}]},
            r"space\.weight_bits:b\.options was \[2, 4, 8\], now it is \[2, 4\]",
        ),
        ({"space": SETTINGS["space"][:1]}, r"space\.weight_bits:b was .*, now it is null"),
    ],
)
def test_other_settings_are_refused_with_the_reason(
    run: Path, change: dict[str, object], said: str
) -> None:
    before = (run / STUDY_FILE).read_bytes()
    with pytest.raises(StudyError, match=said):
        Study.start(run, SETTINGS | change)
    assert (run / STUDY_FILE).read_bytes() == before


def test_tuples_and_lists_are_the_same_setting(run: Path) -> None:
    with Study.start(run, SETTINGS | {"objectives": ("accuracy", "energy_j")}) as study:
        assert study.objectives == ("accuracy", "energy_j")


def test_a_second_writer_is_refused(run: Path) -> None:
    said = r"Another search is writing .*\(process \d+ on"
    with Study.start(run, SETTINGS), pytest.raises(StudyError, match=said):
        Study.start(run, SETTINGS)
    with Study.start(run, SETTINGS) as study:
        assert len(study) == 4


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(StudyError, match="is a file"):
        Study.start(path, SETTINGS)
    assert path.read_text() == "mine"


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "chapter1.tex").write_text("precious")
    with pytest.raises(StudyError, match=r"is no run folder: it holds chapter1\.tex"):
        Study.start(tmp_path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["chapter1.tex"]


def test_traces_of_an_earlier_start_do_not_matter(tmp_path: Path) -> None:
    for name in ("run.toml", "study.lock", "study.db.new"):
        (tmp_path / name).write_text("")
    with Study.start(tmp_path, SETTINGS) as study:
        study.add(TRIALS[0])
    assert (tmp_path / STUDY_FILE).exists()
    assert not (tmp_path / "study.db.new").exists()


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / STUDY_FILE
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE books (title TEXT)")
    db.close()
    before = path.read_bytes()
    for attempt in (lambda: Study.start(tmp_path, SETTINGS), lambda: Study.read(tmp_path)):
        with pytest.raises(StudyError, match="not made by hwflow"):
            attempt()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [STUDY_FILE]


def test_a_newer_schema_is_refused(run: Path) -> None:
    rewrite(run, "PRAGMA user_version=99")
    with pytest.raises(StudyError, match=r"newer hwflow \(schema 99"):
        Study.read(run)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.9])
def test_a_truncated_study_is_refused_and_kept(run: Path, kept: float) -> None:
    path = run / STUDY_FILE
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    check_refused(run)


@pytest.mark.parametrize("start", [0, 18, 100, 4096])
def test_a_garbled_study_is_refused_and_kept(run: Path, start: int) -> None:
    garble(run, start, b"\xff\x00junk" * 700)
    check_refused(run)


def check_refused(run: Path) -> None:
    """Starting and reading say that the study is damaged, and change nothing."""
    files = {path.name: path.read_bytes() for path in run.iterdir()}
    for attempt in (lambda: Study.start(run, SETTINGS), lambda: Study.read(run)):
        with pytest.raises(StudyError, match=r"study\.db is damaged.*another folder"):
            attempt()
    assert {path.name: path.read_bytes() for path in run.iterdir()} == files


@pytest.mark.parametrize(
    ("table", "change"),
    [("trials", "quality = 0.99"), ("settings", "value = '1'"), ("trials", "plan = '[0, 2]'")],
)
def test_a_changed_row_is_noticed(run: Path, table: str, change: str) -> None:
    rewrite(run, f"UPDATE {table} SET {change} WHERE rowid = 1")
    with pytest.raises(StudyError, match=f"a row of its table {table} was changed"):
        Study.read(run)


def test_a_missing_study_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="There is no run folder"):
        Study.read(tmp_path / "nowhere")
    with pytest.raises(StudyError, match=r"it has no study\.db"):
        Study.read(tmp_path)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    blocked = tmp_path / "run"
    blocked.mkdir()
    (blocked / "study.lock").mkdir()  # stands in for a read-only folder: root may write anywhere
    with pytest.raises(StudyError, match="written to"):
        Study.start(blocked, SETTINGS)
    with pytest.raises(StudyError, match="written to"):
        Study.start("/proc/hwflow-run", SETTINGS)


def test_a_study_with_its_log_is_whole_after_a_copy(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with Study.start(run, SETTINGS) as study:
        study.add(trial(3, (1, 1)))
        shutil.copytree(run, copy)  # what a SIGKILL now would leave
    assert facts(Study.read(copy).trials()) == facts(Study.read(run).trials())


def test_the_table_of_the_front(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "front.csv"
    Study.read(run).export_csv(path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    names = ["trial", "accuracy", "energy_j", "macs", "weight_bits:a", "weight_bits:b"]
    assert list(rows[0]) == names
    assert [row["trial"] for row in rows] == ["1", "2", "0"]
    assert float(rows[1]["accuracy"]) == 1 / 3
    assert rows[1]["weight_bits:a"] == "4"
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".new"] == []


def test_the_table_of_an_empty_front_has_a_head(tmp_path: Path) -> None:
    write_csv(Front((), ("accuracy",)), SETTINGS["space"], tmp_path / "front.csv")
    assert (tmp_path / "front.csv").read_text().startswith("trial,accuracy,weight_bits:a")


def test_the_table_cannot_be_written_nowhere(run: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="Cannot read or write"):
        Study.read(run).export_csv(tmp_path / "nowhere" / "front.csv")


def test_studies_do_not_import_torch() -> None:
    code = (
        "import sys, hwflow.study, hwflow.loop, hwflow.solvers.nsga2; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
